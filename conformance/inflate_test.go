package main

import (
	"bytes"
	"compress/flate"
	"testing"
)

// TestInflaterAgreesWithTheLibrary: stored, fixed and dynamic blocks, over many messages with one window.
func TestInflaterAgreesWithTheLibrary(t *testing.T) {
	for _, level := range []int{flate.NoCompression, flate.HuffmanOnly, flate.BestSpeed, flate.DefaultCompression, flate.BestCompression} {
		for _, c := range contents {
			var out bytes.Buffer
			w, err := flate.NewWriter(&out, level)
			if err != nil {
				t.Fatal(err)
			}
			z := inflater{window: 1 << fullWindow, most: mib}
			for n, size := range []int{0, 1, 5, 300, 5000, 70_000, 64} {
				out.Reset()
				message := c.piece(n, size)
				_, _ = w.Write(message)
				_ = w.Flush()
				got, err := z.inflate(bytes.TrimSuffix(out.Bytes(), []byte{0, 0, 0xFF, 0xFF}), true)
				if err != nil || !bytes.Equal(got, message) {
					t.Fatalf("level %d, %s, %d bytes: %v", level, c.title, size, err)
				}
			}
		}
	}
}

// TestInflaterSeesABrokenWindow: that is what it is for.
func TestInflaterSeesABrokenWindow(t *testing.T) {
	repeated := bytes.Repeat(bytesOf(600), 2)
	for bits, good := range map[int]bool{15: true, 10: true, 9: false} {
		var out bytes.Buffer
		w, _ := flate.NewWriter(&out, flate.BestCompression)
		_, _ = w.Write(repeated)
		_ = w.Flush()
		z := inflater{window: 1 << bits, most: mib}
		if _, err := z.inflate(bytes.TrimSuffix(out.Bytes(), []byte{0, 0, 0xFF, 0xFF}), false); (err == nil) != good {
			t.Errorf("window of %d bits: %v", bits, err)
		}
	}
}

// TestCodecRoundTrip: what the client compresses with less than the full window looks back no further.
func TestCodecRoundTrip(t *testing.T) {
	for _, p := range []parameters{
		{}, {clientNoContext: true}, {clientBits: 9}, {clientBits: 8, clientNoContext: true}, {clientBits: 12},
	} {
		c := codec{agreed: p}
		z := inflater{window: 1 << orFull(p.clientBits), most: mib}
		for n, size := range []int{16, 0, 1000, 40_000, 64, 128 * kib} {
			message := jsonContent.piece(n, size)
			compressed, err := c.deflate(message)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := z.inflate(compressed, !p.clientNoContext); err != nil || !bytes.Equal(got, message) {
				t.Errorf("%+v, %d bytes: %v", p, size, err)
			}
		}
	}
}

// TestExamplesOfTheRFC: the cases with bytes from RFC 7692 7.2.3 mean what they say.
func TestExamplesOfTheRFC(t *testing.T) {
	for payload, want := range map[string]string{
		"\xf2\x48\xcd\xc9\xc9\x07\x00":                         "Hello",
		"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00":         "Hello",
		"\xf3\x48\xcd\xc9\xc9\x07\x00\x00":                     "Hello",
		"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00": "Hello",
		"\x00": "",
	} {
		z := inflater{window: 1 << fullWindow, most: mib}
		if got, err := z.inflate([]byte(payload), false); err != nil || string(got) != want {
			t.Errorf("% x: %q, %v", payload, got, err)
		}
	}
	for _, payload := range []string{"\x06\x00", "\xf2\x48\xcd", "\xf2\x00\x11\x00\x00"} {
		z := inflater{window: 1 << fullWindow, most: mib}
		if got, err := z.inflate([]byte(payload), false); err == nil {
			t.Errorf("% x: %q", payload, got)
		}
	}
}
