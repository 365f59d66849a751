package app

import (
	"context"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-broker/holdfast/internal/admission"
	"github.com/holdfast-broker/holdfast/internal/hub"
	"github.com/holdfast-broker/holdfast/internal/ws"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// edge is the client port: WebSocket handshakes become connections, everything else is plain HTTP.
type edge struct {
	hub     *hub.Hub
	engine  *ws.Engine
	logger  *slog.Logger
	refused counters // by HTTP status
	enough  counters // those for which there was no room, by reason
	keptOut counters // those that an admitter refused, by reason
	gate    gate
	tenants map[string]*tenant // by namespace; those without limits are not among them
	held    held
	// namespaces are those of the endpoints, for the metrics.
	namespaces []string
	memory     *memory // nil: there is no budget

	// handshakes is held shared from the last look at draining until the hub knows the connection, so that a
	// drain closes every connection that was told 101. Nobody waits for an Admitter under it.
	handshakes sync.RWMutex
	stopping   context.Context // ended by drain
	stop       context.CancelFunc
	bestEffort bool // accepts while opens cannot be recorded
}

func newEdge(h *hub.Hub, engine *ws.Engine, logger *slog.Logger, c *Config) *edge {
	e := &edge{
		hub: h, engine: engine, logger: logger, gate: gate{
			most: c.Clients.Connections, perSecond: c.Clients.NewConnections, full: brokerFull, hasty: brokerHasty,
			clients: addresses(c.Clients.ConnectionsPerIP, c.Clients.NewConnectionsPerIP),
		},
		bestEffort: c.OneClose == oneCloseBestEffort, namespaces: c.usedNamespaces(),
	}
	e.gate.clients.quota = e.quotas(c.Clients.MessagesPerIP, c.Clients.BytesPerIP, &e.held.ip)
	e.tenants = e.tenantsOf(c.Namespaces)
	e.stopping, e.stop = context.WithCancel(context.Background())
	return e
}

// drain refuses all further handshakes, also those that are being admitted; the others under way are
// connections when it returns.
func (e *edge) drain() {
	e.handshakes.Lock()
	defer e.handshakes.Unlock()
	e.stop()
}

// closed says why no handshake is accepted at present, or nothing.
func (e *edge) closed() *enough {
	switch {
	case e.stopping.Err() != nil:
		return brokerStops
	case !e.bestEffort && e.hub.Frozen():
		return busAway
	case e.memory.isShort():
		return memoryShort
	}
	return nil
}

// endpoint is one configured path, prepared for its connections.
type endpoint struct {
	key      string // of its settings: "endpoints[0]"
	log      *slog.Logger
	gate     gate
	tenant   *tenant // nil: its namespace has no limits
	accept   ws.AcceptOptions
	admitter admission.Admitter // nil: everybody may connect
	socket   *ws.Config
	hub      *hub.Endpoint
	keep     []string // canonical header names, sorted
	secrets  []string // parameters of the query that carry tokens, besides the usual ones

	foreigners seldom // lines of the log about origins that are not allowed
	keptOut    seldom // and about clients that were not admitted
}

// handler routes the endpoints' paths; pages, if not nil, answers plain requests for "/".
func (e *edge) handler(endpoints []*endpoint, pages http.Handler) http.Handler {
	mux := http.NewServeMux()
	for _, ep := range endpoints {
		mux.Handle(exactPattern(ep.hub.Path), e.serve(ep, pages))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if pages != nil && !wantsUpgrade(r) {
			pages.ServeHTTP(w, r)
			return
		}
		e.refuse(w, &wire.Refusal{Status: http.StatusNotFound, Text: "no endpoint has this path"})
	})
	return e.withPath(mux)
}

// withPath gives next only targets that have a path: "http://host" is "http://host/" (RFC 9110 4.2.3). A ServeMux
// would redirect there, which WebSocket clients do not follow.
func (e *edge) withPath(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Opaque != "": // "GET host:80", which is for CONNECT alone (RFC 9112 3.2.3)
			e.refuse(w, &wire.Refusal{Status: http.StatusBadRequest, Text: "request target is neither a path nor a URL"})
			return
		case r.URL.Path == "":
			r = r.Clone(r.Context())
			r.URL.Path = "/"
		}
		next.ServeHTTP(w, r)
	})
}

// exactPattern makes a path that ends in "/" match itself alone, not the whole tree below it.
func exactPattern(path string) string {
	if strings.HasSuffix(path, "/") {
		return path + "{$}"
	}
	return path
}

func wantsUpgrade(r *http.Request) bool { return r.Header.Get("Upgrade") != "" }

func (e *edge) serve(ep *endpoint, pages http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if pages != nil && r.URL.Path == "/" && !wantsUpgrade(r) {
			pages.ServeHTTP(w, r)
			return
		}
		accepted, refusal := ws.Check(r, ep.accept)
		if refusal != nil {
			if refusal.Status == http.StatusForbidden {
				ep.foreign(e.logger, r)
			}
			e.refuse(w, refusal)
			return
		}
		if full := e.closed(); full != nil {
			e.turnAway(w, full)
			return
		}
		p, full := e.enter(ep, r.RemoteAddr)
		if full != nil {
			e.turnAway(w, full)
			return
		}
		if !e.receive(w, r, ep, accepted, p) {
			p.leave()
		}
	})
}

// receive makes a connection of a handshake that is acceptable, if its client is admitted; it leaves its place when it
// ends. It answers whether it did.
func (e *edge) receive(w http.ResponseWriter, r *http.Request, ep *endpoint, a ws.Accepted, p *place) bool {
	pending := e.hub.Expect(ep.hub)
	defer pending.End()
	var identity *hub.Identity
	facts := ep.facts(r, a)
	if ep.admitter != nil {
		if !pending.Announce() {
			e.turnAway(w, admissionsFull)
			return false
		}
		grant := e.admit(w, ep, &admission.Request{
			HTTP: r, ID: pending.ID(), Endpoint: ep.hub, Facts: facts, Offers: a.Offers,
		})
		if grant == nil {
			return false
		}
		if grant.Subprotocol != nil {
			a.Subprotocol = *grant.Subprotocol
			facts.Subprotocol = a.Subprotocol
		}
		a.Header, identity = grant.Header, grant.Identity
	}
	if full := p.admit(identity.User()); full != nil {
		e.turnAway(w, full)
		return false
	}
	e.handshakes.RLock()
	defer e.handshakes.RUnlock()
	if full := e.closed(); full != nil {
		e.turnAway(w, full)
		return false
	}
	return e.connect(w, ep, a, &arrival{pending, facts, identity, p})
}

// turnAway refuses a handshake that would be accepted at another time.
func (e *edge) turnAway(w http.ResponseWriter, full *enough) {
	e.enough.add(full.reason)
	e.refuse(w, full.refusal)
}

func (e *edge) refuse(w http.ResponseWriter, r *wire.Refusal) {
	e.refused.add(strconv.Itoa(r.Status))
	answer(w, r)
}

// answer tells a client that its handshake is refused.
func answer(w http.ResponseWriter, r *wire.Refusal) {
	for _, h := range r.Header {
		w.Header().Set(h[0], h[1])
	}
	// The client may have sent frames behind a handshake that failed: nothing of it is HTTP.
	w.Header().Set("Connection", connectionHeader(r))
	http.Error(w, r.Text, r.Status)
}

func connectionHeader(r *wire.Refusal) string {
	for _, h := range r.Header {
		if h[0] == "Connection" {
			return h[1] + ", close"
		}
	}
	return "close"
}

// arrival is what becomes a connection with the 101.
type arrival struct {
	pending  *hub.Pending
	facts    *hub.Facts
	identity *hub.Identity // nil: nothing is known
	place    *place        // to be left at the end
}

// connect turns an accepted handshake into a connection. It answers whether it did.
func (e *edge) connect(w http.ResponseWriter, ep *endpoint, a ws.Accepted, who *arrival) bool {
	conn, err := e.engine.Upgrade(w, a, ep.socket)
	if err != nil {
		e.refused.add("transport")
		return false
	}
	who.facts.Extensions = conn.Extensions()
	s := &socket{ws: conn, at: ep, place: who.place}
	who.place.hold(conn)
	var hold ws.Hold
	if ep.hub.StartPaused {
		hold = ws.HoldPaused
		conn.Hold(hold)
	}
	if s.conn, err = who.pending.Open(who.facts, who.identity, s); err != nil {
		conn.Terminate(uint8(hub.CauseNodeDrain))
		e.refused.add("stopping")
		return false
	}
	if s.conn.Recording() { // nothing is read before the open event is out
		hold |= ws.HoldOpening
	}
	conn.Start(s, hold)
	if hold&ws.HoldOpening != 0 && !s.conn.Recording() {
		conn.Release(ws.HoldOpening) // it came between the two
	}
	return true
}

// newEndpoint prepares a configured endpoint. messageSize is what the bus allows.
func newEndpoint(c Endpoint, engine *ws.Engine, messageSize int64) *endpoint {
	heartbeat := time.Duration(c.Heartbeat.Interval)
	if heartbeat == 0 {
		heartbeat = -1
	}
	ep := &endpoint{
		gate: gate{
			most: c.Limits.Connections, perSecond: c.Limits.NewConnections, full: endpointFull, hasty: endpointHasty,
			clients: addresses(c.Limits.ConnectionsPerIP, c.Limits.NewConnectionsPerIP),
		},
		accept: ws.AcceptOptions{
			Subprotocols: c.Subprotocols, SubprotocolRequired: c.SubprotocolRequired, Origins: c.Origins,
		},
		hub: &hub.Endpoint{
			Path: c.Path, Namespace: c.Namespace,
			PingEvents: slices.Contains(c.Events, "ping"), PongEvents: slices.Contains(c.Events, "pong"),
			EventAttributes: c.EventAttributes,
			MaxPause:        time.Duration(c.Limits.MaxPause), StartPaused: c.StartPaused,
		},
		socket: engine.Prepare(ws.Config{
			MessageSize: messageSize, FrameSize: int64(c.Limits.FrameSize), Fragments: c.Limits.Fragments,
			SendQueueBytes: int(c.Limits.SendQueue), SendQueueMessages: c.Limits.SendQueueMessages,
			SendQueuePolicy:   queuePolicies[c.Limits.SendQueuePolicy],
			HeartbeatInterval: heartbeat, HeartbeatTimeout: time.Duration(c.Heartbeat.Timeout),
			CloseTimeout: time.Duration(c.Limits.CloseTimeout),
			Compression:  c.Compression.socket(),
			IdleTimeout:  time.Duration(c.Limits.IdleTimeout), Lifetime: time.Duration(c.Limits.MaxLifetime),
			Rates: ws.Rates{
				Messages: c.Rates.Messages, Bytes: int64(c.Rates.Bytes), ControlFrames: c.Rates.ControlFrames,
				Policy: ratePolicies[c.Rates.Policy],
			},
		}),
	}
	for _, name := range c.KeepHeaders {
		ep.keep = append(ep.keep, http.CanonicalHeaderKey(name))
	}
	slices.Sort(ep.keep)
	ep.keep = slices.Compact(ep.keep)
	return ep
}

var queuePolicies = map[string]ws.QueuePolicy{
	"reject": ws.QueueReject, "close": ws.QueueClose, "drop_oldest": ws.QueueDropOldest,
}

var ratePolicies = map[string]ws.RatePolicy{"wait": ws.RateWait, "close": ws.RateClose}

// counters count by a label.
type counters struct {
	mu sync.Mutex
	n  map[string]uint64
}

// add counts one, and answers how many there have been.
func (c *counters) add(label string) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = make(map[string]uint64)
	}
	c.n[label]++
	return c.n[label]
}

func (c *counters) all() map[string]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make(map[string]uint64, len(c.n))
	maps.Copy(out, c.n)
	return out
}
