package rpc

import (
	"bytes"
	"sync"
	"time"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// streamIdle is how long the state of another node's SendStream is kept without a batch. Its node says
// when the stream has ended; this is for when that is lost. No message in fragments outlives it: sockets
// wait 10 s for the next fragment.
const streamIdle = 30 * time.Second

// remoteStream is this node's share of a SendStream of another node: its unfinished messages. All but
// the timer is owned by its lane.
type remoteStream struct {
	feeder
	next uint64    // seq of the batch that comes next
	last time.Time // when one came
	idle *time.Timer
}

// remoteStreams are the shares of streams of other nodes.
type remoteStreams struct {
	mu      sync.Mutex
	streams map[lane]*remoteStream
}

// serveBatch queues a batch behind those of its stream.
func (s *Server) serveBatch(from hub.NodeID, c *envelope, who *caller, answer Answer) error {
	key := lane{from, c.stream}
	if err := who.permit(holdfastv1.ConnectionService_SendStream_FullMethodName, nil); err != nil {
		return err
	}
	if err := s.guests.enter(s.guests.calls); err != nil {
		return err
	}
	taken := s.lanes.push(key, s.guests, func() {
		defer s.guests.leave(s.guests.calls)
		if err := s.takeBatch(key, c, who, answer); err != nil {
			s.refuseCall(answer, err)
		}
	})
	if !taken {
		s.guests.leave(s.guests.calls)
		return errBusy
	}
	return nil
}

// takeBatch gives a batch to the core. It is answered when all its confirmations have come; nobody waits
// for that, and no deadline is its own: the stream's node gives it up when it ends.
func (s *Server) takeBatch(key lane, c *envelope, who *caller, answer Answer) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = s.recovery.refuse(holdfastv1.ConnectionService_SendStream_FullMethodName, p)
		}
	}()
	st := s.remoteStream(key, c.seq)
	if c.seq != st.next { // a batch was lost, perhaps with the middle of a message
		st.abandon()
	}
	st.next, st.last, st.caller = c.seq+1, time.Now(), who
	req := &batchRequest{}
	if err := req.unmarshal(bytes.Clone(c.request)); err != nil {
		return s.toldStatus(holdfastv1.ConnectionService_SendStream_FullMethodName, err, "")
	}
	b := &batch{sends: req.GetSends(), size: req.size}
	b.finished = func() {
		part, err := responsePart(b.response())
		if err != nil {
			part = statusPart(s.toldStatus(holdfastv1.ConnectionService_SendStream_FullMethodName, err, ""))
		}
		answer.End(part)
	}
	b.late = func() { s.guests.beside(b.finished) }
	st.feedAll(b)
	return nil
}

// remoteStream finds the share of a stream or begins one, whose first batch has that number.
func (s *Server) remoteStream(key lane, seq uint64) *remoteStream {
	r := &s.streams
	r.mu.Lock()
	defer r.mu.Unlock()
	st, ok := r.streams[key]
	if !ok {
		st = &remoteStream{feeder: s.service.newFeeder(nil), next: seq, last: time.Now()}
		st.idle = time.AfterFunc(streamIdle, func() {
			if s.endStream(key, streamIdle, func() {}) != nil {
				st.idle.Reset(streamIdle)
			}
		})
		r.streams[key] = st
	}
	return st
}

// serveEnd drops a stream behind its last batch.
func (s *Server) serveEnd(from hub.NodeID, c *envelope, answer Answer) error {
	return s.endStream(lane{from, c.stream}, 0, func() { answer.End([]byte{partResponse}) })
}

// endStream drops a stream that has been idle for that long; done is called on its lane.
func (s *Server) endStream(key lane, idle time.Duration, done func()) error {
	if err := s.guests.enter(s.guests.calls); err != nil {
		return err
	}
	taken := s.lanes.push(key, s.guests, func() {
		defer s.guests.leave(s.guests.calls)
		s.streams.drop(key, idle)
		done()
	})
	if !taken {
		s.guests.leave(s.guests.calls)
		return errBusy
	}
	return nil
}

// drop forgets a stream and gives up its unfinished messages, unless it was not idle for that long.
func (r *remoteStreams) drop(key lane, idle time.Duration) {
	r.mu.Lock()
	st, ok := r.streams[key]
	if !ok {
		r.mu.Unlock()
		return
	}
	if left := idle - time.Since(st.last); idle > 0 && left > 0 {
		st.idle.Reset(left)
		r.mu.Unlock()
		return
	}
	delete(r.streams, key)
	r.mu.Unlock()
	st.idle.Stop()
	st.abandon()
}

// dropAll forgets every stream, when no lane runs any more.
func (r *remoteStreams) dropAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, st := range r.streams {
		st.idle.Stop()
		st.abandon()
	}
	clear(r.streams)
}

// NodeLeft gives up the unfinished messages of a node that is no longer in the table. It is a courtesy:
// without it they end with their time.
func (s *Server) NodeLeft(id hub.NodeID) {
	s.streams.mu.Lock()
	var left []lane
	for key := range s.streams.streams {
		if key.node == id {
			left = append(left, key)
		}
	}
	s.streams.mu.Unlock()
	for _, key := range left {
		_ = s.endStream(key, 0, func() {}) // refused only when the server stops, or by its time
	}
}
