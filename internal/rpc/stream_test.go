package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/holdfast-broker/holdfast/internal/hub"
	"github.com/holdfast-broker/holdfast/internal/hub/hubtest"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// sender is the client's side of a SendStream.
type sender struct {
	t      testing.TB
	stream holdfastv1.ConnectionService_SendStreamClient
	last   uint64
}

func (b *broker) sendStream(t testing.TB, ctx context.Context) *sender {
	t.Helper()
	stream, err := b.client.SendStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return &sender{t: t, stream: stream}
}

// batch sends the next batch; the first has ID 1.
func (s *sender) batch(sends ...*holdfastv1.SendRequest) {
	s.t.Helper()
	s.last++
	if err := s.stream.Send(&holdfastv1.SendStreamRequest{BatchId: s.last, Sends: sends}); err != nil {
		s.t.Fatal(err)
	}
}

// answer receives an answer as text: "7: 0 SEND_QUEUE_FULL, 2 SKIPPED_AFTER_FAILURE".
func (s *sender) answer() string {
	s.t.Helper()
	resp, err := s.stream.Recv()
	if err != nil {
		return err.Error()
	}
	var failures []string
	for _, f := range resp.Failures {
		if f.Message == "" || codes.Code(f.Code) == codes.OK {
			s.t.Errorf("failure without text or code: %v", f)
		}
		failures = append(failures, fmt.Sprintf("%d %s", f.Index, f.Reason))
	}
	return strings.TrimSpace(fmt.Sprintf("%d: %s", resp.BatchId, strings.Join(failures, ", ")))
}

func (s *sender) want(want string) {
	s.t.Helper()
	if got := s.answer(); got != want {
		s.t.Errorf("answer %q, want %q", got, want)
	}
}

// end closes the client's side and wants the stream to end well.
func (s *sender) end() {
	s.t.Helper()
	_ = s.stream.CloseSend()
	if _, err := s.stream.Recv(); !errors.Is(err, io.EOF) {
		s.t.Errorf("end of stream: %v", err)
	}
}

func TestStreamSendsInOrder(t *testing.T) {
	b := start(t, Config{})
	id, s := b.open(t)
	st := b.sendStream(t, t.Context())
	var want []string
	for i := range 100 {
		words := []string{fmt.Sprint(i, "a"), fmt.Sprint(i, "b")}
		words[0], words[1] = strings.ReplaceAll(words[0], " ", ""), strings.ReplaceAll(words[1], " ", "")
		want = append(want, words...)
		st.batch(send(id, text(words[0])), send(id, text(words[1])))
	}
	for i := range 100 {
		st.want(fmt.Sprintf("%d:", i+1))
	}
	if n := s.Record().Later; n != 0 {
		t.Errorf("%d messages of answered batches wait for more", n)
	}
	st.batch()
	st.want("101:")
	st.end()
	if got := payloads(s.Record()); got != strings.Join(want, " ") {
		t.Errorf("sent %q", got)
	}
}

func TestStreamSkipsAfterAFailure(t *testing.T) {
	b := start(t, Config{})
	good, s := b.open(t)
	full, f := b.open(t)
	f.Refuse(hub.ErrQueueFull)
	st := b.sendStream(t, t.Context())
	st.batch(send(good, text("1")), send(full, text("x")), send(good, text("2")), send(full, text("x")), send("?", text("x")), send(full, text("x")))
	st.want("1: 1 SEND_QUEUE_FULL, 3 SKIPPED_AFTER_FAILURE, 4 INVALID_CONNECTION_ID, 5 SKIPPED_AFTER_FAILURE")
	f.Refuse(nil)
	st.batch(send(full, text("a")), send(full, &holdfastv1.Message{}), send(full, text("b")))
	st.want("2: 1 INVALID_MESSAGE, 2 SKIPPED_AFTER_FAILURE")
	st.batch(send(full, text("c"))) // a new batch is a new try
	st.want("3:")
	st.end()
	if got := payloads(s.Record()) + "|" + payloads(f.Record()); got != "1 2|a c" {
		t.Errorf("sent %q", got)
	}
}

func TestStreamFailureTellsWhatAnOwnCallWould(t *testing.T) {
	b := start(t, Config{})
	id, s := b.open(t)
	s.Refuse(hub.ErrPaused)
	st := b.sendStream(t, t.Context())
	st.batch(confirmed(id, text("x"), received))
	resp, err := st.stream.Recv()
	if err != nil || len(resp.Failures) != 1 || codes.Code(resp.Failures[0].Code) != codes.FailedPrecondition ||
		resp.Failures[0].Message != hub.ErrPaused.Text {
		t.Errorf("answer %v, %v", resp, err)
	}
	st.end()
}

func TestStreamAnswersInOrderOfCompletion(t *testing.T) {
	b := start(t, Config{})
	slow, s := b.open(t)
	quick, _ := b.open(t)
	st := b.sendStream(t, t.Context())
	st.batch(confirmed(slow, text("w"), written), confirmed(slow, text("r"), received), send(quick, text("q")))
	st.batch(send(quick, text("q")))
	st.want("2:")
	s.Until(waiting(2))
	s.Confirm(hub.Outcome{Err: hub.ErrNotConfirmed})
	st.want("1: 0 NOT_CONFIRMED, 1 NOT_CONFIRMED")
	st.end()
}

// A bubble makes "the server reads no further" certain: every goroutine is blocked.
func TestStreamReadsAtMost64OpenBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, Config{})
		id, s := b.open(t)
		st := b.sendStream(t, t.Context())
		for range 64 + 3 {
			st.batch(confirmed(id, text("x"), written))
		}
		synctest.Wait()
		if n := len(s.Record().Messages); n != 64 {
			t.Errorf("%d batches are open", n)
		}
		s.Confirm(hub.Outcome{})
		synctest.Wait()
		if n := len(s.Record().Messages); n != 64+3 {
			t.Errorf("%d batches were read", n)
		}
		s.Confirm(hub.Outcome{})
		for range 64 + 3 {
			st.answer()
		}
		st.end()
	})
}

func TestStreamAnswersOpenBatchesAfterHalfClose(t *testing.T) {
	b := start(t, Config{})
	id, s := b.open(t)
	st := b.sendStream(t, t.Context())
	st.batch(confirmed(id, text("x"), written))
	_ = st.stream.CloseSend()
	s.Until(waiting(1))
	s.Confirm(hub.Outcome{})
	st.want("1:")
	st.want("EOF")
}

func more(id, s string) *holdfastv1.SendRequest { return send(id, fragment(s, "", true)) }

func TestStreamKeepsTheUnfinishedMessageOfEachConnection(t *testing.T) {
	b := start(t, Config{})
	one, s1 := b.open(t)
	two, s2 := b.open(t)
	st := b.sendStream(t, t.Context())
	st.batch(more(one, "a"), more(two, "A"), more(one, "b"))
	st.batch(send(one, text("c")), send(one, text("whole")), send(two, text("B")))
	st.want("1:")
	st.want("2:")
	st.batch(send(one, fragment("x", "1-a", false)))
	st.want("3: 0 INVALID_FRAGMENT")
	st.end()
	var numbers []uint64
	for _, m := range s1.Record().Messages {
		numbers = append(numbers, m.Fragment)
	}
	if fmt.Sprint(numbers) != "[0 1 1 0]" || payloads(s2.Record()) != "A B" {
		t.Errorf("fragments %v, %s", numbers, payloads(s2.Record()))
	}
	if len(s1.Record().Abandoned)+len(s2.Record().Abandoned) != 0 {
		t.Error("a finished message was abandoned")
	}
}

func TestStreamRecoversFromRefusedFragments(t *testing.T) {
	b := start(t, Config{})
	id, s := b.open(t)
	st := b.sendStream(t, t.Context())
	st.batch(more(id, "a"))
	st.want("1:")
	st.batch(send(id, blob(1))) // of another kind: the message stays open
	st.want("2: 0 INVALID_FRAGMENT")
	s.Refuse(hub.ErrQueueFull)
	st.batch(more(id, "b"))
	st.want("3: 0 SEND_QUEUE_FULL")
	s.Refuse(nil)
	st.batch(more(id, "b"))
	st.want("4:")
	s.Forget() // it expired in the queue
	st.batch(more(id, "c"))
	st.want("5: 0 INVALID_FRAGMENT")
	st.batch(send(id, text("new")))
	st.want("6:")
	st.end()
	r := s.Record()
	if payloads(r) != "a b new" || len(r.Abandoned) != 0 {
		t.Errorf("sent %q, abandoned %v", payloads(r), r.Abandoned)
	}
	if r.Messages[1].Fragment != 1 {
		t.Error("the message was not continued after the refusals")
	}
}

func abandoned(r hubtest.Record) bool { return len(r.Abandoned) > 0 }

func TestStreamThatEndsAbandonsItsMessages(t *testing.T) {
	b := start(t, Config{})
	for _, vanish := range []bool{false, true} {
		id, s := b.open(t)
		ctx, cancel := context.WithCancel(t.Context())
		st := b.sendStream(t, ctx)
		st.batch(more(id, "a"))
		st.want("1:")
		if vanish {
			cancel()
		} else {
			st.end()
		}
		r := s.Until(abandoned)
		if len(r.Closes) != 1 || r.Closes[0].Code != 1011 || r.Closes[0].Cause != hub.CauseMessageAbandoned {
			t.Errorf("vanish %v: closes %v", vanish, r.Closes)
		}
		cancel()
	}
}

func TestFragmentOfAStreamCannotBeContinuedOutside(t *testing.T) {
	b := start(t, Config{})
	id, _ := b.open(t)
	st := b.sendStream(t, t.Context())
	st.batch(more(id, "a"))
	st.want("1:")
	for _, guess := range []string{"1", "1-", "1-1", "01", "0"} {
		_, err := b.client.Send(t.Context(), send(id, fragment("x", guess, false)))
		wantRefusal(t, err, hub.InvalidFragment)
	}
	st.end()
}

func TestVanishedStreamHarmsNobody(t *testing.T) {
	b := start(t, Config{})
	id, s := b.open(t)
	conn, client := b.dial(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := client.SendStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	st := &sender{t: t, stream: stream}
	for range 10 {
		st.batch(confirmed(id, text("x"), written))
	}
	st.batch(more(id, "unfinished"))
	s.Until(messages(11))
	_ = conn.Close() // the whole backend goes
	s.Until(abandoned)
	if n := s.Confirm(hub.Outcome{}); n != 10 {
		t.Errorf("%d confirmations were waited for", n)
	}
	other, _ := b.open(t)
	if _, err := b.client.Send(t.Context(), send(other, text("x"))); err != nil {
		t.Error(err)
	}
}

// panicking is a socket with a defect.
type panicking struct{ *hubtest.Socket }

func (panicking) Send(*hub.Message, hub.Done) (hub.Sent, error) { panic("defect") }

func (b *broker) openPanicking(t testing.TB) string {
	t.Helper()
	c, err := b.hub.Open(chat, &hub.Facts{}, panicking{&hubtest.Socket{}})
	if err != nil {
		t.Fatal(err)
	}
	return c.ID().String()
}

func TestStreamSurvivesAPanic(t *testing.T) {
	b := start(t, Config{})
	st := b.sendStream(t, t.Context())
	st.batch(send(b.openPanicking(t), text("x")))
	_, err := st.stream.Recv()
	wantRefusal(t, err, hub.InternalError)
	if n := b.server.Panics(); n != 1 {
		t.Errorf("%d panics", n)
	}
}

func TestSendMany(t *testing.T) {
	b := start(t, Config{})
	one, s1 := b.open(t)
	two, s2 := b.open(t)
	full, f := b.open(t)
	f.Refuse(hub.ErrQueueFull)
	gone := "aaaaaaaaaa-aaaaaaaaaaaaaaaa"
	req := &holdfastv1.SendManyRequest{ConnectionIds: []string{one, full, two, "?", one, gone}, Message: text("hi"), Confirmation: written}
	answer := beside(func() (*holdfastv1.SendManyResponse, error) { return b.client.SendMany(t.Context(), req) })
	s1.Until(waiting(2))
	s2.Until(waiting(1))
	s1.Confirm(hub.Outcome{})
	s2.Confirm(hub.Outcome{Err: hub.ErrExpired})
	r := <-answer
	if r.err != nil || r.resp.Succeeded != 2 {
		t.Fatalf("answer %v, %v", r.resp, r.err)
	}
	var got []string
	for _, failed := range r.resp.Failures {
		got = append(got, failed.ConnectionId+" "+failed.Reason.String()+" "+codes.Code(failed.Code).String())
	}
	want := []string{
		full + " SEND_QUEUE_FULL ResourceExhausted", two + " MESSAGE_EXPIRED FailedPrecondition",
		"? INVALID_CONNECTION_ID InvalidArgument", gone + " CONNECTION_GONE NotFound",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("failures %v", got)
	}
}

func TestSendManyEdges(t *testing.T) {
	many := func(name string, reason hub.Reason, field string, n int, m *holdfastv1.Message, cf holdfastv1.Confirmation) edge {
		return edge{name, func(ctx context.Context, c holdfastv1.ConnectionServiceClient, id string) error {
			ids := make([]string, n)
			for i := range ids {
				ids[i] = id
			}
			resp, err := c.SendMany(ctx, &holdfastv1.SendManyRequest{ConnectionIds: ids, Message: m, Confirmation: cf})
			if err == nil && int(resp.Succeeded) != n {
				err = errors.New("not all succeeded")
			}
			return err
		}, reason, field}
	}
	testEdges(t, []edge{
		many("none", hub.InvalidBatch, "connection_ids", 0, text("x"), 0),
		many("10,000", 0, "", MaxBatch, text("x"), 0),
		many("10,001", hub.InvalidBatch, "connection_ids", MaxBatch+1, text("x"), 0),
		many("a fragment", hub.InvalidFragment, "message.more", 1, fragment("x", "", true), 0),
		many("a last fragment", hub.InvalidFragment, "message.fragment_id", 1, fragment("x", "1-a", false), 0),
		many("no message", hub.InvalidMessage, "message", 1, nil, 0),
		many("too large", hub.MessageTooLarge, "message.binary", 1, blob(MaxPayload+1), 0),
		many("unknown confirmation", hub.InvalidConfirmation, "confirmation", 1, text("x"), 7),
	})
}

// A stock client accepts 4 MiB: texts give way before the answer grows beyond that.
func TestAnswerOfManyFailuresStaysReadable(t *testing.T) {
	b := start(t, Config{})
	sends := make([]*holdfastv1.SendRequest, 100_000)
	for i := range sends {
		sends[i] = send("?", nil)
	}
	st := b.sendStream(t, t.Context())
	st.batch(sends...)
	resp, err := st.stream.Recv()
	if err != nil || len(resp.Failures) != len(sends) || resp.Failures[maxTexts-1].Message == "" || resp.Failures[maxTexts].Message != "" {
		t.Fatalf("%d failures, %v", len(resp.GetFailures()), err)
	}
	st.end()
	if status.Code(err) != codes.OK {
		t.Error(err)
	}
}
