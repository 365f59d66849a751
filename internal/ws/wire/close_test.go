package wire_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

func TestCloseCodesAtEveryRangeEdge(t *testing.T) {
	for code, want := range map[uint16]bool{
		0: false, 1: false, 999: false,
		1000: true, 1003: true,
		1004: false, 1005: false, 1006: false,
		1007: true, 1011: true, 1012: true, 1013: true, 1014: true,
		1015: false, 1016: false, 1999: false, 2000: false, 2999: false,
		3000: true, 3999: true, 4000: true, 4999: true,
		5000: false, 65535: false,
	} {
		if got := wire.ValidCloseCode(code); got != want {
			t.Errorf("code %d: valid is %v", code, got)
		}
		_, _, fault := wire.ParseClose([]byte{byte(code >> 8), byte(code)})
		if want {
			checkFault(t, fault, "", 0, "")
		} else {
			checkFault(t, fault, wire.InvalidCloseCode, 1002, "RFC 6455 7.4")
		}
	}
}

func TestClosePayload(t *testing.T) {
	for name, c := range map[string]struct {
		payload string
		code    uint16
		reason  string
	}{
		"empty is 1005":        {"", 1005, ""},
		"code alone":           {"\x03\xe8", 1000, ""},
		"code and reason":      {"\x0f\xa0b\u00fce", 4000, "b\u00fce"},
		"reason of 123":        {"\x03\xe8" + strings.Repeat("r", 123), 1000, strings.Repeat("r", 123)},
		"reason may hold NULs": {"\x03\xe8\x00\x00", 1000, "\x00\x00"},
	} {
		t.Run(name, func(t *testing.T) {
			code, reason, fault := wire.ParseClose([]byte(c.payload))
			if code != c.code || reason != c.reason || fault != nil {
				t.Errorf("got %d, %q, %v", code, reason, fault)
			}
			if got := wire.AppendClose(nil, c.code, c.reason); string(got) != c.payload {
				t.Errorf("written back as %q", got)
			}
		})
	}
}

func TestBrokenClosePayload(t *testing.T) {
	for name, c := range map[string]struct {
		payload string
		want    wire.FaultName
		code    uint16
		section string
	}{
		"half a code":              {"\x03", wire.InvalidControlPayloadLength, 1002, "RFC 6455 5.5.1"},
		"reason of 124":            {"\x03\xe8" + strings.Repeat("r", 124), wire.InvalidControlPayloadLength, 1002, "RFC 6455 5.5"},
		"1005 on the wire":         {"\x03\xed", wire.InvalidCloseCode, 1002, "RFC 6455 7.4"},
		"reason not UTF-8":         {"\x03\xe8\xff", wire.InvalidUTF8, 1007, "RFC 6455 5.5.1"},
		"reason ends in the midst": {"\x03\xe8\xe2\x82", wire.InvalidUTF8, 1007, "RFC 6455 5.5.1"},
		"reason with surrogate":    {"\x03\xe8\xed\xa0\x80", wire.InvalidUTF8, 1007, "RFC 6455 5.5.1"},
	} {
		t.Run(name, func(t *testing.T) {
			code, reason, fault := wire.ParseClose([]byte(c.payload))
			checkFault(t, fault, c.want, c.code, c.section)
			if code != 0 || reason != "" {
				t.Errorf("got %d, %q beside the fault", code, reason)
			}
		})
	}
}

func TestCloseReasonIsCutAfterACharacter(t *testing.T) {
	for name, c := range map[string]struct{ reason, want string }{
		"123 bytes fit":               {strings.Repeat("r", 123), strings.Repeat("r", 123)},
		"124 bytes do not":            {strings.Repeat("r", 124), strings.Repeat("r", 123)},
		"euro sign over the edge":     {strings.Repeat("r", 121) + "€", strings.Repeat("r", 121)},
		"euro sign at the edge":       {strings.Repeat("r", 120) + "€€", strings.Repeat("r", 120) + "€"},
		"no character starts in time": {strings.Repeat("\x80", 200), ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := wire.AppendClose([]byte("before"), 1000, c.reason)
			if want := "before\x03\xe8" + c.want; string(got) != want {
				t.Errorf("got %q", got)
			}
		})
	}
}

// FuzzParseClose: a payload means what the model reads from it, and what is accepted is written back to the same bytes.
func FuzzParseClose(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{3})
	f.Add([]byte("\x03\xe8bye"))
	f.Add([]byte("\x03\xe8\xed\xa0\x80"))
	f.Add([]byte("\x13\x87" + strings.Repeat("€", 41)))
	f.Add([]byte("\x13\x88"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		code, reason, fault := wire.ParseClose(payload)
		wantCode, wantReason, name := modelClose(payload)
		if code != wantCode || reason != wantReason || (fault == nil) != (name == "") || fault != nil && fault.Name != name {
			t.Fatalf("% x means %d, %q, %v; want %d, %q, %q", payload, code, reason, fault, wantCode, wantReason, name)
		}
		if fault != nil {
			checkWellMade(t, fault)
		} else if got := wire.AppendClose(nil, code, reason); !bytes.Equal(got, payload) {
			t.Fatalf("% x written back as % x", payload, got)
		}
	})
}

// registered are the codes below 3000 that IANA's registry lets stand in a close frame.
var registered = []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014}

// modelClose reads a close payload by RFC 6455 5.5, 5.5.1 and 7.4.2, one rule after the other.
func modelClose(payload []byte) (code uint16, reason string, fault wire.FaultName) {
	if len(payload) == 0 {
		return 1005, "", ""
	}
	if len(payload) == 1 || len(payload) > 125 {
		return 0, "", wire.InvalidControlPayloadLength
	}
	n := int(payload[0])*256 + int(payload[1])
	if !slices.Contains(registered, n) && n/1000 != 3 && n/1000 != 4 {
		return 0, "", wire.InvalidCloseCode
	}
	reason = string(payload[2:])
	if string([]rune(reason)) != reason { // a byte that is no part of a character becomes one of three bytes
		return 0, "", wire.InvalidUTF8
	}
	return uint16(n), reason, ""
}
