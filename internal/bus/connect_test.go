package bus

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/hub"
)

// The node goes to another server of the list when its own dies, and takes along what was not confirmed.
func TestAnotherServerOfTheList(t *testing.T) {
	own, other := bustest.StartProcess(t), bustest.StartProcess(t)
	proxies := []*bustest.Proxy{bustest.NewProxy(t, own.URL), bustest.NewProxy(t, other.URL)}
	proxies[1].Refuse() // nats.go tries the list in any order
	n := startNode(t, proxies[0].URL, func(c *Config) { c.URLs = append(c.URLs, proxies[1].URL) })
	c, _ := n.open(t)
	eventually(t, "open event confirmed", func() bool { return n.bus.Stats().Publisher.Confirmed == 1 })
	r := bustest.Record(t, other.URL, "holdfast.>")
	proxies[0].Refuse()
	c.Message(hub.Text, []byte("x"))
	proxies[1].Admit()
	if m := r.Wait(1)[0]; string(m.Data) != "x" {
		t.Errorf("%s", m.Subject)
	}
}

// A list may name one server of a cluster: the node goes to the others too when that one is lost.
func TestAnotherServerOfTheCluster(t *testing.T) {
	dir := t.TempDir()
	certificate(t, dir, "localhost")
	for name, args := range map[string][]string{
		"plain": nil,
		"TLS":   {"--tls", "--tlscert", dir + "/cert.pem", "--tlskey", dir + "/key.pem"},
	} {
		t.Run(name, func(t *testing.T) {
			servers := bustest.StartCluster(t, 2, append(args, "--user", "broker", "--pass", "secret")...)
			var opts []nats.Option
			var files TLS
			if len(args) > 0 {
				files.CAFile = dir + "/cert.pem"
				opts = append(opts, nats.RootCAs(files.CAFile))
			}
			at := func(p *bustest.Process) string {
				return strings.Replace(p.URL, "127.0.0.1", "broker:secret@localhost", 1)
			}
			r := bustest.Record(t, at(servers[1]), "holdfast.*.message.>", opts...)
			n := startNode(t, at(servers[0]), func(c *Config) { c.TLS = files })
			c, _ := n.open(t)
			eventually(t, "open event confirmed", func() bool { return n.bus.Stats().Publisher.Confirmed == 1 })
			servers[0].Kill()
			c.Message(hub.Text, []byte("x"))
			if m := r.Wait(1)[0]; string(m.Data) != "x" {
				t.Errorf("%s", m.Subject)
			}
			eventually(t, "all connections are back", n.bus.Connected)
			servers[0].Start()
			servers[1].Kill()
			eventually(t, "all connections are back again", func() bool {
				return n.bus.Stats().Publisher.Reconnects >= 2 && n.bus.Connected()
			})
		})
	}
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	pair, pool := certificate(t, dir)
	url := bustest.Server(t, func(o *server.Options) {
		o.TLS, o.TLSVerify = true, true
		o.TLSConfig = &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
	})
	files := TLS{CAFile: dir + "/cert.pem", CertFile: dir + "/cert.pem", KeyFile: dir + "/key.pem"}
	proxy := bustest.NewProxy(t, strings.Replace(url, "tls://", "nats://", 1))
	got := 0
	r := bustest.RecordFunc(t, url, "holdfast.*.message.>", func(*nats.Msg) { got++ },
		nats.RootCAs(files.CAFile), nats.ClientCert(files.CertFile, files.KeyFile))
	n := startNode(t, strings.Replace(proxy.URL, "nats://", "tls://", 1), func(c *Config) { c.TLS = files })
	c, s := n.open(t)
	const messages = 1000
	for i := range messages {
		for !c.Message(hub.Binary, make([]byte, 20_000)) {
			<-s.room
		}
		if i == messages/2 {
			proxy.Cut()
		}
	}
	n.closeBus(t)
	if !r.Until(func() bool { return got >= messages }) {
		t.Errorf("%d of %d messages", got, messages)
	}
	_, err := Connect(t.Context(), Config{URLs: []string{url}, ConnectTimeout: 3 * time.Second, Logger: quiet})
	if err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("without the CA: %v", err)
	}
}

// certificate makes one for these names, or else for 127.0.0.1, that is its own CA, in cert.pem and key.pem.
func certificate(t *testing.T, dir string, names ...string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: names,
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		KeyUsage:    x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	if len(names) == 0 {
		template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	for name, data := range map[string][]byte{"cert.pem": certPEM, "key.pem": keyPEM} {
		if err := os.WriteFile(dir+"/"+name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	return pair, pool
}
