package ws_test

import (
	"testing"

	"github.com/holdfast-broker/holdfast/internal/ws"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
)

// A buffer that a connection holds while it waits is in nobody's list.
func TestIdleConnectionOverTLSHoldsNoBuffer(t *testing.T) {
	links := make(chan *link, 1)
	url := serve(t, ws.Config{}, true, func(l *link) { echo(t)(l); links <- l })
	p := wstest.Dial(t, url, nil)
	l := <-links
	for _, message := range []string{"one", "two"} {
		p.Send(wstest.Text(message))
		p.Expect(wire.Text, message)
		eventually(t, "a buffer that is not in use", func() bool { return l.SpareBuffers(16<<10) == 1 })
	}
}
