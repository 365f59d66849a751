package bus

import (
	"errors"
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
	isOver atomic.Bool
	stop   chan struct{} // closed by end
	wg     sync.WaitGroup

	// owned by the publisher
	message message
	batch   []entry
}

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
		for i := range batch {
			if err := s.publish(first+uint64(i), &batch[i]); err != nil {
				return err
			}
		}
		s.p.outbox.published(first + uint64(len(batch)))
		s.batch = batch
		clear(s.batch) // hold no connection back from the garbage collector
	}
}

// publish gives one event to nats.go. An error means that the connection is lost: an event that the
// connection can never carry is marked, told and passed over.
func (s *session) publish(i uint64, en *entry) error {
	if en.unsendable {
		return nil
	}
	m := s.message.of(en, s.p.subjects)
	err := s.nc.PublishMsg(m)
	if !errors.Is(err, nats.ErrMaxPayload) && !errors.Is(err, nats.ErrBadHeaderMsg) && !errors.Is(err, nats.ErrBadSubject) {
		return err
	}
	s.p.outbox.unsendable(i)
	s.checkMaxPayload()
	s.p.tellUnsendable(en, m, err)
	return nil
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
