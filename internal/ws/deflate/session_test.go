package deflate

import (
	"bytes"
	"compress/flate"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// TestRoundTripOfEveryParameterSet sends many messages both ways, some in fragments, through every window, level and
// context, and looks how far back what is sent refers.
func TestRoundTripOfEveryParameterSet(t *testing.T) {
	for bits := wire.MinWindowBits; bits <= wire.MaxWindowBits; bits++ {
		for level := 1; level <= 9; level++ {
			if bits < wire.MaxWindowBits && level != 1 {
				continue // there is one way to compress with a small window
			}
			for _, context := range []bool{false, true} {
				t.Run(fmt.Sprintf("bits=%d/level=%d/context=%v", bits, level, context), func(t *testing.T) {
					roundTrip(t, params(bits, 23-bits, context), level)
				})
			}
		}
	}
}

func roundTrip(t *testing.T, agreed wire.DeflateParams, level int) {
	pool := NewPool(0)
	server, client := mustOpen(t, pool, agreed, level), mustOpen(t, pool, swapped(agreed), level)
	random := rand.New(rand.NewPCG(1, uint64(level)))
	var before []byte
	for i := range 15 {
		message := document(random, random.IntN(1<<random.IntN(16)+1))
		switch i % 5 {
		case 3:
			message = noise(random, random.IntN(2000))
		case 4:
			message = append(noise(random, 500), message...)
		}
		sent, back := message, message
		var payload []byte
		ok := true
		if i%4 == 2 {
			payload = fragmented(server, message, random)
		} else {
			payload, ok = server.Compress(nil, message)
		}
		if ok {
			sent = mustInflate(t, client, payload)
			checkDistance(t, payload, before, message, 1<<agreed.ServerMaxWindowBits)
			if !agreed.ServerNoContextTakeover {
				before = append(before, message...)
			}
		}
		if payload, ok = client.Compress(nil, message); ok {
			back = mustInflate(t, server, payload)
		}
		if !bytes.Equal(sent, message) || !bytes.Equal(back, message) {
			t.Fatalf("message %d of %d bytes changed", i, len(message))
		}
	}
}

// fragmented compresses a message in parts of random sizes.
func fragmented(s *Session, message []byte, random *rand.Rand) (payload []byte) {
	for first := true; len(message) > 0 || first; first = false {
		n := random.IntN(len(message) + 1)
		payload = s.Fragment(payload, message[:n], false)
		if message = message[n:]; random.IntN(3) == 0 {
			break
		}
	}
	return s.Fragment(payload, message, true)
}

func checkDistance(t *testing.T, payload, context, want []byte, window int) {
	t.Helper()
	message, distance := farthest(t, append(bytes.Clone(payload), inputTail...), context)
	if !bytes.Equal(message, want) {
		t.Fatal("read by the book, the message is another")
	}
	if distance > window {
		t.Errorf("refers back %d bytes, with a window of %d", distance, window)
	}
}

func TestContextIsTakenOver(t *testing.T) {
	message := noise(rand.New(rand.NewPCG(1, 1)), 500)
	for _, bits := range []int{10, 15} {
		first, second := twice(t, params(bits, 15, true), message)
		if len(first) != 0 || len(second) == 0 || len(second) > 100 { // noise does not shrink, then: the first was sent as it is
			t.Errorf("%d bits: %d, then %d bytes", bits, len(first), len(second))
		}
		if _, second = twice(t, params(bits, 15, false), message); len(second) != 0 {
			t.Errorf("%d bits, no context: %d bytes", bits, len(second))
		}
	}
}

// twice compresses a message twice, behind a fragmented one that is the same.
func twice(t *testing.T, agreed wire.DeflateParams, message []byte) (first, second []byte) {
	s := mustOpen(t, NewPool(0), agreed, 0)
	first, _ = s.Compress(nil, message)
	s.Fragment(nil, message, true)
	second, _ = s.Compress(nil, message)
	return first, second
}

// TestMessageSentAsItIsLeavesNoContext: the receiver has never inflated it.
func TestMessageSentAsItIsLeavesNoContext(t *testing.T) {
	agreed := params(15, 15, true)
	pool := NewPool(0)
	server, client := mustOpen(t, pool, agreed, 1), mustOpen(t, pool, swapped(agreed), 1)
	random := rand.New(rand.NewPCG(2, 2))
	secret, message := noise(random, 1000), document(random, 1000)
	if _, ok := server.Compress(nil, secret); ok {
		t.Fatal("noise shrank")
	}
	payload, ok := server.Compress(nil, append(message, secret...))
	if !ok {
		t.Fatal("a document did not shrink")
	}
	if got := mustInflate(t, client, payload); !bytes.Equal(got, append(message, secret...)) {
		t.Error("the contexts differ")
	}
}

func TestFragmentsThatAreEmpty(t *testing.T) {
	agreed := params(15, 15, true)
	pool := NewPool(0)
	server, client := mustOpen(t, pool, agreed, 1), mustOpen(t, pool, swapped(agreed), 1)
	for _, parts := range [][]string{{""}, {"", ""}, {"", "Hello", "", ""}, {"Hello", ""}, {"Hello"}, {"Hel", "lo"}} {
		var payload, want []byte
		for i, part := range parts {
			fragment := server.Fragment([]byte("before"), []byte(part), i == len(parts)-1)
			payload, want = append(payload, fragment[len("before"):]...), append(want, part...)
		}
		if got := mustInflate(t, client, payload); !bytes.Equal(got, want) {
			t.Errorf("%q became %q", parts, got)
		}
	}
}

func TestMessageThatDoesNotShrinkIsSentAsItIs(t *testing.T) {
	s := mustOpen(t, NewPool(0), params(15, 15, false), 1)
	random := rand.New(rand.NewPCG(3, 3))
	for _, message := range [][]byte{nil, []byte("a"), []byte("Hello"), noise(random, 10_000), noise(random, 200_000)} {
		if out, ok := s.Compress(make([]byte, 0, len(message)), message); ok {
			t.Errorf("%d bytes became %d", len(message), len(out))
		}
	}
	if out, ok := s.Compress(nil, bytes.Repeat([]byte("a"), 200)); !ok || len(out) >= 20 {
		t.Errorf("200 letters became %d bytes", len(out))
	}
}

// TestStandardLibraryAgrees lets another implementation take the part of the peer, with contexts.
func TestStandardLibraryAgrees(t *testing.T) {
	server := mustOpen(t, NewPool(0), params(15, 15, true), 3)
	random := rand.New(rand.NewPCG(4, 4))
	var theirs bytes.Buffer
	w, err := flate.NewWriter(&theirs, 6)
	if err != nil {
		t.Fatal(err)
	}
	var sent []byte
	for range 50 {
		message := document(random, random.IntN(20_000))
		theirs.Reset()
		_, _ = w.Write(message)
		_ = w.Flush()
		payload := bytes.TrimSuffix(theirs.Bytes(), syncTail)
		if got := mustInflate(t, server, payload); !bytes.Equal(got, message) {
			t.Fatal("what they compress becomes something else")
		}
		if payload, ok := server.Compress(nil, message); ok {
			got, err := standard(payload, sent, 1<<20)
			if err != nil || !bytes.Equal(got, message) {
				t.Fatalf("what we compress becomes something else to them: %v", err)
			}
			sent = append(sent, message...)
		}
	}
}
