package hub_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/holdfast-broker/holdfast/internal/hub"
	"github.com/holdfast-broker/holdfast/internal/hub/hubtest"
)

var (
	everyone = hub.Target{Namespace: "default"}
	groupG   = hub.Target{Namespace: "default", Group: "g"}
	userAnn  = hub.Target{Namespace: "default", User: "ann"}
)

// prompt is a socket that takes a message and confirms it before Send has returned.
type prompt struct {
	hubtest.Socket
	err error // outcome
}

func (p *prompt) Send(m *hub.Message, done hub.Done) (hub.Sent, error) {
	if m.Confirmation != hub.Queued {
		done(hub.Outcome{Err: p.err})
	}
	return hub.Sent{}, nil
}

// crowd are n connections with prompt sockets, of one user in one group.
func crowd(t testing.TB, n int) *hub.Hub {
	t.Helper()
	h, _ := node()
	for range n {
		c, err := h.Open(chat, &hub.Facts{}, &prompt{})
		if err != nil {
			t.Fatal(err)
		}
		join(t, c, "g")
		setUser(t, c, "ann")
	}
	return h
}

func isDone(b *hub.Broadcast) bool {
	select {
	case <-b.Done():
		return true
	default:
		return false
	}
}

// Refusals are counted at once, for every confirmation.
func TestBroadcastCountsRefusals(t *testing.T) {
	for _, cf := range []hub.Confirmation{hub.Queued, hub.Written, hub.Received} {
		h, _ := node()
		for _, err := range []error{
			hub.ErrQueueFull, hub.ErrClosing, hub.ErrNotFound, hub.ErrPaused, hub.ErrRateLimited,
			hub.Invalid(hub.MessageTooLarge, "message", "", ""),
		} {
			_, s := open(t, h, chat)
			s.Refuse(err)
		}
		b := h.Broadcast(everyone, message(cf), nil)
		if got, want := b.Counts(), (hub.Counts{Matched: 6, Full: 1, Gone: 2, Failed: 3}); got != want || !isDone(b) {
			t.Errorf("confirmation %d: %+v, done %v; want %+v", cf, got, isDone(b), want)
		}
	}
}

func TestBroadcastCountsOutcomesAsTheyCome(t *testing.T) {
	h, _ := node()
	outcomes := []error{nil, hub.ErrQueueFull, hub.ErrClosing, hub.ErrNotConfirmed, hub.ErrExpired}
	wants := []hub.Counts{
		{Matched: 6, Full: 1, Succeeded: 1}, {Matched: 6, Full: 2, Succeeded: 1}, {Matched: 6, Full: 2, Succeeded: 1, Gone: 1},
		{Matched: 6, Full: 2, Succeeded: 1, Gone: 1, Failed: 1}, {Matched: 6, Full: 2, Succeeded: 1, Gone: 1, Failed: 2},
	}
	sockets := make([]*hubtest.Socket, len(outcomes))
	for i := range sockets {
		_, sockets[i] = open(t, h, chat)
	}
	_, full := open(t, h, chat)
	full.Refuse(hub.ErrQueueFull)
	b := h.Broadcast(everyone, message(hub.Received), nil)
	if got := b.Counts(); got != (hub.Counts{Matched: 6, Full: 1}) || got.Pending() != 5 {
		t.Errorf("%+v, %d pending", got, got.Pending())
	}
	for i, err := range outcomes {
		if isDone(b) {
			t.Fatalf("done with %d of %d outcomes", i, len(outcomes))
		}
		if n := sockets[i].Confirm(hub.Outcome{Err: err}); n != 1 {
			t.Fatalf("%d confirmations waited for", n)
		}
		if got := b.Counts(); got != wants[i] {
			t.Errorf("after %v: %+v, want %+v", err, got, wants[i])
		}
	}
	if !isDone(b) || b.Counts().Pending() != 0 {
		t.Errorf("done %v, %d pending", isDone(b), b.Counts().Pending())
	}
}

// A member that confirms within Send is not the last one while others wait for their turn.
func TestBroadcastOutlivesPromptOutcomes(t *testing.T) {
	b := crowd(t, 3).Broadcast(groupG, message(hub.Written), nil)
	if got := b.Counts(); got != (hub.Counts{Matched: 3, Succeeded: 3}) || !isDone(b) {
		t.Errorf("%+v, done %v", got, isDone(b))
	}
}

func TestBroadcastToNobodyIsDone(t *testing.T) {
	h, _ := node()
	for _, to := range []hub.Target{everyone, groupG, userAnn} {
		if b := h.Broadcast(to, message(hub.Received), nil); b.Counts() != (hub.Counts{}) || !isDone(b) {
			t.Errorf("%+v: %+v, done %v", to, b.Counts(), isDone(b))
		}
	}
}

func TestBroadcastsKeepTheirOrder(t *testing.T) {
	h, _ := node()
	sockets := make([]*hubtest.Socket, 20)
	for i := range sockets {
		var c *hub.Conn
		c, sockets[i] = open(t, h, chat)
		join(t, c, "g")
		setUser(t, c, "ann")
	}
	const n = 30
	for i := range n {
		to := []hub.Target{everyone, groupG, userAnn}[i%3]
		h.Broadcast(to, &hub.Message{Opcode: hub.Binary, Payload: []byte{byte(i)}}, nil)
	}
	for _, s := range sockets {
		messages := s.Record().Messages
		if len(messages) != n {
			t.Fatalf("%d messages", len(messages))
		}
		for i, m := range messages {
			if int(m.Payload[0]) != i {
				t.Fatalf("message %d came in place of %d", m.Payload[0], i)
			}
		}
	}
}

// What was opened together lies together in memory, which makes a broadcast to many a quarter cheaper.
func TestBroadcastReachesTheOldestFirst(t *testing.T) {
	h, _ := node()
	var conns, reached []*hub.Conn
	for range 50 {
		s := &witness{}
		c, err := h.Open(chat, &hub.Facts{}, s)
		if err != nil {
			t.Fatal(err)
		}
		s.sent = func() { reached = append(reached, c) }
		conns = append(conns, c)
	}
	for _, i := range rand.Perm(len(conns)) {
		join(t, conns[i], "g")
		setUser(t, conns[i], "ann")
	}
	for _, to := range []hub.Target{everyone, groupG, userAnn} {
		reached = nil
		h.Broadcast(to, message(hub.Queued), nil)
		if !slices.IsSortedFunc(reached, func(a, b *hub.Conn) int { return a.OpenTime().Compare(b.OpenTime()) }) || len(reached) != len(conns) {
			t.Errorf("%+v: reached %d, not in the order in which they came", to, len(reached))
		}
	}
}

// witness is a socket that tells when a message is sent.
type witness struct {
	hubtest.Socket
	sent func()
}

func (w *witness) Send(*hub.Message, hub.Done) (hub.Sent, error) {
	w.sent()
	return hub.Sent{}, nil
}

func TestBroadcastSharesWhatIsPrepared(t *testing.T) {
	h, _ := node()
	_, a := open(t, h, chat)
	_, b := open(t, h, chat)
	m := message(hub.Queued)
	given := message(hub.Queued)
	given.Prepared = new(hub.Prepared)
	h.Broadcast(everyone, m, nil)
	h.Broadcast(everyone, given, nil)
	atA, atB := a.Record().Messages, b.Record().Messages
	if m.Prepared != nil {
		t.Error("the caller's message is changed")
	}
	if atA[0].Prepared == nil || atA[0].Prepared != atB[0].Prepared {
		t.Error("the first message is not prepared once for all")
	}
	if atA[1].Prepared != given.Prepared || atB[1].Prepared != given.Prepared {
		t.Error("what the caller has prepared is not used")
	}
}

func TestCloseAll(t *testing.T) {
	for name, to := range map[string]hub.Target{"everyone": everyone, "group": groupG, "user": userAnn} {
		t.Run(name, func(t *testing.T) {
			h, p := node()
			conns := make([]*hub.Conn, 5)
			for i := range conns {
				s := &hubtest.Socket{AnswerClose: true} // it leaves its groups while CloseAll is at it
				c, err := s.Open(h, chat)
				if err != nil {
					t.Fatal(err)
				}
				join(t, c, "g")
				setUser(t, c, "ann")
				conns[i] = c
			}
			stays := conns[2].ID()
			if n := h.CloseAll(to, map[hub.ID]struct{}{stays: {}}, 4000, "over"); n != 4 {
				t.Errorf("%d matched", n)
			}
			if left := members(h, "g"); !slices.Equal(left, []hub.ID{stays}) {
				t.Errorf("left %v", left)
			}
			for _, e := range p.Events() {
				if end := e.Closed; end != nil && (end.End.SentCode != 4000 || end.End.SentReason != "over" || end.End.Cause != hub.CauseBackendClose) {
					t.Errorf("closed %+v", end.End)
				}
			}
		})
	}
}

func TestBroadcastAllocatesNothingPerMember(t *testing.T) {
	const n = 2000
	h := crowd(t, n)
	someone, _ := h.List(hub.Filter{}, nil, 1)
	except := map[hub.ID]struct{}{someone[0].ID: {}}
	for _, to := range []hub.Target{everyone, groupG, userAnn} {
		for _, cf := range []hub.Confirmation{hub.Queued, hub.Written} {
			m := message(cf)
			allocs := testing.AllocsPerRun(20, func() {
				if got := h.Broadcast(to, m, except).Counts(); got.Succeeded != n-1 {
					t.Errorf("%+v", got)
				}
			})
			if allocs > n/50 { // the pool of copies may be emptied meanwhile, and grows in steps
				t.Errorf("%+v, confirmation %d: %v allocations for %d members", to, cf, allocs, n)
			}
		}
	}
}

func BenchmarkBroadcast(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		h := crowd(b, n)
		for name, to := range map[string]hub.Target{"group": groupG, "everyone": everyone} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				m := message(hub.Queued)
				b.ReportAllocs()
				for b.Loop() {
					h.Broadcast(to, m, nil)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/member")
			})
		}
	}
}
