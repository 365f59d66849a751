package app

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-broker/holdfast/internal/bus"
)

// userFile is a configuration file with one user of the embedded server, whose keys stand in its second line.
func userFile(keys string) string { return "nats: {users: [\n{" + keys + "}]}\n" }

const (
	mayListen  = "roles: [listener], namespaces: [chat]"
	publicNKey = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"
)

func TestNATSRefusals(t *testing.T) {
	const external, at = "nats: {url: \"nats://a\", ", "h.yaml:2: nats.users[0]"
	for name, c := range map[string]struct{ file, want string }{
		"creds and nkey":     {external + "credentials: h.yaml, nkey_file: h.yaml}\n", `h.yaml:1: nats.nkey_file: "h.yaml", and nats.credentials is set: want one of the two`},
		"user and token":     {external + "user: u, password: geheim, token: geheim}\n", `h.yaml:1: nats.token: "***", and nats.user is set: want one of the two`},
		"two passwords":      {external + "user: u, password: geheim, password_file: h.yaml}\n", `h.yaml:1: nats.password_file: "h.yaml", and nats.password is set: want one of the two`},
		"password alone":     {external + "password: geheim}\n", `h.yaml:1: nats.password: there is no user: want nats.user as well`},
		"user alone":         {external + "user: u}\n", `h.yaml:1: nats.user: "u" has no password: want nats.password or nats.password_file as well`},
		"two users":          {"nats: {url: \"nats://u:geheim@a\", token: geheim}\n", `h.yaml:1: nats.url: "nats://u:***@a" holds a user, and nats.token is set: want one of the two`},
		"no such password":   {external + "user: u, password_file: none}\n", `h.yaml:1: nats.password_file: "none" cannot be read: no such file or directory`},
		"no such token":      {external + "token_file: none}\n", `h.yaml:1: nats.token_file: "none" cannot be read: no such file or directory`},
		"masked password":    {external + "user: u, password: \"***\"}\n", `h.yaml:1: nats.password: "***" is what config show prints in the place of a secret: want the secret`},
		"masked token":       {external + "token: \"***\"}\n", `h.yaml:1: nats.token: "***" is what config show prints in the place of a secret: want the secret`},
		"no seed":            {external + "nkey_file: h.yaml}\n", `h.yaml:1: nats.nkey_file: nkey file h.yaml: nkeys: no nkey seed found`},
		"a password's kind":  {external + "user: u, password: 4711}\n", `h.yaml:1: nats.password: *** is a number: want text`},
		"users elsewhere":    {external + "users: [{name: a, nkey: " + publicNKey + ", " + mayListen + "}]}\n", `h.yaml:1: nats.users: 1 users are for the embedded server, and nats.url says to start none: want one of the two`},
		"token for our own":  {"nats: {token: geheim}\n", `h.yaml:1: nats.token: "***" is for an external server, and the embedded one is used: want nats.url as well`},
		"CA for our own":     {"nats: {tls: {ca: h.yaml}}\n", `h.yaml:1: nats.tls.ca: "h.yaml" is for an external server, and the embedded one is used: want nats.url as well`},
		"cert for our own":   {"nats: {tls: {cert: h.yaml}}\n", `h.yaml:1: nats.tls: cert "h.yaml", key "": want both`},
		"beyond loopback":    {"nats: {listen: \":4222\"}\n", `h.yaml:1: nats.listen: ":4222" can be reached from other machines, and clients of the embedded server are not authenticated: want nats.users, a loopback address such as 127.0.0.1, or --insecure-nats`},
		"plain text":         {"nats: {listen: \":4222\", users: [{name: a, password: geheim-geheim-geheim, " + mayListen + "}]}\n", `h.yaml:1: nats.listen: ":4222" can be reached from other machines, and passwords would travel there in plain text: want nats.tls, users with an nkey, a loopback address such as 127.0.0.1, or --insecure-nats`},
		"nobody":             {"nats: {users: []}\n", `h.yaml:1: nats.users: empty: want at least one, or no such key`},
		"a user's name":      {userFile("name: a.b, nkey: " + publicNKey + ", " + mayListen), at + `.name: "a.b" is not a name: want 1 to 64 of A-Z, a-z, 0-9, _ and -, and not "holdfast-" at the beginning`},
		"our name":           {userFile("name: holdfast-broker, nkey: " + publicNKey + ", " + mayListen), at + `.name: "holdfast-broker" is not a name: want 1 to 64 of A-Z, a-z, 0-9, _ and -, and not "holdfast-" at the beginning`},
		"nothing to show":    {userFile("name: a, " + mayListen), at + `: 0 of password, password_file and nkey: want one`},
		"two ways":           {userFile("name: a, password: geheim-geheim-geheim, nkey: " + publicNKey + ", " + mayListen), at + `: 2 of password, password_file and nkey: want one`},
		"a seed":             {userFile("name: a, nkey: SUAgeheim, " + mayListen), at + `.nkey: this is not the public nkey of a user: want "U" and 55 more characters, such as those of "nk -gen user -pubout"`},
		"short password":     {userFile("name: a, password: geheim, " + mayListen), at + `: a password of 6 characters is too short: want at least 16, such as those of "openssl rand -hex 32"`},
		"a user's mask":      {userFile("name: a, password: \"***\", " + mayListen), at + `.password: "***" is what config show prints in the place of a secret: want the secret`},
		"no such file":       {userFile("name: a, password_file: none, " + mayListen), at + `.password_file: "none" cannot be read: no such file or directory`},
		"no role":            {userFile("name: a, nkey: " + publicNKey + ", namespaces: [chat]"), at + `.roles: empty: want at least one of listener, answerer, replier, publisher, admission or operator`},
		"unknown role":       {userFile("name: a, nkey: " + publicNKey + ", roles: [admin], namespaces: [chat]"), at + `.roles[0]: "admin" is unknown: want listener, answerer, replier, publisher, admission or operator`},
		"no namespace":       {userFile("name: a, nkey: " + publicNKey + ", roles: [listener]"), at + `.namespaces: empty: want at least one, or "*" for all`},
		"namespace's form":   {userFile("name: a, nkey: " + publicNKey + ", roles: [listener], namespaces: [\">\"]"), at + `.namespaces[0]: ">" is not a namespace: want 1 to 32 of a-z, 0-9, _ and -, or "*" for all`},
		"answers of whom":    {userFile("name: a, nkey: " + publicNKey + ", " + mayListen + ", allow_responses: {max: 1, ttl: 1m}"), at + `.allow_responses: it is for the roles answerer and admission, and none of them is there: want one, or no such key`},
		"answers":            {userFile("name: a, nkey: " + publicNKey + ", roles: [answerer], namespaces: [chat], allow_responses: {ttl: 1m}"), at + `.allow_responses.max: 0 is out of range: want 1 to 1000`},
		"time for answers":   {userFile("name: a, nkey: " + publicNKey + ", roles: [answerer], namespaces: [chat], allow_responses: {max: 1}"), at + `.allow_responses.ttl: 0s is out of range: want 1s to 1h`},
		"name twice":         {userFile("name: a, nkey: " + publicNKey + ", " + mayListen + "},\n{name: a, password: geheim-geheim-geheim, " + mayListen), `h.yaml:3: nats.users[1].name: "a" is that of users[0]: want one of its own`},
		"cluster's account":  {"nats: {users: [{name: a, nkey: " + publicNKey + ", " + mayListen + "}]}\ncluster: {name: x, listen: \"127.0.0.1:1\", routes: [\"a:1\"]}\n", `h.yaml:1: nats.users: without a secret everybody could use the account that "broker cluster" uses: want cluster.secret as well`},
		"half a cluster TLS": {"cluster: {name: x, routes: [\"a:1\"], tls: {cert: h.yaml}}\n", `h.yaml:1: cluster.tls: ca "", cert "h.yaml", key "": want all three`},
		"cluster TLS alone":  {"cluster: {tls: {ca: h.yaml}}\n", `h.yaml:1: cluster.tls: it is for a cluster, and there is none: want cluster.name as well`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := loadText(t, c.file)
			if err == nil || err.Error() != c.want {
				t.Errorf("got:\n%v\nwant:\n%s", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "geheim") {
				t.Errorf("a secret in %v", err)
			}
		})
	}
}

// TestNATSAddress: who may let other machines reach the embedded server without the switch.
func TestNATSAddress(t *testing.T) {
	cert, key := writeCertificate(t)
	for name, file := range map[string]string{
		"nkeys":         "nats: {listen: \":4222\", users: [{name: a, nkey: " + publicNKey + ", " + mayListen + "}]}\n",
		"TLS":           "nats: {listen: \":4222\", tls: {cert: " + cert + ", key: " + key + "}, users: [{name: a, password: geheim-geheim-geheim, " + mayListen + "}]}\n",
		"cluster's TLS": "cluster: {name: x, routes: [\"a:1\"], tls: {ca: " + cert + ", cert: " + cert + ", key: " + key + "}}\n",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := loadText(t, file); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestNATSCredentialsReachTheBus(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("password", []byte("geheim"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(Sources{Variable: lookupIn([]string{"HOLDFAST_NATS_URL=nats://a", "HOLDFAST_NATS_USER=u", "HOLDFAST_NATS_PASSWORD_FILE=password"})})
	if diff := cmp.Diff(bus.Auth{User: "u", PasswordFile: "password"}, c.NATS.auth()); diff != "" || err != nil {
		t.Error(err, diff)
	}
	c, err = loadText(t, userFile("name: a, password: geheim-geheim-geheim, roles: [answerer], namespaces: [chat], allow_responses: {max: 3, ttl: 5s}"))
	if err != nil {
		t.Fatal(err)
	}
	users, err := c.NATS.forBus()
	want := []bus.ServerUser{{Name: "a", Password: "geheim-geheim-geheim", Roles: []string{"answerer"}, Namespaces: []string{"chat"}, MaxResponses: 3, ResponseTTL: 5e9}}
	if diff := cmp.Diff(want, users); diff != "" || err != nil {
		t.Error(err, diff)
	}
	if text := c.Show(); strings.Contains(text, "geheim") {
		t.Error(text)
	}
}
