package hub

import (
	"reflect"
	"strings"
	"testing"
	"unsafe"
)

func TestFactsArePackedWithoutLoss(t *testing.T) {
	long := strings.Repeat("x", 200)
	for name, f := range map[string]*Facts{
		"none":       {},
		"some":       {URL: "/chat?room=7", Host: "example.org", RemoteAddress: "192.0.2.1:5000"},
		"all":        {URL: long, Host: "h", RemoteAddress: "r", Subprotocol: "chat", Extensions: "permessage-deflate", Headers: []Header{{"A", ""}, {"B", strings.Repeat(long, 100)}}},
		"not text":   {URL: "/\xff\x00\x80", Headers: []Header{{"\x00", "\xfe"}}},
		"an old TLS": {URL: "/", TLS: &TLS{Version: "TLS 1.2"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := packFacts(f).unpack(f.TLS); !reflect.DeepEqual(got, f) {
				t.Errorf("unpacked as %+v, want %+v", got, f)
			}
		})
	}
}

// What an idle connection takes of the core is this and its facts.
func TestConnIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(Conn{}); size > 112 {
		t.Errorf("a Conn has %d bytes", size)
	}
}
