package admission

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

// The reasons of a Backend's refusals.
const (
	ReasonRefused       = "refused"        // by a backend
	ReasonNoResponder   = "no_responder"   // nobody subscribes
	ReasonNoAnswer      = "no_answer"      // in time
	ReasonInvalidAnswer = "invalid_answer" // none that can be acted on
	ReasonBusAway       = "bus_away"       // nobody could be asked
)

// Bus is what a Backend asks for.
type Bus interface {
	// AskHandshake tells the backends of the endpoint's namespace of a handshake and gives replies to take, until
	// that says that one was an answer. It fails with hub.ErrNoBackend, the context's error, or another.
	AskHandshake(ctx context.Context, h *hub.Handshake, take func(reply []byte) bool) error
}

// Backend has backends judge handshakes: one request on the bus for each.
type Backend struct {
	Bus     Bus
	Timeout time.Duration
}

// Admit implements Admitter.
func (b *Backend) Admit(ctx context.Context, r *Request) (*Grant, *Refusal) {
	ctx, cancel := context.WithTimeout(ctx, b.Timeout)
	defer cancel()
	var grant *Grant
	var refusal *Refusal
	err := b.Bus.AskHandshake(ctx, handshakeOf(r), func(reply []byte) (taken bool) {
		grant, refusal, taken = readAnswer(reply, r)
		return taken
	})
	switch {
	case err == nil:
		return grant, refusal
	case errors.Is(err, hub.ErrNoBackend):
		return nil, unanswered(ReasonNoResponder, "no backend answers handshakes of the namespace")
	case ctx.Err() != nil:
		return nil, unanswered(ReasonNoAnswer, fmt.Sprintf("no backend answered within %s", b.Timeout))
	}
	return nil, unanswered(ReasonBusAway, err.Error())
}

// unanswered is a refusal that says nothing of the client, who may try again.
func unanswered(reason, detail string) *Refusal {
	return &Refusal{
		Reason: reason, Status: http.StatusServiceUnavailable, Header: [][2]string{{"Retry-After", "1"}},
		Body: []byte("nobody can say at present who may connect\n"), Detail: detail,
	}
}
