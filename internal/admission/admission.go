// Package admission decides who may connect. An Admitter judges one opening handshake that is otherwise
// acceptable: it grants it, and says who the client is, or refuses it, and says what the client is answered.
package admission

import (
	"context"
	"net/http"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

// Request is a handshake to be judged. Nothing in it may be changed.
type Request struct {
	HTTP *http.Request
	// ID is the one that the connection will have.
	ID       hub.ID
	Endpoint *hub.Endpoint
	// Facts are without credentials: those are in HTTP alone.
	Facts *hub.Facts
	// Offers are the subprotocols that the client offers, in its order. Credentials ("bearer.…") are not
	// among them.
	Offers []string
}

// Grant lets a client in.
type Grant struct {
	// Identity may be nil: nothing is known of the client.
	Identity *hub.Identity
	// Subprotocol is one of the offers, or empty for none. Nil: as the endpoint's settings say.
	Subprotocol *string
	// Header are further fields of the answer 101, each as wire.CheckAnswerField allows.
	Header [][2]string
}

// Refusal keeps a client out.
type Refusal struct {
	// Reason is a stable name, for the metric holdfast_admission_refused_total.
	Reason string
	Status int // 300 to 599
	// Header are the fields of the answer, each as wire.CheckAnswerField allows. Without a Content-Type the
	// body is plain text.
	Header [][2]string
	Body   []byte
	// Detail is a line for the operator's log; empty: nothing is worth one.
	Detail string
}

// Admitter decides who may connect to one endpoint. Exactly one of its answers is not nil. It is called by
// many goroutines, each of which waits for it: ctx ends when the client goes away, when its handshake takes too
// long, and when the broker stops. What it answers then is of no interest.
type Admitter interface {
	Admit(ctx context.Context, r *Request) (*Grant, *Refusal)
}
