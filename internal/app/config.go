package app

import (
	"fmt"
	"time"

	"github.com/holdfast-broker/holdfast/internal/ws/deflate"
)

// Config is everything an operator can set. Default gives the defaults, Load adds what the operator
// said, Validate finds contradictions.
//
// The tags are the one table of settings behind the configuration file (yaml), the flags (name) and the
// variables, which are HOLDFAST_ and the flag's name in capitals. What has no flag stands only in the
// file, what has no key ("-") never does. Help and group are what --help says. What is marked as a secret is
// never shown: not in an error, not by Show.
type Config struct {
	Listen  []Listener `yaml:"listen" name:"listen" group:"clients" placeholder:"ADDRESS" help:"WebSocket and HTTP clients: \"host:port\", \":port\" or \"unix:/path\"; repeatable. TLS: \":8443?cert=FILE&key=FILE\", with \"&client_ca=FILE\" to verify client certificates. Who may use a socket: \"unix:/path?mode=0660\". Behind a load balancer: \":8080?proxy_protocol=required\"."`
	Clients Clients    `yaml:"clients" embed:""`
	Control Control    `yaml:"control" embed:""`
	Ops     Ops        `yaml:"ops" embed:""`
	NATS    NATS       `yaml:"nats" embed:""`
	Cluster Cluster    `yaml:"cluster" embed:""`
	DataDir string     `yaml:"data_dir" name:"data-dir" group:"nats" placeholder:"DIR" help:"Where the embedded server keeps its files. One broker at a time."`
	Drain   Drain      `yaml:"drain" embed:""`
	Lease   Lease      `yaml:"lease" embed:""`
	// OneClose says what happens while the life record cannot be written: required or best_effort.
	OneClose string `yaml:"one_close" name:"one-close" group:"life" placeholder:"POLICY" help:"New connections while the life record cannot be written: required refuses them with 503, best_effort accepts them."`
	Memory   Memory `yaml:"memory" embed:""`
	Log      Log    `yaml:"log" embed:""`
	// Namespaces are those with limits.
	Namespaces []Namespace `yaml:"namespaces,omitempty" kong:"-"`
	Endpoints  []Endpoint  `yaml:"endpoints" kong:"-"`
	// Demo serves the demo page and its backend.
	Demo bool `yaml:"-" name:"demo" group:"clients" help:"Serve a page to try the broker with, at \"/\", and the small backend behind it."`

	origins origins
}

// Listener is an address for clients: "host:port", ":port" or "unix:/path".
type Listener struct {
	Address string `yaml:"address"`
	// Mode of the file of a Unix socket. 0: as the umask says.
	Mode FileMode `yaml:"mode,omitempty"`
	TLS  *TLS     `yaml:"tls,omitempty"`
	// ProxyProtocol: trusted proxies begin connections with a PROXY header: optional or required. Empty: nobody does.
	ProxyProtocol string `yaml:"proxy_protocol,omitempty"`
}

// Clients is what all client listeners and endpoints have in common.
type Clients struct {
	// Connections is how many WebSockets there may be at once. 0: no limit.
	Connections int `yaml:"connections" name:"clients-connections" group:"clients" placeholder:"NUMBER" help:"WebSockets open at once, of all endpoints; 0: no limit."`
	// ConnectionsPerIP, NewConnections in a second, and NewConnectionsPerIP: of all endpoints. 0: no limit.
	ConnectionsPerIP    int `yaml:"connections_per_ip" name:"clients-connections-per-ip" group:"clients" placeholder:"NUMBER" help:"WebSockets open at once from one IPv4 address or one IPv6 /64; 0: no limit."`
	NewConnections      int `yaml:"new_connections" name:"clients-new-connections" group:"clients" placeholder:"NUMBER" help:"New WebSockets in a second, of all endpoints; 0: no limit."`
	NewConnectionsPerIP int `yaml:"new_connections_per_ip" name:"clients-new-connections-per-ip" group:"clients" placeholder:"NUMBER" help:"New WebSockets in a second from one IPv4 address or one IPv6 /64; 0: no limit."`
	// MessagesPerIP and BytesPerIP in a second, of all connections of an address together. 0: no limit.
	MessagesPerIP int  `yaml:"messages_per_ip" name:"clients-messages-per-ip" group:"clients" placeholder:"NUMBER" help:"Messages in a second from one IPv4 address or one IPv6 /64, of all its WebSockets; 0: no limit."`
	BytesPerIP    Size `yaml:"bytes_per_ip" name:"clients-bytes-per-ip" group:"clients" placeholder:"SIZE" help:"Bytes in a second from it, headers of frames included; 0B: no limit."`
	// Handshakes is how many connections there may be at once that are no WebSockets, or none yet. 0: no limit.
	Handshakes int `yaml:"handshakes" name:"clients-handshakes" group:"clients" placeholder:"NUMBER" help:"Handshakes and plain HTTP connections under way at once; 0: no limit."`
	// HandshakeTimeout bounds the TLS handshake, and then the HTTP request.
	HandshakeTimeout Duration `yaml:"handshake_timeout" name:"clients-handshake-timeout" group:"clients" placeholder:"TIME" help:"Time for a TLS handshake, and then for a whole HTTP request."`
	// TrustedProxies are networks whose word about the addresses of clients is believed.
	TrustedProxies []string `yaml:"trusted_proxies,omitempty" name:"clients-trusted-proxies" group:"clients" placeholder:"NETWORK" help:"Networks of proxies that are believed about the addresses of clients, such as 10.0.0.0/8, or unix for whoever uses a Unix socket; repeatable."`
	// ProxyHeader is where HTTP proxies say it. Empty: nowhere.
	ProxyHeader string `yaml:"proxy_header" name:"clients-proxy-header" group:"clients" placeholder:"HEADER" help:"Header in which they name the client: X-Forwarded-For or one of that form, or Forwarded."`
	// CompressionMemory bounds what compression takes; what does not fit goes uncompressed.
	CompressionMemory Size `yaml:"compression_memory" name:"clients-compression-memory" group:"clients" placeholder:"SIZE" help:"Memory for compression, of all connections together; what does not fit goes uncompressed."`
	// Driver of plain sockets.
	Driver string `yaml:"driver" name:"driver" group:"clients" placeholder:"DRIVER" help:"How plain sockets are waited for: epoll, or portable: with a goroutine for each, as TLS and systems other than Linux always do."`
}

// TLS makes a listener speak wss:// and https://.
type TLS struct {
	// Cert and Key are PEM files.
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
	// ClientCA is a PEM file; certificates that clients present are verified against it. Empty: none
	// is asked for.
	ClientCA string `yaml:"client_ca,omitempty"`
}

// Ops is the operations port.
type Ops struct {
	Listen string `yaml:"listen" name:"ops-listen" group:"ports" placeholder:"ADDRESS" help:"Operations: /healthz, /readyz, /metrics, /version."`
	// Insecure allows an address beyond loopback.
	Insecure bool `yaml:"-" name:"insecure-ops" group:"ports" help:"Allow an operations address beyond loopback, although requests are not authenticated."`
}

// Drain is the orderly stop.
type Drain struct {
	// Timeout bounds the closing of connections; what is left then is ended at once.
	Timeout Duration `yaml:"timeout" name:"drain-timeout" group:"stop" placeholder:"TIME" help:"Time to close all connections in order; what is left then is ended at once."`
	// Delay is how long the broker is "not ready" before it closes connections, for load balancers.
	Delay Duration `yaml:"delay" name:"drain-delay" group:"stop" placeholder:"TIME" help:"Time to be \"not ready\" before connections are closed, for load balancers to notice."`
}

// Lease says how long a node may be silent before others publish the closes of its connections.
type Lease struct {
	// Duration is the same on every node of a broker.
	Duration Duration `yaml:"duration" name:"lease-duration" group:"life" placeholder:"TIME" help:"How long a node may not write its life record before others hold it dead. The same on every node."`
	Renew    Duration `yaml:"renew" name:"lease-renew" group:"life" placeholder:"TIME" help:"How often an idle node writes it."`
	// DropAfter bounds how long a frozen node keeps its clients, if there are other nodes.
	DropAfter Duration `yaml:"drop_after" name:"lease-drop-after" group:"life" placeholder:"TIME" help:"How long a node that cannot write it keeps its clients, if there are other nodes."`
}

// renew is Renew, or less when only the lease is shorter than usual.
func (l Lease) renew() time.Duration {
	const often = 5
	return min(time.Duration(l.Renew), time.Duration(l.Duration)/often)
}

// The values of OneClose.
const (
	oneCloseRequired   = "required"
	oneCloseBestEffort = "best_effort"
)

// Memory is what the process may take.
type Memory struct {
	// Budget of the Go heap and what belongs to it. 0: none.
	Budget MemoryBudget `yaml:"budget" name:"memory-budget" group:"clients" placeholder:"SIZE" help:"Memory of the process: over it handshakes are refused, and the connections that hold most are closed. auto: GOMEMLIMIT, or four fifths of what the system gives the process; 0B: no budget."`
}

// Log is what goes to stderr.
type Log struct {
	Level  Level  `yaml:"level" name:"log-level" group:"log" placeholder:"LEVEL" help:"debug, info, warn or error."`
	Format string `yaml:"format" name:"log-format" group:"log" placeholder:"FORMAT" help:"text or json."`
}

// Endpoint is a path that accepts WebSockets.
type Endpoint struct {
	Path         string   `yaml:"path"` // "/chat" or "/ws/{room}"
	Namespace    string   `yaml:"namespace"`
	Subprotocols []string `yaml:"subprotocols"` // in order of preference
	// SubprotocolRequired refuses clients that offer none of Subprotocols.
	SubprotocolRequired bool        `yaml:"subprotocol_required"`
	Origins             []string    `yaml:"origins"` // see ws.AcceptOptions
	Admission           Admission   `yaml:"admission"`
	Compression         Compression `yaml:"compression"`
	Heartbeat           Heartbeat   `yaml:"heartbeat"`
	Limits              Limits      `yaml:"limits"`
	Rates               Rates       `yaml:"rates"`
	Events              []string    `yaml:"events"`
	EventAttributes     []string    `yaml:"event_attributes"` // Holdfast-Attr-<name> of message events
	KeepHeaders         []string    `yaml:"keep_headers"`     // headers of the handshake that backends see
	StartPaused         bool        `yaml:"start_paused"`
}

// Heartbeat is the regular ping.
type Heartbeat struct {
	Interval Duration `yaml:"interval"` // 0s: none
	Timeout  Duration `yaml:"timeout"`  // also how long a receipt is waited for
}

// Limits of one connection, and of how many there are.
type Limits struct {
	MessageSize         Size     `yaml:"message_size"`
	FrameSize           Size     `yaml:"frame_size"` // on the wire; 0B: as large as a message
	Fragments           int      `yaml:"fragments"`  // of one message
	SendQueue           Size     `yaml:"send_queue"`
	SendQueueMessages   int      `yaml:"send_queue_messages"`
	SendQueuePolicy     string   `yaml:"send_queue_policy"` // reject, close or drop_oldest
	MaxPause            Duration `yaml:"max_pause"`
	CloseTimeout        Duration `yaml:"close_timeout"`
	IdleTimeout         Duration `yaml:"idle_timeout"`           // without a message; 0s: none
	MaxLifetime         Duration `yaml:"max_lifetime"`           // 0s: none
	Connections         int      `yaml:"connections"`            // of the endpoint; 0: no limit
	ConnectionsPerIP    int      `yaml:"connections_per_ip"`     // 0: no limit
	NewConnections      int      `yaml:"new_connections"`        // in a second; 0: no limit
	NewConnectionsPerIP int      `yaml:"new_connections_per_ip"` // in a second; 0: no limit
}

// Rates are what one client may send in a second; 0: no limit.
type Rates struct {
	Messages      int    `yaml:"messages"`
	Bytes         Size   `yaml:"bytes"`
	ControlFrames int    `yaml:"control_frames"`
	Policy        string `yaml:"policy"` // wait or close
}

// Default is the configuration of a broker that was told nothing.
func Default() Config {
	return Config{
		Listen:    []Listener{{Address: ":8080"}},
		Clients:   Clients{Handshakes: 10_000, HandshakeTimeout: 10 * Second, ProxyHeader: "X-Forwarded-For", CompressionMemory: deflate.DefaultCeiling, Driver: "epoll"},
		Control:   Control{Listen: "127.0.0.1:7400", Connections: 1000},
		Ops:       Ops{Listen: "127.0.0.1:7401"},
		NATS:      NATS{Listen: "127.0.0.1:4222", Outbox: 8 * MiB},
		Cluster:   Cluster{Listen: defaultClusterListen},
		DataDir:   "./holdfast-data",
		Drain:     Drain{Timeout: 25 * Second},
		Lease:     Lease{Duration: 10 * Second, Renew: 2 * Second, DropAfter: Minute},
		OneClose:  oneCloseRequired,
		Memory:    Memory{Budget: autoBudget},
		Log:       Log{Format: "text"},
		Endpoints: []Endpoint{DefaultEndpoint()},
	}
}

// DefaultEndpoint is the endpoint of a file that names none, and what one leaves out.
func DefaultEndpoint() Endpoint {
	return Endpoint{
		Path:         "/",
		Namespace:    "default",
		Subprotocols: []string{},
		Origins:      []string{"same-origin"},
		Admission:    defaultAdmission(),
		Compression:  defaultCompression(),
		Heartbeat:    Heartbeat{Interval: 30 * Second, Timeout: 10 * Second},
		Limits: Limits{
			MessageSize: MiB, Fragments: 65536,
			SendQueue: MiB, SendQueueMessages: 4096, SendQueuePolicy: "reject",
			MaxPause: 10 * Minute, CloseTimeout: 30 * Second,
		},
		Rates:           Rates{ControlFrames: 1000, Policy: "wait"},
		Events:          []string{"open", "message", "close"},
		EventAttributes: []string{},
		KeepHeaders:     []string{"User-Agent"},
	}
}

// MessageSizeSet reports whether the operator set the message size of an endpoint, so that a smaller
// effective limit is an error and not merely a default that does not fit.
func (c Config) MessageSizeSet(endpoint int) bool {
	_, set := c.origins[fmt.Sprintf("endpoints[%d].limits.message_size", endpoint)]
	return set
}
