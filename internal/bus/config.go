package bus

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

// Defaults of Config.
const (
	DefaultOutboxSize     = 8 << 20
	DefaultConnectTimeout = 5 * time.Second
	DefaultStaleAfter     = 5 * time.Second
)

// Config says how to reach NATS and what the subjects are called.
type Config struct {
	// URLs of one server or of several of one cluster. A user, password or token may be part of them.
	URLs []string
	// OnlyURLs keeps to them. Otherwise a server's word of others in its cluster is taken: they serve as well,
	// but for a broker with a server of its own they are further away.
	OnlyURLs bool
	// Name that the server shows for our connections.
	Name string
	Auth Auth
	TLS  TLS
	// EventPrefix and InboundPrefix of all subjects; empty: DefaultEventPrefix, DefaultInboundPrefix.
	EventPrefix, InboundPrefix string
	// OutboxSize bounds the events that wait for the server, in bytes; 0: DefaultOutboxSize.
	OutboxSize int
	// ConnectTimeout bounds the wait for NATS in Connect; 0: DefaultConnectTimeout.
	ConnectTimeout time.Duration
	// StaleAfter is how long a server may confirm nothing before its connection is given up; it grows up
	// to eightfold while that does not help. 0: DefaultStaleAfter.
	StaleAfter time.Duration
	// Peers has the times of what nodes say to each other; the zero value: the defaults.
	Peers PeersConfig
	// OnUnsendable is told of an event that was taken but does not fit into the server's max_payload.
	// Like OnMaxPayload it is called on a goroutine of its own and must not block for long. May be nil.
	OnUnsendable func(conn *hub.Conn, size, max int)
	// OnMaxPayload is told when a server's max_payload differs from the one before. May be nil.
	OnMaxPayload func(max int)
	// Logger; nil: slog.Default().
	Logger *slog.Logger
}

// Auth is what we show to the server beside what the URLs hold. At most one way may be set.
type Auth struct {
	User, Password string
	Token          string
	// CredentialsFile holds a user JWT with its key (`.creds`); NKeyFile a seed.
	CredentialsFile, NKeyFile string
}

// TLS names PEM files. An empty CAFile trusts the system's roots; CertFile and KeyFile belong together.
type TLS struct{ CAFile, CertFile, KeyFile string }

// withDefaults fills in what is unset and refuses contradictions.
func (c Config) withDefaults() (Config, Subjects, error) {
	c.EventPrefix = cmp.Or(c.EventPrefix, DefaultEventPrefix)
	c.InboundPrefix = cmp.Or(c.InboundPrefix, DefaultInboundPrefix)
	c.OutboxSize = cmp.Or(c.OutboxSize, DefaultOutboxSize)
	c.ConnectTimeout = cmp.Or(c.ConnectTimeout, DefaultConnectTimeout)
	c.StaleAfter = cmp.Or(c.StaleAfter, DefaultStaleAfter)
	c.Logger = cmp.Or(c.Logger, slog.Default())
	if len(c.URLs) == 0 {
		return c, Subjects{}, errors.New("nats: no URL")
	}
	for _, u := range c.URLs {
		if parsed, err := url.Parse(u); err != nil || parsed.Host == "" {
			return c, Subjects{}, fmt.Errorf("nats: URL %q: want nats://host:port or tls://host:port", redact(u))
		}
	}
	if err := c.Auth.check(); err != nil {
		return c, Subjects{}, err
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		return c, Subjects{}, errors.New("nats: TLS certificate and key: set both or none")
	}
	if err := c.checkFiles(); err != nil {
		return c, Subjects{}, err
	}
	subjects, err := NewSubjects(c.EventPrefix, c.InboundPrefix)
	return c, subjects, err
}

func (a Auth) check() error {
	ways := 0
	for _, set := range []string{a.User, a.Token, a.CredentialsFile, a.NKeyFile} {
		if set != "" {
			ways++
		}
	}
	if ways > 1 {
		return errors.New("nats: user, token, credentials file and nkey file: set at most one")
	}
	if a.Password != "" && a.User == "" {
		return errors.New("nats: password without a user")
	}
	return nil
}

// checkFiles says at the start what would else be repeated at every attempt to connect.
func (c Config) checkFiles() error {
	for _, name := range []string{c.Auth.CredentialsFile, c.Auth.NKeyFile, c.TLS.CAFile, c.TLS.CertFile, c.TLS.KeyFile} {
		if name == "" {
			continue
		}
		f, err := os.Open(name)
		if err != nil {
			return fmt.Errorf("nats: %w", err)
		}
		_ = f.Close()
	}
	return nil
}

// options that all of our connections have.
func (c Config) options(d *dialer) ([]nats.Option, error) {
	opts := []nats.Option{
		nats.Name(c.Name), nats.Timeout(d.timeout), nats.SetCustomDialer(d),
		// They find a dead host on a quiet connection within half a minute.
		nats.PingInterval(10 * time.Second), nats.MaxPingsOutstanding(2),
		// What we ask is answered where the permissions that we need anyway allow it.
		nats.CustomInboxPrefix("_HOLDFAST.inbox"),
	}
	if c.OnlyURLs {
		opts = append(opts, nats.IgnoreDiscoveredServers())
	}
	switch a := c.Auth; {
	case a.User != "":
		opts = append(opts, nats.UserInfo(a.User, a.Password))
	case a.Token != "":
		opts = append(opts, nats.Token(a.Token))
	case a.CredentialsFile != "":
		opts = append(opts, nats.UserCredentials(a.CredentialsFile))
	case a.NKeyFile != "":
		o, err := nats.NkeyOptionFromSeed(a.NKeyFile)
		if err != nil {
			return nil, fmt.Errorf("nats: nkey file %s: %w", a.NKeyFile, err)
		}
		opts = append(opts, o)
	}
	if c.TLS.CAFile != "" {
		opts = append(opts, nats.RootCAs(c.TLS.CAFile))
	}
	if c.TLS.CertFile != "" {
		opts = append(opts, nats.ClientCert(c.TLS.CertFile, c.TLS.KeyFile))
	}
	return opts, nil
}

// servers is the list as nats.go wants it.
func (c Config) servers() string { return strings.Join(c.URLs, ",") }

// shown is the list for people, without secrets.
func (c Config) shown() string {
	shown := make([]string, len(c.URLs))
	for i, u := range c.URLs {
		shown[i] = redact(u)
	}
	return strings.Join(shown, ", ")
}

// redact removes user, password and token from a URL.
func redact(u string) string {
	scheme, rest, ok := strings.Cut(u, "://")
	if !ok {
		scheme, rest = "nats", u
	}
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		rest = rest[at+1:]
	}
	return scheme + "://" + rest
}
