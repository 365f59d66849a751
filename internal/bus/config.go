package bus

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
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
	// OnLost is told of a connection that nats.go has given up for good, so that the bus will never be whole again. It must
	// not block. May be nil.
	OnLost func(err error)
	// Logger; nil: slog.Default().
	Logger *slog.Logger
}

// Auth is what we show to the server beside what the URLs hold. At most one way may be set.
type Auth struct {
	User, Password string
	Token          string
	// PasswordFile and TokenFile hold them; they are read again at each connect.
	PasswordFile, TokenFile string
	// CredentialsFile holds a user JWT with its key (`.creds`); NKeyFile a seed.
	CredentialsFile, NKeyFile string
}

// TLS names PEM files. An empty CAFile trusts the system's roots; CertFile and KeyFile belong together.
type TLS struct {
	CAFile, CertFile, KeyFile string
	// Config instead of files; nil: those, if the URL or the server asks for TLS.
	Config *tls.Config
}

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
	if err := c.Auth.Check(); err != nil {
		return c, Subjects{}, fmt.Errorf("nats: %w", err)
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

// Check finds contradictions, and files that cannot be used.
func (a Auth) Check() error {
	ways := 0
	for _, set := range []string{a.User, a.Token, a.TokenFile, a.CredentialsFile, a.NKeyFile} {
		if set != "" {
			ways++
		}
	}
	switch {
	case ways > 1:
		return errors.New("user, token, credentials file and nkey file: set at most one")
	case (a.Password != "" || a.PasswordFile != "") && a.User == "":
		return errors.New("password without a user")
	case a.Password != "" && a.PasswordFile != "":
		return errors.New("password and a file with it: set one")
	}
	_, err := a.options(slog.New(slog.DiscardHandler))
	return err
}

// checkFiles says at the start what would else be repeated at every attempt to connect.
func (c Config) checkFiles() error {
	for _, name := range []string{c.Auth.CredentialsFile, c.TLS.CAFile, c.TLS.CertFile, c.TLS.KeyFile} {
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
	more, err := ClientOptions(c.Auth, c.TLS, c.Logger)
	return append(opts, more...), err
}

// ClientOptions are those with which a server is shown who we are. What cannot be read later is logged.
func ClientOptions(a Auth, t TLS, logger *slog.Logger) ([]nats.Option, error) {
	opts, err := a.options(logger)
	if t.Config != nil {
		opts = append(opts, nats.Secure(t.Config))
	}
	if t.CAFile != "" {
		opts = append(opts, nats.RootCAs(t.CAFile))
	}
	if t.CertFile != "" {
		opts = append(opts, nats.ClientCert(t.CertFile, t.KeyFile))
	}
	return opts, err
}

func (a Auth) options(logger *slog.Logger) ([]nats.Option, error) {
	switch {
	case a.User != "":
		password, err := secret(a.Password, a.PasswordFile, logger)
		return []nats.Option{nats.UserInfoHandler(func() (string, string) { return a.User, password() })}, err
	case a.Token != "" || a.TokenFile != "":
		token, err := secret(a.Token, a.TokenFile, logger)
		return []nats.Option{nats.TokenHandler(token)}, err
	case a.CredentialsFile != "":
		return []nats.Option{nats.UserCredentials(a.CredentialsFile)}, nil
	case a.NKeyFile != "":
		o, err := nats.NkeyOptionFromSeed(a.NKeyFile)
		if err != nil {
			return nil, fmt.Errorf("nkey file %s: %w", a.NKeyFile, err)
		}
		return []nats.Option{o}, nil
	}
	return nil, nil
}

// secret is what is shown at a connect: the text, or what the file holds then, or held before if it cannot be read.
func secret(text, file string, logger *slog.Logger) (func() string, error) {
	if file == "" {
		return func() string { return text }, nil
	}
	last, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		if now, err := os.ReadFile(file); err == nil {
			last = now
		} else {
			logger.Error("nats: a secret cannot be read again: the old one is shown", "error", err)
		}
		return strings.TrimSpace(string(last))
	}, nil
}

// like is the URL of a server that is not of the list, with the user of those that are.
func (c Config) like(other string) string {
	u, err := url.Parse(other)
	if err != nil {
		return other
	}
	for _, of := range c.URLs {
		if listed, err := url.Parse(of); err == nil && u.User == nil {
			u.User = listed.User
		}
	}
	return u.String()
}

// namedLike: a server of which only the address is known shows a certificate for a name of the list.
func (c Config) namedLike(other string) nats.Option {
	var name string
	if nameOf(other) == "" {
		for _, of := range c.URLs {
			name = cmp.Or(name, nameOf(of))
		}
	}
	return func(o *nats.Options) error {
		if name == "" {
			return nil
		}
		if o.TLSConfig = o.TLSConfig.Clone(); o.TLSConfig == nil {
			o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		o.TLSConfig.ServerName = name
		return nil
	}
}

// nameOf is the host of a URL; empty: an address.
func nameOf(of string) string {
	u, err := url.Parse(of)
	if err != nil || net.ParseIP(u.Hostname()) != nil {
		return ""
	}
	return u.Hostname()
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
