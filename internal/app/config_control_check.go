package app

import (
	"fmt"
	"regexp"

	"github.com/holdfast-broker/holdfast/internal/rpc"
)

var (
	validIdentity = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)
	validPattern  = regexp.MustCompile(`^[A-Za-z0-9_=:@-]{1,128}\*?$|^\*$`)
)

func (v *checker) control() {
	c := v.Control
	v.count("control.connections", c.Connections, 0)
	v.callRates("control.rates", c.Rates)
	v.controlTLS()
	v.controlAddress()
	if _, set := v.origins["control.auth.identities"]; set && len(c.Auth.Identities) == 0 {
		v.refuse("control.auth.identities", "empty: want at least one, or no such key")
	}
	if v.Demo && (c.authenticated() || c.TLS.files() != nil) {
		v.refuse("--demo", "the demo's backend has no credentials and speaks no TLS: want neither control.auth nor control.tls beside it")
	}
	if c.Auth.JWT != nil {
		v.callerJWT("control.auth.jwt", *c.Auth.JWT)
	}
	names, subjects, tokens := make(map[string]int), make(map[string]int), make(map[rpc.TokenHash]int)
	for n, i := range c.Auth.Identities {
		key := fmt.Sprintf("control.auth.identities[%d]", n)
		if !validIdentity.MatchString(i.Name) {
			v.refuse(key+".name", "%q is not a name: want 1 to 64 of A-Z, a-z, 0-9, _, . and -", i.Name)
		}
		v.unshared(names, key+".name", i.Name, "identities", n)
		v.unshared(subjects, key+".subject", i.Subject, "identities", n)
		v.credentials(key, i)
		v.tokens(tokens, key, i, n)
		if i.Rates != nil {
			v.callRates(key+".rates", *i.Rates)
		}
		v.allowed(key+".allow", i.Allow)
	}
}

func (v *checker) callRates(key string, r CallRates) {
	v.count(key+".calls", r.Calls, 0)
	within(v, key+".bytes", r.Bytes, 0, 64*GiB)
}

func (v *checker) controlTLS() {
	t := v.Control.TLS
	switch {
	case t == (ControlTLS{}):
	case t.Cert == "" && t.Key == "":
		v.refuse("control.tls.client_ca", "%q is for TLS, and there is none: want control.tls.cert and control.tls.key as well", t.ClientCA)
	default:
		v.listenerTLS("control.tls", t.files())
	}
}

// controlAddress refuses to let other machines in who need not say who they are, or whose tokens others can read.
func (v *checker) controlAddress() {
	c := v.Control
	switch {
	case !c.authenticated():
		v.beyondLoopback("control.listen", c.Listen, "calls", "control", c.Insecure)
	case c.hasTokens() && c.TLS.files() == nil && !c.Insecure && !onlyLoopback(c.Listen):
		v.refuse("control.listen", "%q can be reached from other machines, and tokens would travel there in plain text: want control.tls, a loopback address such as 127.0.0.1, or --insecure-control", c.Listen)
	}
}

func (v *checker) callerJWT(key string, j ControlJWT) {
	v.jwt(key, j.JWT)
	v.notEmpty(key+".claims.name", j.Claims.Name, "the claim that names the caller, such as sub")
	v.notEmpty(key+".claims.verbs", j.Claims.Verbs, "the claim with what the caller may do, such as holdfast.verbs")
	v.notEmpty(key+".claims.namespaces", j.Claims.Namespaces, "the claim with the namespaces that the caller may touch, such as holdfast.namespaces")
}

// unshared refuses what another entry of the list has, too.
func (v *checker) unshared(seen map[string]int, key, value, list string, n int) {
	if value == "" {
		return
	}
	if other, ok := seen[value]; ok {
		v.refuse(key, "%q is that of %s[%d]: want one of its own", value, list, other)
		return
	}
	seen[value] = n
}

func (v *checker) credentials(key string, i Identity) {
	kinds := 0
	for _, s := range []string{i.Token, i.TokenFile, i.TokenSHA256} {
		if s != "" {
			kinds++
		}
	}
	switch {
	case kinds > 1:
		v.refuse(key, "more than one of token, token_file and token_sha256: want one")
	case kinds == 0 && i.Subject == "":
		v.refuse(key, "nothing to know it by: want token, token_file, token_sha256 or subject")
	}
	if i.Subject != "" && v.Control.TLS.ClientCA == "" {
		v.refuse(key+".subject", "%q is of a client certificate, and none is asked for: want control.tls.client_ca as well", i.Subject)
	}
}

// tokens reads the tokens of an identity. What it says of them is at most their length.
func (v *checker) tokens(seen map[rpc.TokenHash]int, key string, i Identity, n int) {
	switch {
	case i.Token != "":
		key += ".token"
	case i.TokenFile != "":
		key += ".token_file"
	default:
		key += ".token_sha256"
	}
	hashes, err := i.hashes()
	if err != nil {
		v.refuse(key, "%s", err)
		return
	}
	for _, h := range hashes {
		if other, ok := seen[h]; ok && other != n {
			v.refuse(key, "the token is also that of identities[%d]: want one of its own", other)
			return
		}
		seen[h] = n
	}
}

func (v *checker) allowed(key string, a Allow) {
	if len(a.Verbs) == 0 {
		v.refuse(key+".verbs", "empty: want at least one of %s", alternatives(rpc.Verbs))
	}
	v.each(key+".verbs", a.Verbs, func(at, name string) { v.oneOf(at, name, rpc.Verbs...) })
	v.namespaces(key+".namespaces", a.Namespaces)
	if a.Groups != nil && len(a.Groups) == 0 {
		v.refuse(key+".groups", "empty: want at least one, or no such key for all groups")
	}
	v.each(key+".groups", a.Groups, func(at, name string) {
		if !validPattern.MatchString(name) {
			v.refuse(at, "%q is no group: want a name, the beginning of one and \"*\", or \"*\" for all", name)
		}
	})
}

func (v *checker) namespaces(key string, names []string) {
	if len(names) == 0 {
		v.refuse(key, "empty: want at least one, or \"*\" for all")
	}
	v.each(key, names, func(at, name string) {
		if name != "*" && !validNamespace.MatchString(name) {
			v.refuse(at, "%q is not a namespace: want 1 to 32 of a-z, 0-9, _ and -, or \"*\" for all", name)
		}
	})
}
