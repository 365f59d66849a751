package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/durationpb"

	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

const (
	// pauseFor is after what time the broker resumes by itself, should everybody forget.
	pauseFor = time.Minute
	// patience bounds an action that waits for a browser. A close waits for the browser's own.
	patience = 10 * time.Second
	// maxText is the longest line in bytes.
	maxText = 8 << 10
	// maxQuoted is how much of what nobody understands is said back.
	maxQuoted = 40
)

// request is what a page says. Type chooses which fields count.
type request struct {
	Type    string `json:"type"`
	ID      string `json:"id"`      // whom an action is about
	Text    string `json:"text"`    // chat, private
	Number  int64  `json:"number"`  // chat: the page's own
	Receipt bool   `json:"receipt"` // private: wait until the browser has it
	Code    uint32 `json:"code"`    // close
	Reason  string `json:"reason"`  // close
}

// action does what a page asked for and says in a few words what came of it.
type action func(context.Context, holdfastv1.ConnectionServiceClient, request) (string, error)

var actions = map[string]action{
	"pause":     pause,
	"resume":    resume,
	"ping":      ping,
	"private":   private,
	"close":     closeConnection,
	"terminate": terminate,
	"get":       get,
}

// message handles what a page said, and names it for the feed.
func (b *backend) message(ctx context.Context, from string, seq uint64, payload []byte) string {
	var req request
	if err := json.Unmarshal(payload, &req); err != nil {
		b.answer(ctx, from, misunderstood("not the JSON this demo speaks: "+err.Error()))
		return "not understood"
	}
	if len(req.Text) > maxText && req.Type != "filler" {
		b.answer(ctx, from, misunderstood(fmt.Sprintf("a text of more than %d bytes", maxText)))
		return "too long"
	}
	switch req.Type {
	case "hello":
		b.answer(ctx, from, welcome{"welcome", from})
	case "chat":
		b.everyone(ctx, line{"chat", from, seq, req.Text, req.Number})
	case "filler": // only its size matters
	default:
		if _, exists := actions[req.Type]; !exists {
			b.answer(ctx, from, misunderstood(fmt.Sprintf("no such type: %.*q", maxQuoted, req.Type)))
			return "not understood"
		}
		b.start(ctx, from, seq, req)
	}
	return req.Type
}

func misunderstood(why string) result {
	return result{Type: "result", Text: why, Reason: "NOT_UNDERSTOOD"}
}

// start does an action beside the loop: some wait for a browser.
func (b *backend) start(ctx context.Context, from string, seq uint64, req request) {
	select {
	case b.slots <- struct{}{}:
	default:
		b.answer(ctx, from, result{Type: "result", Action: req.Type, ID: req.ID, Text: "too much is under way", Reason: "DEMO_BUSY"})
		return
	}
	if req.Type == "private" {
		// The target reads it as a line; who wrote it is not the writer's to say.
		text, _ := json.Marshal(line{Type: "private", From: from, Seq: seq, Text: req.Text}) //nolint:errchkjson // strings and numbers
		req.Text = string(text)
	}
	b.calls.Go(func() {
		defer func() { <-b.slots }()
		b.answer(ctx, from, b.act(ctx, req))
	})
}

func (b *backend) act(ctx context.Context, req request) result {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	out := result{Type: "result", Action: req.Type, ID: req.ID, OK: true}
	text, err := actions[req.Type](ctx, b.control, req)
	if err != nil {
		out.OK = false
		out.Reason, out.Text = explain(err)
		return out
	}
	out.Text = text
	switch req.Type {
	case "close", "terminate": // nothing left to know
		return out
	case "pause", "resume": // no event says so
		b.refresh()
	}
	if req.Type == "pause" {
		time.AfterFunc(pauseFor+pace, b.refresh) // nor when the broker resumes it
	}
	out.Connection = facts(ctx, b.control, req.ID)
	return out
}

// explain takes apart what every refusal of the broker carries: a reason from the schema's ErrorReason,
// and a line for people.
func explain(err error) (reason, text string) {
	refusal := status.Convert(err)
	for _, detail := range refusal.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.GetReason(), refusal.Message()
		}
	}
	return refusal.Code().String(), refusal.Message()
}

// facts is what Get says now; nothing when the connection has ended since.
func facts(ctx context.Context, control holdfastv1.ConnectionServiceClient, id string) json.RawMessage {
	answer, err := control.Get(ctx, &holdfastv1.GetRequest{ConnectionId: id})
	if err != nil {
		return nil
	}
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(answer.GetConnection())
	if err != nil {
		return nil
	}
	return text
}

// get only asks whether the connection is there: act adds the facts to every answer.
func get(ctx context.Context, control holdfastv1.ConnectionServiceClient, req request) (string, error) {
	answer, err := control.Get(ctx, &holdfastv1.GetRequest{ConnectionId: req.ID})
	return fmt.Sprintf("%d messages in, %d out", answer.GetConnection().GetMessagesIn(), answer.GetConnection().GetMessagesOut()), err
}

func pause(ctx context.Context, control holdfastv1.ConnectionServiceClient, req request) (string, error) {
	_, err := control.Pause(ctx, &holdfastv1.PauseRequest{ConnectionId: req.ID, ResumeAfter: durationpb.New(pauseFor)})
	return fmt.Sprintf("not read any more; the broker resumes it after %s", pauseFor), err
}

func resume(ctx context.Context, control holdfastv1.ConnectionServiceClient, req request) (string, error) {
	_, err := control.Resume(ctx, &holdfastv1.ResumeRequest{ConnectionId: req.ID})
	return "read again", err
}

func ping(ctx context.Context, control holdfastv1.ConnectionServiceClient, req request) (string, error) {
	answer, err := control.Ping(ctx, &holdfastv1.PingRequest{ConnectionId: req.ID})
	return "rtt " + milliseconds(answer.GetRtt()), err
}

func private(ctx context.Context, control holdfastv1.ConnectionServiceClient, req request) (string, error) {
	send := &holdfastv1.SendRequest{
		ConnectionId: req.ID,
		Message:      &holdfastv1.Message{Payload: &holdfastv1.Message_Text{Text: req.Text}},
	}
	if !req.Receipt {
		answer, err := control.Send(ctx, send)
		return fmt.Sprintf("in its send queue (%d bytes wait there)", answer.GetBufferedAmount()), err
	}
	send.Confirmation = holdfastv1.Confirmation_RECEIVED
	answer, err := control.Send(ctx, send)
	return "received by its browser, rtt " + milliseconds(answer.GetRtt()), err
}

func closeConnection(ctx context.Context, control holdfastv1.ConnectionServiceClient, req request) (string, error) {
	answer, err := control.Close(ctx, &holdfastv1.CloseRequest{ConnectionId: req.ID, Code: &req.Code, Reason: req.Reason})
	how := "without an answer"
	if answer.GetWasClean() {
		how = "clean"
	}
	return fmt.Sprintf("closed, %s, its code was %d", how, answer.GetCode()), err
}

func terminate(ctx context.Context, control holdfastv1.ConnectionServiceClient, req request) (string, error) {
	_, err := control.Terminate(ctx, &holdfastv1.TerminateRequest{ConnectionId: req.ID})
	return "its TCP connection is ended", err
}

func milliseconds(d *durationpb.Duration) string {
	return fmt.Sprintf("%.2f ms", float64(d.AsDuration())/float64(time.Millisecond))
}
