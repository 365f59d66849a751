package app

import (
	"fmt"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/holdfast-broker/holdfast/internal/bus"
)

// validNATSUser is one token of a subject: it is part of the one for answers.
var validNATSUser = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func (v *checker) nats() {
	within(v, "nats.outbox", v.NATS.Outbox, 64*KiB, 4*GiB)
	if v.NATS.URL == "" {
		v.embeddedNATS()
		return
	}
	n := v.NATS
	if _, set := v.origins["nats.listen"]; set {
		v.refuse("nats.listen", "%q is for the embedded server, and nats.url says to start none: want one of the two", n.Listen)
	}
	if len(n.Users) > 0 {
		v.refuse("nats.users", "%d users are for the embedded server, and nats.url says to start none: want one of the two", len(n.Users))
	}
	for part := range strings.SplitSeq(n.URL, ",") {
		v.natsURL(part)
	}
	v.natsCredentials()
	for _, s := range n.TLS.keys() {
		v.readable(s.key, s.value)
	}
	if (n.TLS.Cert == "") != (n.TLS.Key == "") {
		v.refuse("nats.tls", "cert %q, key %q: want both or none", n.TLS.Cert, n.TLS.Key)
	}
}

// keyed is a setting that is a text.
type keyed struct{ key, value string }

func (t NATSTLS) keys() []keyed {
	return []keyed{{"nats.tls.ca", t.CA}, {"nats.tls.cert", t.Cert}, {"nats.tls.key", t.Key}}
}

// embeddedNATS refuses what only an external server can be told, and checks who may connect to ours.
func (v *checker) embeddedNATS() {
	n := v.NATS
	for _, s := range append(n.ways(), keyed{"nats.tls.ca", n.TLS.CA}) {
		v.onlyExternal(s.key, s.value)
	}
	v.onlyExternal("nats.password_file", n.PasswordFile)
	if n.Password != "" {
		v.onlyExternal("nats.password", mask)
	}
	if n.TLS.Cert != "" || n.TLS.Key != "" {
		v.listenerTLS("nats.tls", &TLS{Cert: n.TLS.Cert, Key: n.TLS.Key})
	}
	if v.DataDir == "" {
		v.refuse("data_dir", "empty: want a directory for the embedded NATS server")
	}
	v.natsUsers()
	v.natsAddress()
}

// natsAddress refuses to let other machines in who need not say who they are, or whose passwords others can read.
func (v *checker) natsAddress() {
	n := v.NATS
	passwords := slices.ContainsFunc(n.Users, func(u NATSUser) bool { return u.NKey == "" })
	switch {
	case len(n.Users) == 0 && !n.Insecure && !onlyLoopback(n.Listen):
		v.refuse("nats.listen", "%q can be reached from other machines, and clients of the embedded server are not authenticated: want nats.users, a loopback address such as 127.0.0.1, or --insecure-nats", n.Listen)
	case passwords && n.TLS.Cert == "" && !n.Insecure && !onlyLoopback(n.Listen):
		v.refuse("nats.listen", "%q can be reached from other machines, and passwords would travel there in plain text: want nats.tls, users with an nkey, a loopback address such as 127.0.0.1, or --insecure-nats", n.Listen)
	}
}

// ways are those in which we can say who we are. A token is not shown.
func (n NATS) ways() []keyed {
	token := n.Token
	if token != "" {
		token = mask
	}
	return []keyed{
		{"nats.credentials", n.Credentials},
		{"nats.nkey_file", n.NKeyFile},
		{"nats.user", n.User},
		{"nats.token", token},
		{"nats.token_file", n.TokenFile},
	}
}

// natsCredentials wants one way to say who we are, or none.
func (v *checker) natsCredentials() {
	n := v.NATS
	first := ""
	for _, way := range n.ways() {
		switch {
		case way.value == "":
		case first != "":
			v.refuse(way.key, "%q, and %s is set: want one of the two", way.value, first)
			return
		default:
			first = way.key
		}
	}
	v.natsPassword()
	v.readable("nats.credentials", n.Credentials)
	v.secretFile("nats.token_file", n.TokenFile, "token")
	v.notMasked("nats.token", n.Token)
	if n.NKeyFile != "" {
		if err := (bus.Auth{NKeyFile: n.NKeyFile}).Check(); err != nil {
			v.refuse("nats.nkey_file", "%s", err)
		}
	}
}

func (v *checker) natsPassword() {
	n := v.NATS
	switch {
	case n.Password != "" && n.PasswordFile != "":
		v.refuse("nats.password_file", "%q, and nats.password is set: want one of the two", n.PasswordFile)
	case n.User == "" && n.Password != "":
		v.refuse("nats.password", "there is no user: want nats.user as well")
	case n.User == "" && n.PasswordFile != "":
		v.refuse("nats.password_file", "%q, and there is no user: want nats.user as well", n.PasswordFile)
	case n.User != "" && n.Password == "" && n.PasswordFile == "":
		v.refuse("nats.user", "%q has no password: want nats.password or nats.password_file as well", n.User)
	}
	v.secretFile("nats.password_file", n.PasswordFile, "password")
	v.notMasked("nats.password", n.Password)
}

func (v *checker) secretFile(key, file, what string) {
	if _, err := secretIn("", file, what); err != nil {
		v.refuse(key, "%s", err)
	}
}

// notMasked refuses what Show prints in the place of a secret.
func (v *checker) notMasked(key, secret string) {
	if secret == mask {
		v.refuse(key, "%q is what config show prints in the place of a secret: want the secret", mask)
	}
}

func (v *checker) natsURL(part string) {
	u, err := url.Parse(part)
	if err != nil || u.Host == "" || u.Scheme != "nats" && u.Scheme != "tls" {
		v.refuse("nats.url", "%q is not a URL of a NATS server: want nats://host:port or tls://host:port, several joined by \",\"", maskURL(part))
		return
	}
	if u.User == nil {
		return
	}
	for _, way := range v.NATS.ways() {
		if way.value != "" {
			v.refuse("nats.url", "%q holds a user, and %s is set: want one of the two", maskURL(part), way.key)
			return
		}
	}
}

func (v *checker) natsUsers() {
	if _, set := v.origins["nats.users"]; set && len(v.NATS.Users) == 0 {
		v.refuse("nats.users", "empty: want at least one, or no such key")
	}
	if v.Demo && len(v.NATS.Users) > 0 {
		v.refuse("--demo", "the demo's backend has no credentials: want no nats.users beside it")
	}
	names, keys := make(map[string]int), make(map[string]int)
	for i, u := range v.NATS.Users {
		key := fmt.Sprintf("nats.users[%d]", i)
		if !validNATSUser.MatchString(u.Name) || strings.HasPrefix(u.Name, bus.ReservedUsers) {
			v.refuse(key+".name", "%q is not a name: want 1 to 64 of A-Z, a-z, 0-9, _ and -, and not %q at the beginning", u.Name, bus.ReservedUsers)
		}
		v.unshared(names, key+".name", u.Name, "users", i)
		v.unshared(keys, key+".nkey", u.NKey, "users", i)
		v.natsUserSecret(key, u)
		v.natsUserRoles(key, u)
	}
}

func (v *checker) natsUserSecret(key string, u NATSUser) {
	ways := 0
	for _, s := range []string{u.Password, u.PasswordFile, u.NKey} {
		if s != "" {
			ways++
		}
	}
	if ways != 1 {
		v.refuse(key, "%d of password, password_file and nkey: want one", ways)
		return
	}
	if u.NKey != "" {
		if !bus.ValidNKey(u.NKey) {
			v.refuse(key+".nkey", "this is not the public nkey of a user: want \"U\" and 55 more characters, such as those of \"nk -gen user -pubout\"")
		}
		return
	}
	password, err := u.password()
	switch {
	case err != nil:
		v.refuse(key+".password_file", "%s", err)
	case password == mask:
		v.notMasked(key+".password", password)
	case len(password) < minSecret:
		v.refuse(key, "a password of %d characters is too short: want at least %d, such as those of \"openssl rand -hex 32\"", len(password), minSecret)
	}
}

func (v *checker) natsUserRoles(key string, u NATSUser) {
	if len(u.Roles) == 0 {
		v.refuse(key+".roles", "empty: want at least one of %s", alternatives(bus.Roles))
	}
	v.each(key+".roles", u.Roles, func(at, role string) { v.oneOf(at, role, bus.Roles...) })
	v.namespaces(key+".namespaces", u.Namespaces)
	if u.Responses == (AllowResponses{}) {
		return
	}
	if !slices.ContainsFunc(u.Roles, bus.OnlyAnswers) {
		v.refuse(key+".allow_responses", "it is for the roles answerer and admission, and none of them is there: want one, or no such key")
	}
	if u.Responses.Max < 1 || u.Responses.Max > maxResponses {
		v.refuse(key+".allow_responses.max", "%d is out of range: want 1 to %d", u.Responses.Max, maxResponses)
	}
	within(v, key+".allow_responses.ttl", u.Responses.TTL, Second, Hour)
}

// maxResponses to one message. NATS remembers each subject that may still be answered.
const maxResponses = 1000

func (v *checker) onlyExternal(key, value string) {
	if value != "" {
		v.refuse(key, "%q is for an external server, and the embedded one is used: want nats.url as well", value)
	}
}

func (v *checker) readable(key, file string) {
	if file == "" {
		return
	}
	if _, err := os.ReadFile(file); err != nil {
		v.refuse(key, "%q cannot be read: %s", file, reason(err))
	}
}

// maskURL hides passwords and tokens in a list of URLs.
func maskURL(urls string) string {
	parts := strings.Split(urls, ",")
	for i, part := range parts {
		start := max(0, strings.Index(part, "://")+len("://"))
		if !strings.Contains(part, "://") {
			start = 0
		}
		end := strings.LastIndexByte(part, '@')
		if end < start {
			continue
		}
		user, _, named := strings.Cut(part[start:end], ":")
		if named {
			user += ":***"
		} else {
			user = "***"
		}
		parts[i] = part[:start] + user + part[end:]
	}
	return strings.Join(parts, ",")
}
