package bustest

import (
	"bytes"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// Proxy is a TCP proxy in front of a server.
type Proxy struct {
	// URL that clients connect to.
	URL string

	listener net.Listener
	wg       sync.WaitGroup

	mu      sync.Mutex
	resumed sync.Cond // held or closed has changed
	target  string
	conns   map[net.Conn]struct{}
	held    bool // what the server sends is kept back
	gone    bool // what clients send is lost
	holdAt  []byte
	holding chan struct{} // closed when a client has sent holdAt
	pings   int
	refuses bool
	closed  bool
}

// NewProxy starts a proxy for as long as the test.
func NewProxy(t testing.TB, serverURL string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{
		URL: "nats://" + l.Addr().String(), listener: l, conns: make(map[net.Conn]struct{}),
	}
	p.Redirect(serverURL)
	p.resumed.L = &p.mu
	p.wg.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// Redirect makes new connections go to another server.
func (p *Proxy) Redirect(serverURL string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = strings.TrimPrefix(serverURL, "nats://")
}

// Cut closes all connections; new ones are accepted.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cutLocked()
}

// Hold keeps back everything that the server sends from now on; nothing more is confirmed. Cut or
// Refuse end it.
func (p *Proxy) Hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = true
}

// HoldAt begins to Hold when a client sends that text, and closes the channel then. It is called at most once.
func (p *Proxy) HoldAt(text string) (holding <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.holdAt, p.holding = []byte(text), make(chan struct{})
	return p.holding
}

// Swallow loses everything that clients send from now on. Cut or Refuse end it.
func (p *Proxy) Swallow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = true
}

// Release ends Hold.
func (p *Proxy) Release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = false
	p.resumed.Broadcast()
}

// Pings is how many barriers clients have begun.
func (p *Proxy) Pings() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pings
}

// Refuse cuts all connections and accepts no new ones until Admit.
func (p *Proxy) Refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuses = true
	p.cutLocked()
}

// Admit ends Refuse.
func (p *Proxy) Admit() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuses = false
}

func (p *Proxy) cutLocked() {
	for c := range p.conns {
		_ = c.Close()
	}
	p.held, p.gone = false, false
	p.resumed.Broadcast()
}

func (p *Proxy) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	p.closed = true
	p.cutLocked()
	p.mu.Unlock()
	p.wg.Wait()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		target := p.target
		p.mu.Unlock()
		server, err := net.Dial("tcp", target)
		if err != nil {
			_ = client.Close()
			continue
		}
		if !p.add(client, server) {
			_, _ = client.Close(), server.Close()
			continue
		}
		p.wg.Go(func() { p.pump(server, client, false) })
		p.wg.Go(func() { p.pump(client, server, true) })
	}
}

func (p *Proxy) add(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refuses || p.closed {
		return false
	}
	for _, c := range conns {
		p.conns[c] = struct{}{}
	}
	return true
}

// pump carries one direction and ends both with it.
func (p *Proxy) pump(to io.WriteCloser, from net.Conn, replies bool) {
	defer func() {
		_, _ = to.Close(), from.Close()
		p.mu.Lock()
		delete(p.conns, from)
		p.mu.Unlock()
	}()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if replies {
			p.awaitRelease()
		} else if p.lost(buf[:n]) {
			n = 0
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// lost looks at what a client sends, and reports whether it goes nowhere.
func (p *Proxy) lost(b []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pings += bytes.Count(b, []byte("PING\r\n"))
	if p.holdAt != nil && bytes.Contains(b, p.holdAt) {
		p.holdAt, p.held = nil, true
		close(p.holding)
	}
	return p.gone
}

func (p *Proxy) awaitRelease() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.held {
		p.resumed.Wait()
	}
}
