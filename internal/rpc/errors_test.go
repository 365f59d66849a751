package rpc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

func TestEveryReasonHasItsClass(t *testing.T) {
	for _, r := range hub.Reasons() {
		c, ok := classes[r]
		if !ok {
			t.Errorf("%s has no class", r)
		}
		if c.reason.String() != r.String() {
			t.Errorf("%s is told as %s", r, c.reason)
		}
		if c.code == codes.OK || c.code == codes.Unknown {
			t.Errorf("%s has code %s", r, c.code)
		}
	}
	if got, want := len(classes), len(hub.Reasons()); got != want {
		t.Errorf("%d classes for %d reasons", got, want)
	}
	told := make(map[holdfastv1.ErrorReason]bool)
	for _, c := range classes {
		told[c.reason] = true
	}
	for n, name := range holdfastv1.ErrorReason_name {
		if n != 0 && !told[holdfastv1.ErrorReason(n)] {
			t.Errorf("no refusal is told as %s", name)
		}
	}
}

// The comments of error_reason.proto begin with the code; the invalid ones share one.
func TestInvalidReasonsAreInvalidArguments(t *testing.T) {
	for _, r := range hub.Reasons() {
		isInvalid := strings.HasPrefix(r.String(), "INVALID_") || strings.Contains(r.String(), "TOO_L")
		if got := classes[r].code == codes.InvalidArgument; got != isInvalid {
			t.Errorf("%s has code %s", r, classes[r].code)
		}
	}
}

func TestStatusOf(t *testing.T) {
	b := start(t, Config{})
	id, s := b.open(t)
	s.SetState(func(st *hub.SocketState) { st.Buffered = 77 })
	gone := "aaaaaaaaaa-aaaaaaaaaaaaaaaa"
	foreign := status.Error(codes.Aborted, "of another node")
	for _, tt := range []struct {
		name     string
		err      error
		id       string
		code     codes.Code
		reason   string
		metadata map[string]string
	}{
		{"not found", hub.ErrNotFound, id, codes.NotFound, "CONNECTION_NOT_FOUND", map[string]string{"connection_id": id}},
		{"gone", hub.ErrGone, gone, codes.NotFound, "CONNECTION_GONE", map[string]string{"connection_id": gone, "node": "aaaaaaaaaa"}},
		{"full", hub.ErrQueueFull, id, codes.ResourceExhausted, "SEND_QUEUE_FULL", map[string]string{"connection_id": id, "buffered_amount": "77"}},
		{"wrapped", fmt.Errorf("send: %w", hub.ErrPaused), id, codes.FailedPrecondition, "CONNECTION_PAUSED", map[string]string{"connection_id": id}},
		{"no connection", hub.ErrStopping, "", codes.Unavailable, "NODE_STOPPING", map[string]string{}},
		{"deadline", context.DeadlineExceeded, id, codes.DeadlineExceeded, "NOT_CONFIRMED", map[string]string{"connection_id": id}},
		{"defect", errors.New("secret"), id, codes.Internal, "INTERNAL_ERROR", map[string]string{"connection_id": id}},
		{"cancelled", context.Canceled, id, codes.Canceled, "", nil},
		{"has a status", foreign, id, codes.Aborted, "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := b.server.service.statusOf(tt.err, tt.id)
			if status.Code(err) != tt.code || strings.Contains(err.Error(), "secret") {
				t.Fatalf("status %v", err)
			}
			if tt.reason == "" {
				return
			}
			_, info := refusal(t, err)
			if info.Reason != tt.reason || fmt.Sprint(info.Metadata) != fmt.Sprint(tt.metadata) {
				t.Errorf("reason %s, metadata %v", info.Reason, info.Metadata)
			}
		})
	}
	if b.server.service.statusOf(nil, "") != nil {
		t.Error("nil is an error")
	}
}

// A value that is cut inside a code point must not cost the whole detail.
func TestDetailSurvivesCutText(t *testing.T) {
	b := start(t, Config{})
	id, _ := b.open(t)
	user := "x" + strings.Repeat("é", hub.MaxUser)
	_, err := b.client.Update(t.Context(), &holdfastv1.UpdateRequest{ConnectionId: id, User: &user})
	md := wantRefusal(t, err, hub.InvalidUser)
	if v := md["value"]; !utf8.ValidString(v) || !strings.HasPrefix(user, strings.TrimSuffix(v, "…")) || len(v) > 70 {
		t.Errorf("value %q", v)
	}
}

func TestOnlyDefectsAreLogged(t *testing.T) {
	for _, err := range []error{
		nil, context.Canceled, context.DeadlineExceeded, hub.ErrGone, errInternal, status.Error(codes.Internal, "told"),
		fmt.Errorf("wrapped: %w", hub.ErrGone),
	} {
		if isDefect(err) {
			t.Errorf("%v is a defect", err)
		}
	}
	if !isDefect(errors.New("surprise")) {
		t.Error("a surprise is no defect")
	}
}
