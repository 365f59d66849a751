package bus

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// confirmPace is the time between two barriers while nobody waits for them: each costs a packet both
// ways.
const confirmPace = time.Millisecond

// session is the life of one NATS connection of the publisher. It never reconnects: nats.go would let
// newer events slip onto the new connection before the unconfirmed ones are published again.
type session struct {
	p      *Publisher
	nc     *nats.Conn
	dialer *dialer
	other  string // the server, when it is not of the list
	isOver atomic.Bool
	stop   chan struct{} // closed by end
	wg     sync.WaitGroup

	// direct is the socket, when events can be written to it without nats.go: when there is no TLS. What nats.go writes
	// to it at a time is always whole operations, and so is what we write; a net.Conn keeps one from breaking into the
	// other.
	direct net.Conn

	// owned by the publisher
	message message
	batch   []entry
	pending []byte // operations that go to direct together
}

// Bounds of pending: the one that it is written at, and the one from which its memory is not kept.
const (
	writeSize   = 64 << 10
	keepPending = 256 << 10
)

func (s *session) over() bool { return s.isOver.Load() }

// finish makes both readers of the outbox return. It is called when nats.go has closed the connection,
// for whatever reason, and by end.
func (s *session) finish() {
	s.isOver.Store(true)
	s.p.outbox.wake()
}

// run publishes until the connection is lost, or all is confirmed and the outbox takes no more.
func (s *session) run() error {
	s.p.outbox.rewind()
	s.wg.Go(s.confirm)
	s.wg.Go(s.watch)
	defer s.end()
	for {
		first, batch := s.p.outbox.next(s.batch[:0], s.over)
		if len(batch) == 0 {
			return s.nc.LastError()
		}
		if !s.p.mayPublish() {
			continue // next waits now
		}
		if err := s.publishAll(first, batch); err != nil {
			return err
		}
		s.p.outbox.published(first + uint64(len(batch)))
		s.batch = batch
		clear(s.batch) // hold no connection back from the garbage collector
	}
}

// publishAll publishes a batch. An error means that the connection is lost: an event that the connection can never
// carry is marked, told and passed over.
func (s *session) publishAll(first uint64, batch []entry) error {
	for i := range batch {
		en := &batch[i]
		if en.unsendable {
			continue
		}
		s.message.of(en, s.p.subjects)
		switch err := s.publish(); {
		case errors.Is(err, nats.ErrMaxPayload):
			s.p.outbox.unsendable(first + uint64(i))
			s.checkMaxPayload()
			s.p.tellUnsendable(en, s.message.size(), err)
		case err != nil:
			return err
		}
	}
	return s.write()
}

// publish gives the message to nats.go, or puts it beside those that write writes.
func (s *session) publish() error {
	if s.direct == nil {
		return s.nc.PublishMsg(s.message.nats())
	}
	if int64(s.message.size()) > s.p.maxPayload.Load() {
		return nats.ErrMaxPayload
	}
	s.pending = s.message.append(s.pending)
	if len(s.pending) < writeSize {
		return nil
	}
	return s.write()
}

// write writes what waits for it. Like nats.go it may block for as long as the server reads nothing.
func (s *session) write() error {
	if len(s.pending) == 0 {
		return nil
	}
	_, err := s.direct.Write(s.pending)
	s.pending = s.pending[:0]
	if cap(s.pending) > keepPending {
		s.pending = nil
	}
	return err
}

// confirm runs barriers: the PONG comes after the server has processed everything before the PING, so
// what was published before the PING began is confirmed.
func (s *session) confirm() {
	for {
		if !s.p.outbox.crowded() {
			time.Sleep(confirmPace)
		}
		mark, ok := s.p.outbox.unconfirmed(s.over)
		if !ok {
			return
		}
		switch err := s.nc.FlushTimeout(s.p.config.StaleAfter); {
		case err == nil:
			s.p.tellRoom(s.p.outbox.release(mark))
			s.checkMaxPayload()
		case !errors.Is(err, nats.ErrTimeout): // on a timeout the watchdog decides
			s.finish()
			return
		}
	}
}

// checkMaxPayload tells the application when the server's limit has changed, which it may do also
// while connected.
func (s *session) checkMaxPayload() {
	max := s.nc.MaxPayload()
	if s.p.maxPayload.Swap(max) != max {
		s.p.tellMaxPayload(max)
	}
}

// watch closes the socket under nats.go when the server confirms nothing for too long, which unblocks
// whoever waits in it.
func (s *session) watch() {
	const ticks = 8 // a part of the time for each look
	stale := s.p.staleAfter
	t := time.NewTicker(stale / ticks)
	defer t.Stop()
	last, quiet := uint64(0), 0
	for {
		select {
		case <-s.stop:
			return
		case <-t.C:
		}
		head, some := s.p.outbox.state()
		if !some || head != last {
			last, quiet = head, 0
			continue
		}
		if quiet++; quiet >= ticks {
			s.p.cuts.Add(1)
			s.p.config.Logger.Warn("nats: server confirms no events; connecting again", "for", stale.String())
			s.dialer.cut()
			s.finish()
			return
		}
	}
}

// end closes the connection and waits for the session's goroutines. The socket first: nats.go would
// flush into it, and could block.
func (s *session) end() {
	close(s.stop)
	s.finish()
	s.dialer.cut()
	s.nc.Close()
	s.wg.Wait()
}
