package app

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/holdfast-broker/holdfast/internal/rpc"
)

// Control is the gRPC control API.
type Control struct {
	Listen string `yaml:"listen" name:"control-listen" group:"ports" placeholder:"ADDRESS" help:"gRPC control API."`
	// Insecure allows an address beyond loopback although calls are not authenticated, or their tokens can be read.
	Insecure bool `yaml:"-" name:"insecure-control" group:"ports" help:"Allow a control address beyond loopback, although calls are not authenticated, or their tokens travel in plain text."`
	// Connections is how many backends may be connected at once. 0: no limit.
	Connections int         `yaml:"connections" name:"control-connections" group:"ports" placeholder:"NUMBER" help:"Connections to the control API at once; 0: no limit."`
	Rates       CallRates   `yaml:"rates" embed:""`
	TLS         ControlTLS  `yaml:"tls" embed:""`
	Auth        ControlAuth `yaml:"auth,omitempty" kong:"-"`
}

// ControlTLS holds PEM files for TLS of the control API. Empty: plain text.
type ControlTLS struct {
	Cert     string `yaml:"cert" name:"control-tls-cert" group:"ports" placeholder:"FILE" help:"Certificate of the control API, which then speaks TLS."`
	Key      string `yaml:"key" name:"control-tls-key" group:"ports" placeholder:"FILE" help:"Its key."`
	ClientCA string `yaml:"client_ca" name:"control-tls-client-ca" group:"ports" placeholder:"FILE" help:"CA of client certificates. Unless the file names identities, each of them may do everything, and nobody else anything."`
}

// files is what a listener is told; nil: no TLS.
func (t ControlTLS) files() *TLS {
	if t == (ControlTLS{}) {
		return nil
	}
	return &TLS{Cert: t.Cert, Key: t.Key, ClientCA: t.ClientCA}
}

// ControlAuth says who may call.
type ControlAuth struct {
	Identities []Identity `yaml:"identities,omitempty"`
	// JWT accepts tokens that say what their bearer may do; nil: none.
	JWT *ControlJWT `yaml:"jwt,omitempty"`
}

// ControlJWT says which JSON Web Tokens callers may show, and which claims say what they may do.
type ControlJWT struct {
	JWT

	Claims CallerClaims `yaml:"claims"`
}

// CallerClaims are names of claims. A name with "." may be that of a claim within objects.
type CallerClaims struct {
	Name       string `yaml:"name"`
	Verbs      string `yaml:"verbs"`
	Namespaces string `yaml:"namespaces"`
	Groups     string `yaml:"groups"`
}

// SetDefaults fills in what the file may leave out.
func (j *ControlJWT) SetDefaults() {
	j.JWT = defaultJWT()
	j.Claims = CallerClaims{Name: "sub", Verbs: "holdfast.verbs", Namespaces: "holdfast.namespaces", Groups: "holdfast.groups"}
}

// Identity is a caller: what they show, and what they may do.
type Identity struct {
	Name        string `yaml:"name"`
	Token       string `yaml:"token,omitempty" secret:""`
	TokenFile   string `yaml:"token_file,omitempty"`   // a token in each line
	TokenSHA256 string `yaml:"token_sha256,omitempty"` // in hexadecimal digits
	Subject     string `yaml:"subject,omitempty"`      // of a client certificate, RFC 2253
	Allow       Allow  `yaml:"allow"`
	// Rates are there instead of those of Control; nil: those.
	Rates *CallRates `yaml:"rates,omitempty"`
}

// CallRates are what a caller may ask for in a second; 0: no limit.
type CallRates struct {
	Calls int  `yaml:"calls" name:"control-rates-calls" group:"ports" placeholder:"NUMBER" help:"Calls of each identity in a second, each send of a batch counted; 0: no limit."`
	Bytes Size `yaml:"bytes" name:"control-rates-bytes" group:"ports" placeholder:"SIZE" help:"Requests of each identity in a second, in bytes; 0B: no limit."`
}

func (r CallRates) rpc() rpc.Rates { return rpc.Rates{Calls: r.Calls, Bytes: int64(r.Bytes)} }

// own is what an identity has instead of the rates of all.
func (i Identity) own() *rpc.Rates {
	if i.Rates == nil {
		return nil
	}
	r := i.Rates.rpc()
	return &r
}

// Allow is what an identity may do.
type Allow struct {
	Verbs      []string `yaml:"verbs"`            // of rpc.Verbs
	Namespaces []string `yaml:"namespaces"`       // names, or "*"
	Groups     []string `yaml:"groups,omitempty"` // names, or the beginning of one and "*"; nil: all
}

// authenticated reports whether callers have to show who they are.
func (c Control) authenticated() bool {
	return len(c.Auth.Identities) > 0 || c.Auth.JWT != nil || c.TLS.ClientCA != ""
}

func (i Identity) hasToken() bool { return i.Token != "" || i.TokenFile != "" || i.TokenSHA256 != "" }

func (c Control) hasTokens() bool {
	return c.Auth.JWT != nil || slices.ContainsFunc(c.Auth.Identities, Identity.hasToken)
}

// identities reads what the configuration and its files say. judge is nil without JWT. An error names no token.
func (c Control) identities(judge rpc.Judge) (*rpc.Identities, error) {
	if len(c.Auth.Identities) == 0 && c.Auth.JWT == nil {
		return rpc.AnyCertificate(), nil
	}
	all := make([]rpc.Identity, 0, len(c.Auth.Identities))
	for _, i := range c.Auth.Identities {
		hashes, err := i.hashes()
		if err != nil {
			return nil, fmt.Errorf("identity %s: %w", i.Name, err)
		}
		groups := i.Allow.Groups
		if groups == nil {
			groups = []string{"*"}
		}
		all = append(all, rpc.Identity{
			Name: i.Name, Tokens: hashes, Subject: i.Subject,
			Verbs: i.Allow.Verbs, Namespaces: i.Allow.Namespaces, Groups: groups, Rates: i.own(),
		})
	}
	return rpc.NewIdentities(all, judge), nil
}

// hashes are those of the tokens of an identity, of which a file can hold several.
func (i Identity) hashes() ([]rpc.TokenHash, error) {
	switch {
	case i.Token != "":
		return []rpc.TokenHash{rpc.HashToken(i.Token)}, checkToken(i.Token)
	case i.TokenFile != "":
		return tokensIn(i.TokenFile)
	case i.TokenSHA256 != "":
		var hash rpc.TokenHash
		if b, err := hex.DecodeString(i.TokenSHA256); err != nil || copy(hash[:], b) != len(hash) || len(b) != len(hash) {
			return nil, fmt.Errorf("%q is not a SHA-256: want 64 hexadecimal digits, such as those of \"printf %%s TOKEN | sha256sum\"", i.TokenSHA256)
		}
		return []rpc.TokenHash{hash}, nil
	}
	return nil, nil
}

func tokensIn(file string) (hashes []rpc.TokenHash, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%q cannot be read: %w", file, reason(err))
	}
	for token := range strings.FieldsFuncSeq(string(text), func(r rune) bool { return r == '\n' || r == '\r' }) {
		if err := checkToken(token); err != nil {
			return nil, fmt.Errorf("%q: %w", file, err)
		}
		hashes = append(hashes, rpc.HashToken(token))
	}
	if len(hashes) == 0 {
		return nil, fmt.Errorf("%q is empty: want a token in it", file)
	}
	return hashes, nil
}

// validBearer is what RFC 6750 2.1 allows.
var validBearer = regexp.MustCompile(`^[A-Za-z0-9._~+/-]+=*$`)

// checkToken says of a token nothing but its length.
func checkToken(token string) error {
	switch {
	case token == mask:
		return fmt.Errorf("%q is what config show prints in the place of a token: want the token", mask)
	case len(token) < minSecret:
		return fmt.Errorf("a token of %d characters is too short: want at least %d, such as those of \"openssl rand -hex 32\"", len(token), minSecret)
	case !validBearer.MatchString(token):
		return errors.New("a token has characters that no header carries: want A-Z, a-z, 0-9 and ._~+/-, and \"=\" at its end")
	}
	return nil
}
