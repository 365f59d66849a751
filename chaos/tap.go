//go:build linux

package main

import (
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
)

// valve is the network between one broker and NATS.
type valve struct {
	mu     sync.Mutex
	opened sync.Cond
	shut   bool
	over   bool
	conns  map[net.Conn]struct{}
}

func newValve() *valve {
	v := &valve{conns: make(map[net.Conn]struct{})}
	v.opened.L = &v.mu
	return v
}

// close lets nothing pass from now on, as if every packet were lost: no reset says so.
func (v *valve) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.shut = true
}

// open lets everything pass again. What was under way arrives now, as with TCP's repeats; with a reset it is lost.
func (v *valve) open(reset bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if reset {
		v.resetLocked()
	}
	v.shut = false
	v.opened.Broadcast()
}

func (v *valve) resetLocked() {
	for c := range v.conns {
		_ = c.Close()
	}
}

func (v *valve) end() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.over, v.shut = true, false
	v.resetLocked()
	v.opened.Broadcast()
}

func (v *valve) await() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for v.shut {
		v.opened.Wait()
	}
}

func (v *valve) add(conns ...net.Conn) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.over {
		return false
	}
	for _, c := range conns {
		v.conns[c] = struct{}{}
	}
	return true
}

func (v *valve) remove(c net.Conn) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.conns, c)
}

// tap stands between one broker and one NATS server. It writes down which events the broker published and which of
// them the server confirmed: this tells what a broker lost from what a subscriber missed.
type tap struct {
	listener net.Listener
	target   string
	valve    *valve
	ledger   *ledger
	wg       sync.WaitGroup
}

func newTap(target string, v *valve, l *ledger) (*tap, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	t := &tap{listener: listener, target: target, valve: v, ledger: l}
	t.wg.Go(t.accept)
	return t, nil
}

func (t *tap) url() string { return "nats://" + t.listener.Addr().String() }

func (t *tap) close() {
	_ = t.listener.Close()
	t.valve.end()
	t.wg.Wait()
}

func (t *tap) accept() {
	for {
		broker, err := t.listener.Accept()
		if err != nil {
			return
		}
		t.wg.Go(func() { t.carry(broker) })
	}
}

func (t *tap) carry(broker net.Conn) {
	t.valve.await()
	server, err := net.Dial("tcp", t.target)
	if err != nil {
		_ = broker.Close()
		return
	}
	if !t.valve.add(broker, server) {
		_, _ = broker.Close(), server.Close()
		return
	}
	s := newTapSession(t.ledger)
	t.wg.Go(func() { t.pump(broker, server, s.fromServer.feed) })
	t.pump(server, broker, s.fromBroker.feed)
}

// pump carries one direction and ends both with it.
func (t *tap) pump(to io.WriteCloser, from net.Conn, look func([]byte)) {
	defer func() {
		_, _ = to.Close(), from.Close()
		t.valve.remove(from)
	}()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			t.valve.await()
			look(buf[:n])
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// sessions numbers the NATS connections of all brokers.
var sessions atomic.Int32

// tapSession reads one NATS connection of a broker.
type tapSession struct {
	ledger     *ledger
	number     int32
	fromBroker natsScanner
	fromServer natsScanner

	mu       sync.Mutex
	sent     []mark // events that are not confirmed
	barriers []int  // how many of them each PING that was not answered stands behind
}

func newTapSession(l *ledger) *tapSession {
	s := &tapSession{ledger: l, number: sessions.Add(1)}
	s.fromBroker.visit, s.fromServer.visit = s.broker, s.server
	return s
}

func (s *tapSession) broker(verb string, args []string, header, payload []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case verb == "PING":
		s.barriers = append(s.barriers, len(s.sent))
	case strings.HasSuffix(verb, "PUB") && len(args) > 0 && strings.HasPrefix(args[0], eventPrefix):
		m := s.ledger.enter(sight{
			from: published, session: s.number, subject: args[0],
			seq: headerValue(header, "Holdfast-Seq"), data: payload,
		})
		s.sent = append(s.sent, m)
	}
}

// server sees the PONG, which a server sends when it has processed everything before the PING.
func (s *tapSession) server(verb string, _ []string, _, _ []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if verb != "PONG" || len(s.barriers) == 0 {
		return
	}
	n := s.barriers[0]
	s.ledger.confirm(s.sent[:n])
	s.sent = append(s.sent[:0], s.sent[n:]...)
	s.barriers = s.barriers[1:]
	for i := range s.barriers {
		s.barriers[i] -= n
	}
}
