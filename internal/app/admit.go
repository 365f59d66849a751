package app

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/holdfast-broker/holdfast/internal/admission"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// admit has the endpoint's admitter judge a handshake. Without a grant the client has its answer. Nobody waits
// longer than the client does, or than the broker accepts clients.
func (e *edge) admit(w http.ResponseWriter, ep *endpoint, req *admission.Request) *admission.Grant {
	client := req.HTTP.Context()
	ctx, cancel := context.WithCancel(client)
	defer cancel()
	defer context.AfterFunc(e.stopping, cancel)()
	grant, refusal := ep.admitter.Admit(ctx, req)
	full := e.closed()
	switch {
	case full != nil:
		e.turnAway(w, full)
	case client.Err() != nil:
		e.refused.add("gone")
		answer(w, tooLong) // its time may be over, and the client still there
	case refusal != nil:
		e.keepOut(w, ep, refusal)
	default:
		return grant
	}
	return nil
}

// tooLong is the answer to a handshake whose time is over.
var tooLong = &wire.Refusal{
	Status: http.StatusServiceUnavailable, Text: "handshake took too long", Header: [][2]string{{"Retry-After", "1"}},
}

// keepOut answers a handshake that was refused by an admitter.
func (e *edge) keepOut(w http.ResponseWriter, ep *endpoint, r *admission.Refusal) {
	if r.Detail != "" {
		ep.tellOperator(e.logger, r)
	}
	e.keptOut.add(r.Reason)
	e.refused.add(strconv.Itoa(r.Status))
	header := w.Header()
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("X-Content-Type-Options", "nosniff")
	for _, field := range r.Header {
		if http.CanonicalHeaderKey(field[0]) == "Content-Type" {
			header.Del(field[0])
		}
		header.Add(field[0], field[1])
	}
	header.Set("Connection", "close") // as in answer
	w.WriteHeader(r.Status)
	_, _ = w.Write(r.Body) // the client may be gone
}

// tellOperator writes a line of the log, now and then: strangers can cause it.
func (ep *endpoint) tellOperator(logger *slog.Logger, r *admission.Refusal) {
	if silent, due := ep.keptOut.due(time.Now()); due {
		logger.Warn("a client was not admitted", "reason", r.Reason, "detail", r.Detail,
			"endpoint", ep.hub.Path, "setting", ep.key+".admission", "not_logged", silent)
	}
}
