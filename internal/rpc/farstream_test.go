package rpc

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

func TestStreamThroughAnotherNodeKeepsOrder(t *testing.T) {
	_, nodes := newCluster(t, 3)
	here, h := nodes[0].open(t)
	there, s := nodes[1].open(t)
	far, f := nodes[2].open(t)
	st := streamOf(t, nodes[0])
	var want []string
	for i := range 200 {
		word := strconv.Itoa(i)
		want = append(want, word)
		st.batch(send(there, text(word)), send(here, text(word)), send(far, text(word)))
	}
	seen := make(map[string]bool)
	for range 200 {
		seen[st.answer()] = true
	}
	st.end()
	for i := range 200 {
		if !seen[fmt.Sprint(i+1, ":")] {
			t.Errorf("batch %d did not succeed", i+1)
		}
	}
	for name, r := range map[string]string{"here": payloads(h.Record()), "there": payloads(s.Record()), "far": payloads(f.Record())} {
		if r != strings.Join(want, " ") {
			t.Errorf("%s was sent %q", name, r)
		}
	}
}

func TestStreamFailuresOfOtherNodesHaveTheirPlace(t *testing.T) {
	c, nodes := newCluster(t, 3)
	here, _ := nodes[0].open(t)
	there, _ := nodes[1].open(t)
	full, f := nodes[1].open(t)
	lost, _ := nodes[2].open(t)
	f.Refuse(hub.ErrQueueFull)
	c.change(nodes[2], func(m *member) { m.fails = hub.ErrUnreachable })
	st := streamOf(t, nodes[0])
	st.batch(send(lost, text("0")), send(here, text("1")), send(full, text("2")), send("?", text("3")), send(there, text("4")),
		send(full, text("5")), send(someID.String(), text("6")), send(there, &holdfastv1.Message{}), send(there, text("8")), send(lost, text("9")))
	st.want("1: 0 NODE_UNREACHABLE, 2 SEND_QUEUE_FULL, 3 INVALID_CONNECTION_ID, 5 SKIPPED_AFTER_FAILURE, 6 CONNECTION_GONE, " +
		"7 INVALID_MESSAGE, 8 SKIPPED_AFTER_FAILURE, 9 NODE_UNREACHABLE")
	f.Refuse(nil)
	st.batch(send(full, text("a"))) // a new batch is a new try
	st.want("2:")
	st.end()
}

// The next batch does not wait for the answer to the one before.
func TestStreamDoesNotWaitForAnotherNode(t *testing.T) {
	_, nodes := newCluster(t, 2)
	id, s := nodes[1].open(t)
	here, _ := nodes[0].open(t)
	st := streamOf(t, nodes[0])
	st.batch(confirmed(id, text("slow"), written), send(here, text("x")))
	st.batch(send(here, text("y")))
	st.want("2:")
	st.batch(send(id, text("quick")))
	st.want("3:")
	s.Confirm(hub.Outcome{Err: hub.ErrExpired})
	st.want("1: 0 MESSAGE_EXPIRED")
	st.end()
}

func TestFragmentsThroughAnotherNode(t *testing.T) {
	_, nodes := newCluster(t, 2)
	id, s := nodes[1].open(t)
	st := streamOf(t, nodes[0])
	for i, more := range []bool{true, true, false} {
		st.batch(send(id, fragment(strconv.Itoa(i), "", more)))
		st.want(fmt.Sprint(i+1, ":"))
	}
	// Another stream does not continue it, nor does the same one on another connection.
	st.batch(send(id, fragment("a", "", true)))
	st.want("4:")
	other := streamOf(t, nodes[0])
	other.batch(send(id, text("b")))
	other.want("1:")
	r := s.Record().Messages
	if payloads(s.Record()) != "0 1 2 a b" || r[0].Fragment != 0 || r[1].Fragment != 1 || r[2].Fragment != 1 || r[4].Fragment != 0 {
		t.Errorf("messages %+v", r)
	}
	other.end()
	st.end()
	if r := s.Until(abandoned); r.Abandoned[0] != 2 {
		t.Errorf("abandoned %v", r.Abandoned)
	}
	waitFor(t, func() bool { return streams(nodes[1]) == 0 })
}

// A message with a hole must not arrive as if it were whole.
func TestLostBatchEndsUnfinishedMessages(t *testing.T) {
	c, nodes := newCluster(t, 2)
	id, s := nodes[1].open(t)
	st := streamOf(t, nodes[0])
	st.batch(send(id, fragment("a", "", true)))
	st.want("1:")
	c.change(nodes[1], func(m *member) { m.fails = hub.ErrUnreachable })
	st.batch(send(id, fragment("b", "", true)))
	st.want("2: 0 NODE_UNREACHABLE")
	c.change(nodes[1], func(m *member) { m.fails = nil })
	st.batch(send(id, fragment("c", "", false)))
	st.want("3: 0 CONNECTION_CLOSING")
	st.end()
	if r := s.Record(); len(r.Abandoned) != 1 || payloads(r) != "a" {
		t.Errorf("record %+v", r)
	}
}

func TestStateOfAStreamEndsWithIt(t *testing.T) {
	for name, end := range map[string]func(c *cluster, nodes []*member, cancel func()){
		"its client goes": func(_ *cluster, _ []*member, cancel func()) { cancel() },
		"its node leaves": func(c *cluster, nodes []*member, cancel func()) {
			c.change(nodes[1], func(m *member) { m.fails = hub.ErrUnreachable }) // so that no end is told
			nodes[1].server.NodeLeft("aaaaaaaaaa")                               // another
			nodes[1].server.NodeLeft(nodes[0].id())
			cancel()
		},
		"the owner stops": func(_ *cluster, nodes []*member, _ func()) { nodes[1].server.Stop(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			c, nodes := newCluster(t, 2)
			id, s := nodes[1].open(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			st := nodes[0].sendStream(t, ctx)
			st.batch(send(id, fragment("a", "", true)))
			st.want("1:")
			end(c, nodes, cancel)
			s.Until(abandoned)
			waitFor(t, func() bool { return streams(nodes[1]) == 0 })
		})
	}
}

func TestIdleStreamOfAnotherNodeIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, nodes := newCluster(t, 2)
		id, s := nodes[1].open(t)
		st := streamOf(t, nodes[0])
		st.batch(send(id, text("a")))
		st.want("1:")
		time.Sleep(streamIdle - time.Second)
		st.batch(send(id, text("b")))
		st.want("2:")
		time.Sleep(streamIdle - time.Second) // since the last batch, not since the first
		synctest.Wait()
		if n := streams(nodes[1]); n != 1 {
			t.Fatalf("%d streams in use", n)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := streams(nodes[1]); n != 0 {
			t.Errorf("%d idle streams", n)
		}
		st.batch(send(id, fragment("c", "", true)), send(id, fragment("d", "", false))) // and it goes on
		st.want("3:")
		c.change(nodes[1], func(m *member) { m.fails = hub.ErrUnreachable }) // its end is lost
		st.end()
		time.Sleep(streamIdle)
		synctest.Wait()
		if r := s.Record(); payloads(r) != "a b c d" || len(r.Abandoned) != 0 || streams(nodes[1]) != 0 {
			t.Errorf("%d streams, record %+v", streams(nodes[1]), r)
		}
	})
}

// A node that is lost with a batch under way: the batch is answered.
func TestStreamAnswersWhenANodeIsLost(t *testing.T) {
	c, nodes := newCluster(t, 2)
	id, s := nodes[1].open(t)
	st := streamOf(t, nodes[0])
	st.batch(confirmed(id, text("a"), received))
	s.Until(waiting(1))
	c.lose(nodes[1], hub.ErrUnreachable)
	st.want("1: 0 NODE_UNREACHABLE")
	s.Confirm(hub.Outcome{}) // late
	st.end()
}

// stalled is an answer that a bus which hangs does not take.
type stalled struct{ ended, release chan struct{} }

func (s stalled) Send([]byte) error { return nil }

func (s stalled) End([]byte) {
	close(s.ended)
	<-s.release
}

// A socket that confirms must not wait for the bus.
func TestBusDoesNotHoldUpASocket(t *testing.T) {
	_, nodes := newCluster(t, 1)
	id, s := nodes[0].open(t)
	request, _ := (&envelope{kind: callBatch, stream: 1}).encode(&holdfastv1.SendStreamRequest{
		Sends: []*holdfastv1.SendRequest{confirmed(id, text("x"), written)},
	})
	a := stalled{make(chan struct{}), make(chan struct{})}
	nodes[0].server.ServeCall(t.Context(), "aaaaaaaaaa", request, a)
	s.Until(waiting(1))
	s.Confirm(hub.Outcome{}) // hangs if it waits
	<-a.ended
	close(a.release)
}

func TestLaneRefusesWhatIsTooMuch(t *testing.T) {
	l := lanes{queues: make(map[lane][]func())}
	g := newGuests()
	begun, release := make(chan struct{}), make(chan struct{})
	l.push(lane{}, g, func() { close(begun); <-release })
	<-begun
	var order []int
	for i := range maxQueued {
		if !l.push(lane{}, g, func() { order = append(order, i) }) {
			t.Fatalf("refused after %d", i)
		}
	}
	if l.push(lane{}, g, func() {}) {
		t.Error("one more was taken")
	}
	beside := make(chan struct{})
	if !l.push(lane{stream: 1}, g, func() { close(beside) }) {
		t.Error("another lane is full, too")
	}
	<-beside
	close(release)
	g.running.Wait()
	for i, n := range order {
		if i != n {
			t.Fatalf("order %v", order)
		}
	}
	if len(order) != maxQueued || len(l.queues) != 0 {
		t.Errorf("%d done, %d lanes left", len(order), len(l.queues))
	}
}

func TestSendManyToSeveralNodes(t *testing.T) {
	c, nodes := newCluster(t, 3)
	here, h := nodes[0].open(t)
	there, s := nodes[1].open(t)
	full, f := nodes[1].open(t)
	lost, _ := nodes[2].open(t)
	f.Refuse(hub.ErrQueueFull)
	c.change(nodes[2], func(m *member) { m.fails = hub.ErrUnreachable })
	ids := []string{full, lost, here, there, someID.String(), full, "?", there, lost}
	resp, err := nodes[0].client.SendMany(t.Context(), &holdfastv1.SendManyRequest{ConnectionIds: ids, Message: text("x")})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range resp.Failures {
		got = append(got, f.ConnectionId+" "+f.Reason.String())
		if f.Message == "" || f.Code == 0 {
			t.Errorf("failure without text or code: %v", f)
		}
	}
	want := []string{
		full + " SEND_QUEUE_FULL", lost + " NODE_UNREACHABLE", someID.String() + " CONNECTION_GONE",
		full + " SEND_QUEUE_FULL", "? INVALID_CONNECTION_ID", lost + " NODE_UNREACHABLE",
	}
	if strings.Join(got, ", ") != strings.Join(want, ", ") || resp.Succeeded != 3 {
		t.Errorf("%d succeeded, failures %v", resp.Succeeded, got)
	}
	if payloads(h.Record()) != "x" || payloads(s.Record()) != "x x" {
		t.Errorf("sent %q and %q", payloads(h.Record()), payloads(s.Record()))
	}
}

func TestSendManyWaitsForOtherNodes(t *testing.T) {
	_, nodes := newCluster(t, 2)
	id, s := nodes[1].open(t)
	answer := beside(func() (*holdfastv1.SendManyResponse, error) {
		return nodes[0].client.SendMany(t.Context(), &holdfastv1.SendManyRequest{
			ConnectionIds: []string{id}, Message: text("x"), Confirmation: received,
		})
	})
	s.Until(waiting(1))
	s.Confirm(hub.Outcome{})
	if r := <-answer; r.err != nil || r.resp.Succeeded != 1 {
		t.Errorf("%v", r)
	}
}
