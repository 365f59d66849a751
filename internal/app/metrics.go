package app

import (
	"path"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/holdfast-broker/holdfast/internal/bus"
	"github.com/holdfast-broker/holdfast/internal/hub"
	"github.com/holdfast-broker/holdfast/internal/jwt"
	"github.com/holdfast-broker/holdfast/internal/proxy"
	"github.com/holdfast-broker/holdfast/internal/rpc"
	"github.com/holdfast-broker/holdfast/internal/ws"
	"github.com/holdfast-broker/holdfast/internal/ws/deflate"
)

// metric is one family: how it is described and where its samples come from. Everything is read when
// it is scraped; nothing is counted twice, and messages pay nothing for it.
type metric struct {
	desc   *prometheus.Desc
	kind   prometheus.ValueType
	sample func(s *snapshot, emit func(v float64, labels ...string))
}

// snapshot is what one scrape reads.
type snapshot struct {
	hub hub.Stats
	// namespaces are those of the endpoints
	namespaces []string
	bus        bus.Stats
	calls      map[rpc.MethodCode]uint64
	served     uint64            // for other nodes
	refused    map[string]uint64 // by status
	enough     map[string]uint64 // by reason
	keptOut    map[string]uint64 // by reason
	panics     uint64
	// connections to the control API that were over the limit
	notControlled uint64
	// times that callers were over their rates
	overCalls uint64
	asked     map[string]rpc.Asked // by identity

	overRate   map[string]uint64 // by whose limit it was
	tlsReloads map[string]uint64 // by result
	notProxied map[string]uint64 // by reason

	tokensRefused map[string]uint64 // by reason
	remoteKeys    []jwt.Status

	memory struct {
		budget, used int64 // bytes
		shed         uint64
	}

	compression  int64 // bytes
	uncompressed deflate.Refused
}

type collector struct {
	take func() snapshot
}

func newMetrics(take func() snapshot) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		&collector{take}, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return r
}

func snapshotOf(h *hub.Hub, b *bus.Bus, s *rpc.Server, e *edge, engine *ws.Engine) snapshot {
	return snapshot{
		hub: h.Stats(), namespaces: e.namespaces, bus: b.Stats(), calls: s.Calls(), served: s.Served(), refused: e.refused.all(),
		enough: e.enough.all(), keptOut: e.keptOut.all(), overRate: e.held.byLimit(engine.OverRate()),
		panics: s.Panics() + engine.Panics(), notControlled: s.RefusedConnections(), overCalls: s.OverRate(), asked: s.Asked(),
		compression: engine.CompressionMemory(), uncompressed: engine.Uncompressed(),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range metrics {
		ch <- m.desc
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s := c.take()
	for _, m := range metrics {
		m.sample(&s, func(v float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(m.desc, m.kind, v, labels...)
		})
	}
}

func counter(name, help string, sample func(*snapshot, func(float64, ...string)), labels ...string) metric {
	return metric{prometheus.NewDesc("holdfast_"+name, help, labels, nil), prometheus.CounterValue, sample}
}

func gauge(name, help string, sample func(*snapshot, func(float64, ...string)), labels ...string) metric {
	return metric{prometheus.NewDesc("holdfast_"+name, help, labels, nil), prometheus.GaugeValue, sample}
}

// one is the sample of a family without labels.
func one[T int | uint64](value func(*snapshot) T) func(*snapshot, func(float64, ...string)) {
	return func(s *snapshot, emit func(float64, ...string)) { emit(float64(value(s))) }
}

// each is the sample of a family with one label.
func each[K comparable](values func(*snapshot) map[K]uint64, label func(K) string) func(*snapshot, func(float64, ...string)) {
	return func(s *snapshot, emit func(float64, ...string)) {
		for k, v := range values(s) {
			emit(float64(v), label(k))
		}
	}
}

func plain(s string) string { return s }

// those is the sample of a family whose labels are known, so that what never happened is seen as 0.
func those(labels []string, values func(*snapshot) map[string]uint64) func(*snapshot, func(float64, ...string)) {
	return func(s *snapshot, emit func(float64, ...string)) {
		all := values(s)
		for _, label := range labels {
			emit(float64(all[label]), label)
		}
	}
}

// ofNamespaces is the sample of a family with a label for the namespace.
func ofNamespaces(value func(*hub.NamespaceStats) uint64) func(*snapshot, func(float64, ...string)) {
	return func(s *snapshot, emit func(float64, ...string)) {
		for _, name := range s.namespaces {
			n := s.hub.Namespaces[name]
			if n == nil { // it has not had a connection
				n = new(hub.NamespaceStats)
			}
			emit(float64(value(n)), name)
		}
	}
}

func oneIf(b bool) int {
	if b {
		return 1
	}
	return 0
}

// metrics is the table of all families of our own.
var metrics = slices.Concat(clientMetrics, tokenMetrics, busMetrics, nodeMetrics, lifeMetrics)

var clientMetrics = []metric{
	gauge("connections", "Client connections open now.",
		one(func(s *snapshot) uint64 { return s.hub.Connections })),
	gauge("connections_paused", "Of those, kept from being read by a backend's Pause.",
		one(func(s *snapshot) uint64 { return s.hub.Paused })),
	counter("connections_opened_total", "Handshakes accepted.",
		one(func(s *snapshot) uint64 { return s.hub.Opened })),
	counter("connections_closed_total", "Connections ended, by cause.",
		each(func(s *snapshot) map[hub.Cause]uint64 { return s.hub.Causes }, hub.Cause.String), "cause"),
	counter("protocol_faults_total", "Connections ended because the client broke the protocol, by fault.",
		each(func(s *snapshot) map[string]uint64 { return s.hub.Faults }, plain), "fault"),
	counter("handshakes_refused_total", "Handshakes refused, by HTTP status.",
		each(func(s *snapshot) map[string]uint64 { return s.refused }, plain), "status"),
	counter("connections_refused_total", "Of those, the ones for which there was no room, by reason.",
		each(func(s *snapshot) map[string]uint64 { return s.enough }, plain), "reason"),
	counter("admission_refused_total", "Of those, the ones that admission refused, by reason.",
		each(func(s *snapshot) map[string]uint64 { return s.keptOut }, plain), "reason"),
	counter("proxy_refused_total", "Connections refused because of a missing or wrong PROXY header, by reason.",
		those(proxy.Reasons, func(s *snapshot) map[string]uint64 { return s.notProxied }), "reason"),
	counter("connections_over_rate_total", "Times a client sent more than it may by itself, or together with others; it was not read for a while, or closed.",
		each(func(s *snapshot) map[string]uint64 { return s.overRate }, plain), "limit"),
	gauge("namespace_connections", "Client connections open now, by namespace.",
		ofNamespaces(func(n *hub.NamespaceStats) uint64 { return n.Connections }), "namespace"),
	counter("namespace_messages_received_total", "Messages of clients that were published, by namespace.",
		ofNamespaces(func(n *hub.NamespaceStats) uint64 { return n.Traffic.MessagesIn }), "namespace"),
	counter("namespace_received_bytes_total", "Their payload.",
		ofNamespaces(func(n *hub.NamespaceStats) uint64 { return n.Traffic.BytesIn }), "namespace"),
	counter("tls_reloads_total", "Times changed TLS files were read again, by result.",
		each(func(s *snapshot) map[string]uint64 { return s.tlsReloads }, plain), "result"),
	gauge("memory_budget_bytes", "Memory that the process may take; 0: no budget.",
		func(s *snapshot, emit func(float64, ...string)) { emit(float64(s.memory.budget)) }),
	gauge("memory_used_bytes", "Memory that counts against the budget.",
		func(s *snapshot, emit func(float64, ...string)) { emit(float64(s.memory.used)) }),
	counter("memory_shed_total", "Connections closed because the process was over its memory budget.",
		one(func(s *snapshot) uint64 { return s.memory.shed })),
	gauge("compression_memory_bytes", "Memory that compression takes now.",
		func(s *snapshot, emit func(float64, ...string)) { emit(float64(s.compression)) }),
	counter("uncompressed_total", "Connections and messages that went uncompressed because the memory for compression was used up.",
		func(s *snapshot, emit func(float64, ...string)) {
			emit(float64(s.uncompressed.Connections), "connection")
			emit(float64(s.uncompressed.Messages), "message")
		}, "what"),
	counter("messages_received_total", "Messages of clients that were published.",
		one(func(s *snapshot) uint64 { return s.hub.Traffic.MessagesIn })),
	counter("received_bytes_total", "Their payload.",
		one(func(s *snapshot) uint64 { return s.hub.Traffic.BytesIn })),
	counter("messages_sent_total", "Messages written to clients.",
		one(func(s *snapshot) uint64 { return s.hub.Traffic.MessagesOut })),
	counter("sent_bytes_total", "Their payload.",
		one(func(s *snapshot) uint64 { return s.hub.Traffic.BytesOut })),
	gauge("send_queue_bytes", "Payload in the send queues of all connections.",
		one(func(s *snapshot) uint64 { return s.hub.Buffered })),
	gauge("watches", "Watch streams open now.",
		one(func(s *snapshot) uint64 { return s.hub.Watches })),
	counter("watches_lagged_total", "Watch streams ended because they did not read.",
		one(func(s *snapshot) uint64 { return s.hub.Lagged })),
	counter("control_calls_total", "Calls of the control API, by method and status code.",
		func(s *snapshot, emit func(float64, ...string)) {
			for k, n := range s.calls {
				emit(float64(n), path.Base(k.Method), k.Code.String())
			}
		}, "method", "code"),
	counter("control_calls_served_total", "Calls that clients made at other nodes and this node served.",
		one(func(s *snapshot) uint64 { return s.served })),
	counter("control_over_rate_total", "Times a caller was over its rates; a call was refused, or a stream not read for a while.",
		one(func(s *snapshot) uint64 { return s.overCalls })),
	counter("control_identity_calls_total", "Calls of the control API by who made them, each send of a batch counted.",
		func(s *snapshot, emit func(float64, ...string)) {
			for identity, n := range s.asked {
				emit(float64(n.Calls), identity)
			}
		}, "identity"),
	counter("control_identity_refused_total", "Of those, the calls that were refused for want of a permission or because of rates.",
		func(s *snapshot, emit func(float64, ...string)) {
			for identity, n := range s.asked {
				emit(float64(n.Denied), identity, hub.PermissionDenied.String())
				emit(float64(n.Limited), identity, hub.RateLimited.String())
			}
		}, "identity", "reason"),
	counter("control_connections_refused_total", "Connections to the control API that were over the limit.",
		one(func(s *snapshot) uint64 { return s.notControlled })),
	counter("panics_total", "Defects that were caught; each ended one call or one connection.",
		one(func(s *snapshot) uint64 { return s.panics })),
}

var busMetrics = []metric{
	gauge("bus_connected", "1 while all connections to NATS stand.",
		one(func(s *snapshot) int {
			return oneIf(s.bus.Publisher.Connected && s.bus.Inbound.Connected && s.bus.Peers.Connected)
		})),
	gauge("outbox_bytes", "Events that the NATS server has not confirmed.",
		one(func(s *snapshot) int { return s.bus.Publisher.OutboxBytes })),
	gauge("outbox_waiting_connections", "Connections that are not read because the outbox is full.",
		one(func(s *snapshot) int { return s.bus.Publisher.Waiting })),
	counter("events_published_total", "Events published to NATS, each once.",
		one(func(s *snapshot) uint64 { return s.bus.Publisher.Published })),
	counter("events_republished_total", "Events published again after a lost connection to NATS.",
		one(func(s *snapshot) uint64 { return s.bus.Publisher.Republished })),
	counter("outbox_full_total", "Events held back because the outbox was full.",
		one(func(s *snapshot) uint64 { return s.bus.Publisher.Refused })),
	counter("events_unsendable_total", "Messages that did not fit into the NATS server's max_payload.",
		one(func(s *snapshot) uint64 { return s.bus.Publisher.Unsendable })),
	counter("bus_denied_total", "Permission errors of the NATS server.",
		one(func(s *snapshot) uint64 {
			return s.bus.Publisher.Denied + s.bus.Inbound.Denied + s.bus.Peers.Denied + s.bus.Life.Denied
		})),
	counter("bus_reconnects_total", "Lost and remade connections to NATS.",
		one(func(s *snapshot) uint64 {
			return s.bus.Publisher.Reconnects + s.bus.Inbound.Reconnects + s.bus.Peers.Reconnects
		})),
	counter("replies_delivered_total", "NATS replies that a connection took.",
		one(func(s *snapshot) uint64 { return s.bus.Inbound.Delivered })),
	counter("replies_refused_total", "NATS replies that were refused, by reason.",
		each(func(s *snapshot) map[hub.Reason]uint64 { return s.bus.Inbound.Refused }, hub.Reason.String), "reason"),
	gauge("handshakes_asking", "Handshakes that wait for a backend's answer now.",
		one(func(s *snapshot) int { return s.bus.Handshakes.Asking })),
	gauge("admission_waiting_calls", "Calls and replies that wait for a client to be admitted.",
		one(func(s *snapshot) uint64 { return s.hub.Waiting })),
	counter("handshake_answers_dropped_total", "Replies to handshakes that were not used: late, because the handshake did not wait any more, or stray, because they were no answers.",
		func(s *snapshot, emit func(float64, ...string)) {
			emit(float64(s.bus.Handshakes.Late), "late")
			emit(float64(s.bus.Handshakes.Strays), "stray")
		}, "why"),
	counter("replies_slow_consumer_total", "Times replies came faster than they could be taken; some were lost.",
		one(func(s *snapshot) uint64 { return s.bus.Inbound.SlowConsumer })),
	counter("jetstream_acks_dropped_total", "JetStream acknowledgements that arrived as replies.",
		one(func(s *snapshot) uint64 { return s.bus.Inbound.Acks })),
}
