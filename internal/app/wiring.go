package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

// replies gives what arrives on reply subjects to the hub.
type replies struct {
	hub  *hub.Hub
	cork hub.Cork
}

// Reply implements bus.Replies.
func (r *replies) Reply(id, namespace string, m *hub.Message) (hub.Sent, error) {
	c, err := r.hub.Lookup(id)
	if p, pending := errors.AsType[*hub.Pending](err); pending && p.Endpoint().Namespace != namespace {
		return hub.Sent{}, hub.ErrNotFound
	}
	if err != nil {
		return hub.Sent{}, err
	}
	if c.Endpoint().Namespace != namespace {
		return hub.Sent{}, hub.ErrNotFound
	}
	sent, err := c.Send(m, "", nil)
	r.cork.Hold(c, sent)
	return sent, err
}

// Flush implements bus.Replies.
func (r *replies) Flush() { r.cork.Flush() }

// busOverhead is what a message's headers may take of the bus's max_payload, which counts them.
const busOverhead = 4 << 10

// endpoints prepares the configured endpoints. A message must fit into the bus: a default limit gives
// way, one that the operator set stops the start.
func (b *broker) endpoints() (eps []*endpoint, err error) {
	fits := int64(b.bus.Publisher().MaxPayload()) - busOverhead
	for i, c := range b.cfg.Endpoints {
		size := int64(c.Limits.MessageSize)
		if size > fits && b.cfg.MessageSizeSet(i) {
			return nil, b.cfg.Problem(fmt.Sprintf("endpoints[%d].limits.message_size", i),
				"%s does not fit into the NATS server's max_payload: want at most %d bytes", c.Limits.MessageSize, fits)
		}
		if size > fits {
			b.logger.Warn("messages are limited by the NATS server's max_payload",
				"endpoint", c.Path, "message_size", c.Limits.MessageSize.String(), "limit_bytes", fits)
		}
		ep := newEndpoint(c, b.engine, min(size, fits))
		ep.key, ep.log, ep.tenant = fmt.Sprintf("endpoints[%d]", i), b.logger, b.edge.tenants[c.Namespace]
		if ep.admitter, err = b.admitter(c.Admission); err != nil {
			return nil, fmt.Errorf("%s.admission: %w", ep.key, err)
		}
		ep.secrets = c.Admission.parameters()
		eps = append(eps, ep)
	}
	if slices.ContainsFunc(b.cfg.Endpoints, func(c Endpoint) bool { return c.Admission.Mode == admissionBackend }) {
		return eps, b.bus.ServeHandshakes(b.hub.Node())
	}
	return eps, nil
}

// maxPayloadChanged warns when a NATS server that we reconnected to takes less than our limits allow:
// a message that does not fit then closes its connection with 1009.
func (b *broker) maxPayloadChanged(max int) {
	for _, c := range b.cfg.Endpoints {
		if int64(c.Limits.MessageSize) > int64(max)-busOverhead {
			b.logger.Warn("the NATS server's max_payload is below an endpoint's message_size",
				"endpoint", c.Path, "message_size", c.Limits.MessageSize.String(), "max_payload", max)
		}
	}
}

// readyLine tells whoever started the broker where everything is.
type readyLine struct {
	Ready   bool     `json:"ready"`
	Node    string   `json:"node"`
	Listen  []string `json:"listen"`
	Control string   `json:"control"`
	Ops     string   `json:"ops"`
	NATS    string   `json:"nats"`
}

func (b *broker) writeReady(w io.Writer) error {
	line := readyLine{
		Ready: true, Node: string(b.hub.Node()), NATS: shownNATS(b.natsURL),
		Control: shownAddress(b.controlListener.Addr()), Ops: "http://" + shownAddress(b.opsListener.Addr()),
	}
	for i, l := range b.clientListeners {
		line.Listen = append(line.Listen, clientURL(l, b.cfg.Listen[i]))
	}
	return json.NewEncoder(w).Encode(line)
}

// shownNATS is the URL without secrets.
func shownNATS(urls string) string {
	shown := strings.Split(urls, ",")
	for i, raw := range shown {
		if u, err := url.Parse(strings.TrimSpace(raw)); err == nil && u.Host != "" {
			u.User = nil
			shown[i] = u.String()
		}
	}
	return strings.Join(shown, ",")
}
