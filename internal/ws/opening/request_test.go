package opening

import (
	"bufio"
	"bytes"
	"net/http"
	"reflect"
	"testing"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// FuzzRequest: whatever becomes a request here, net/http makes the same request of.
func FuzzRequest(f *testing.F) {
	f.Add([]byte(handshake))
	f.Add([]byte(start + upgrade + "Pragma: no-cache\r\nCache-Control: no-cache\r\nConnection: close\r\na:\r\nA: b\r\n\r\n"))
	f.Add([]byte("GET /%c3%a4/%2f;x=%41?a=%zz#b HTTP/1.1\r\nhost: [::1]:8080\r\nupgrade: x\r\n\r\nGET /"))
	f.Fuzz(func(t *testing.T, in []byte) {
		h, n, _ := wire.ParseHead(in)
		if n == 0 {
			return
		}
		got := request(&h)
		if got == nil {
			return
		}
		want, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(in)))
		if err != nil {
			t.Fatalf("net/http does not read it: %v", err)
		}
		want.Close = false // is for whoever keeps connections
		if !reflect.DeepEqual(got, want) {
			t.Errorf("made %#v\nnet/http %#v", got, want)
		}
	})
}
