package main_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
)

// natsMarker is a secret, and part of no other word.
const natsMarker = "geheim-0123456789"

func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// Each way to say who we are is taken by a NATS server that wants it, and a wrong secret is a start that fails
// with a line that does not have it.
func TestExternalNATSAsksWhoWeAre(t *testing.T) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, _ := pair.PublicKey()
	seed, _ := pair.Seed()
	stranger, _ := nkeys.CreateUser()
	wrongSeed, _ := stranger.Seed()
	user := "authorization {users = [{user: broker, password: " + natsMarker + "}]}"
	token := "authorization {token: " + natsMarker + "}"
	for name, c := range map[string]struct {
		conf         string
		right, wrong []string
	}{
		"user": {
			user,
			[]string{"--nats-user=broker", "--nats-password=" + natsMarker},
			[]string{"--nats-user=broker", "--nats-password=wrong-" + natsMarker},
		},
		"password file": {
			user,
			[]string{"--nats-user=broker", "--nats-password-file=" + file(t, natsMarker+"\n")},
			[]string{"--nats-user=broker", "--nats-password-file=" + file(t, "wrong-"+natsMarker)},
		},
		"token":      {token, []string{"--nats-token=" + natsMarker}, []string{"--nats-token=wrong-" + natsMarker}},
		"token file": {token, []string{"--nats-token-file=" + file(t, natsMarker)}, []string{"--nats-token-file=" + file(t, "wrong-"+natsMarker)}},
		"nkey": {
			"authorization {users = [{nkey: " + public + "}]}",
			[]string{"--nats-nkey-file=" + file(t, string(seed))},
			[]string{"--nats-nkey-file=" + file(t, string(wrongSeed))},
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := bustest.StartProcess(t, "-c", file(t, c.conf))
			b := brokertest.Start(t, append(c.right, "--nats-url="+server.URL, "--log-level=debug")...)
			b.Stop()
			refused := brokertest.Launch(t, brokertest.Args(t, append(c.wrong, "--nats-url="+server.URL, "--log-level=debug")...)...)
			if code := refused.Wait(); code != 1 || !strings.Contains(refused.Stderr(), "uthorization") {
				t.Errorf("with a wrong one it ends with %d:\n%s", code, refused.Stderr())
			}
			for _, text := range []string{b.Stderr(), refused.Stderr()} {
				for _, secret := range []string{natsMarker, string(seed), string(wrongSeed)} {
					if strings.Contains(text, secret) {
						t.Errorf("a secret in the log:\n%s", text)
					}
				}
			}
		})
	}
}

// The embedded server beyond loopback lets in whom it knows, over TLS, and nobody else; the broker itself is one of
// them.
func TestEmbeddedNATSAsksWhoYouAre(t *testing.T) {
	cert, key := filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	writeCertificate(t, cert, key, 1)
	config := brokertest.Config(t, `
nats:
  users:
    - {name: ear, password: `+natsMarker+`, roles: [listener], namespaces: [default]}
  tls: {cert: `+cert+`, key: `+key+`}
`)
	b := brokertest.Start(t, config, "--nats-listen=0.0.0.0:0", "--log-level=debug")
	if !strings.HasPrefix(b.NATS, "tls://") {
		t.Errorf("the ready line says %s", b.NATS)
	}
	url := strings.Replace(b.NATS, "0.0.0.0", "127.0.0.1", 1)
	trusted := nats.Secure(trusting(t, cert))
	r := bustest.Record(t, url, "holdfast.default.>", nats.UserInfo("ear", natsMarker), trusted)
	wstest.Dial(t, b.URL("/"), nil)
	r.Wait(1)
	for what, opts := range map[string][]nats.Option{
		"nothing":          {trusted},
		"a wrong password": {trusted, nats.UserInfo("ear", "wrong")},
		"plain text":       {nats.UserInfo("ear", natsMarker)},
	} {
		nc, err := nats.Connect(strings.Replace(url, "tls://", "nats://", 1), append(opts, nats.Timeout(brokertest.Patience))...)
		if err == nil || what != "plain text" && !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("with %s: %v", what, err)
			nc.Close()
		}
	}
	if strings.Contains(b.Stderr(), natsMarker) {
		t.Errorf("a secret in the log:\n%s", b.Stderr())
	}
}

func trusting(t *testing.T, cert string) *tls.Config {
	t.Helper()
	pem, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return &tls.Config{RootCAs: pool, ServerName: "localhost"}
}
