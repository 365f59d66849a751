package app

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/holdfast-broker/holdfast/internal/bus"
)

// NATS says which bus to use.
type NATS struct {
	// URL of an external server or cluster, comma-separated; empty starts an embedded server.
	URL string `yaml:"url" name:"nats-url" group:"nats" placeholder:"URL" help:"Use this external server or cluster (URLs separated by \",\") and start none."`
	// Listen is the embedded server's address; port 0 picks one.
	Listen string `yaml:"listen,omitempty" name:"nats-listen" group:"nats" placeholder:"ADDRESS" help:"Address of the embedded server; port 0 picks one."`
	// Insecure allows the embedded server an address beyond loopback although it asks nobody who they are, or their
	// passwords can be read.
	Insecure bool `yaml:"-" name:"insecure-nats" group:"nats" help:"Allow the embedded server an address beyond loopback, although its clients are not authenticated, or their passwords travel in plain text."`
	// Users may connect to the embedded server; none: whoever reaches it.
	Users []NATSUser `yaml:"users,omitempty" kong:"-"`
	// Credentials is a .creds file for an external server.
	Credentials string `yaml:"credentials" name:"nats-credentials" group:"nats" placeholder:"FILE" help:"Credentials (.creds) for the external server."`
	// NKeyFile holds the seed of a key.
	NKeyFile string `yaml:"nkey_file" name:"nats-nkey-file" group:"nats" placeholder:"FILE" help:"File with the seed of an nkey, for the external server."`
	User     string `yaml:"user" name:"nats-user" group:"nats" placeholder:"NAME" help:"User of the external server."`
	Password string `yaml:"password" name:"nats-password" group:"nats" placeholder:"TEXT" secret:"" help:"Its password. Others on this machine can read flags: better the variable, or a file."`
	// PasswordFile and TokenFile are read again at each connect.
	PasswordFile string `yaml:"password_file" name:"nats-password-file" group:"nats" placeholder:"FILE" help:"File with that password."`
	Token        string `yaml:"token" name:"nats-token" group:"nats" placeholder:"TEXT" secret:"" help:"Token for the external server. Better the variable, or a file."`
	TokenFile    string `yaml:"token_file" name:"nats-token-file" group:"nats" placeholder:"FILE" help:"File with that token."`
	// TLS towards an external server, or of the embedded one.
	TLS NATSTLS `yaml:"tls" embed:""`
	// Outbox bounds the events that the server has not confirmed.
	Outbox Size `yaml:"outbox" name:"nats-outbox" group:"nats" placeholder:"SIZE" help:"Events that the server has not confirmed, in bytes; when it is full, clients are not read."`
}

// NATSTLS holds PEM files. Towards an external server empty means the system's roots, and no certificate of
// ours. The embedded server speaks TLS if there is a certificate.
type NATSTLS struct {
	CA   string `yaml:"ca" name:"nats-tls-ca" group:"nats" placeholder:"FILE" help:"CA that the external server's certificate is verified against, instead of the system's."`
	Cert string `yaml:"cert" name:"nats-tls-cert" group:"nats" placeholder:"FILE" help:"Client certificate for the external server, or the certificate of the embedded one, which then speaks TLS."`
	Key  string `yaml:"key" name:"nats-tls-key" group:"nats" placeholder:"FILE" help:"Its key."`
}

// NATSUser may connect to the embedded server.
type NATSUser struct {
	Name         string         `yaml:"name"`
	Password     string         `yaml:"password,omitempty" secret:""` // or its bcrypt hash
	PasswordFile string         `yaml:"password_file,omitempty"`
	NKey         string         `yaml:"nkey,omitempty"` // the public one
	Roles        []string       `yaml:"roles"`          // of bus.Roles
	Namespaces   []string       `yaml:"namespaces"`     // names, or "*"
	Responses    AllowResponses `yaml:"allow_responses,omitempty"`
}

// AllowResponses bounds the answers to one message or request. Zero: what NATS does, one within two minutes.
type AllowResponses struct {
	Max int      `yaml:"max"`
	TTL Duration `yaml:"ttl"`
}

// auth is what an external server is shown.
func (n NATS) auth() bus.Auth {
	return bus.Auth{
		User: n.User, Password: n.Password, PasswordFile: n.PasswordFile, Token: n.Token, TokenFile: n.TokenFile,
		CredentialsFile: n.Credentials, NKeyFile: n.NKeyFile,
	}
}

func (n NATS) clientTLS() bus.TLS {
	return bus.TLS{CAFile: n.TLS.CA, CertFile: n.TLS.Cert, KeyFile: n.TLS.Key}
}

// serverTLS names the files of the embedded server; nil: no TLS.
func (n NATS) serverTLS() *TLS {
	if n.URL != "" || n.TLS.Cert == "" {
		return nil
	}
	return &TLS{Cert: n.TLS.Cert, Key: n.TLS.Key}
}

// forBus are the users of the embedded server.
func (n NATS) forBus() (users []bus.ServerUser, err error) {
	for i, u := range n.Users {
		password, err := u.password()
		if err != nil {
			return nil, fmt.Errorf("nats.users[%d].password_file: %w", i, err)
		}
		users = append(users, bus.ServerUser{
			Name: u.Name, Password: password, NKey: u.NKey, Roles: u.Roles, Namespaces: u.Namespaces,
			MaxResponses: u.Responses.Max, ResponseTTL: time.Duration(u.Responses.TTL),
		})
	}
	return users, nil
}

func (u NATSUser) password() (string, error) { return secretIn(u.Password, u.PasswordFile, "password") }

// secretIn is a secret, wherever it stands.
func secretIn(text, file, what string) (string, error) {
	if file == "" {
		return text, nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("%q cannot be read: %w", file, reason(err))
	}
	if secret := strings.TrimSpace(string(b)); secret != "" {
		return secret, nil
	}
	return "", fmt.Errorf("%q is empty: want the %s in it", file, what)
}
