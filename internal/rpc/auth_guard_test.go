package rpc

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/holdfast-broker/holdfast/internal/hub"
	"github.com/holdfast-broker/holdfast/internal/hub/hubtest"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// logged is a log that a test reads while others write.
type logged struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(b)
}

// take answers the lines since the last time.
func (l *logged) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.out.Reset()
	return l.out.String()
}

func logTo(l *logged) *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func TestTokens(t *testing.T) {
	var current atomic.Pointer[Identities]
	both := identity("both", "read")
	both.Tokens = append(both.Tokens, HashToken("the-token-before-this-one"))
	current.Store(NewIdentities([]Identity{identity("reader", "read"), identity("sender", "send"), both}, nil))
	log := &logged{}
	b := start(t, Config{Identities: current.Load, Logger: logTo(log)})
	count := func(ctx context.Context) error { return second(b.client.Count(ctx, &holdfastv1.CountRequest{})) }
	watch := func(ctx context.Context) error {
		stream, err := b.client.Watch(ctx, &holdfastv1.WatchRequest{})
		if err != nil {
			return err
		}
		return second(stream.Recv())
	}
	reader := tokenOf("reader")
	for what, authorization := range map[string][]string{
		"none":             nil,
		"empty":            {""},
		"an empty token":   {"Bearer "},
		"no token":         {"Bearer"},
		"wrong":            {"Bearer not-" + reader},
		"a part of it":     {"Bearer " + reader[:len(reader)-1]},
		"more than it":     {"Bearer " + reader + "x"},
		"other capitals":   {"Bearer " + strings.ToUpper(reader)},
		"no scheme":        {reader},
		"another scheme":   {"Basic " + reader},
		"the hash":         {"Bearer " + string(hexOf(HashToken(reader)))},
		"two at once":      {"Bearer " + reader, "Bearer " + reader},
		"a wrong one more": {"Bearer " + reader, "Bearer x"},
	} {
		for kind, call := range map[string]func(context.Context) error{"unary": count, "stream": watch} {
			err := call(bearing(t.Context(), authorization...))
			wantRefusal(t, err, hub.Unauthenticated)
			lines := log.take()
			if strings.Contains(err.Error(), reader) || strings.Contains(lines, reader[:20]) {
				t.Errorf("%s, %s: the token is in %q or in the log:\n%s", what, kind, err, lines)
			}
			if !strings.Contains(lines, "msg=audit") || !strings.Contains(lines, "result=UNAUTHENTICATED") {
				t.Errorf("%s, %s: the log has\n%s", what, kind, lines)
			}
		}
	}
	for what, authorization := range map[string]string{
		"right": "Bearer " + reader, "small letters": "bearer " + reader, "the one before": "Bearer the-token-before-this-one",
	} {
		if err := count(bearing(t.Context(), authorization)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	wantRefusal(t, count(as(t.Context(), "sender")), hub.PermissionDenied) // another's is not enough
	current.Store(NewIdentities([]Identity{identity("sender", "read")}, nil))
	wantRefusal(t, count(as(t.Context(), "reader")), hub.Unauthenticated)
	if err := count(as(t.Context(), "sender")); err != nil {
		t.Errorf("after a change: %v", err)
	}
}

func hexOf(h TokenHash) []byte {
	const digits = "0123456789abcdef"
	var out []byte
	for _, b := range h {
		out = append(out, digits[b>>4], digits[b&15])
	}
	return out
}

func TestHealthAndReflectionNeedNoCredentials(t *testing.T) {
	b := start(t, Config{Identities: func() *Identities { return NewIdentities([]Identity{identity("a", "read")}, nil) }})
	health := healthv1.NewHealthClient(b.conn)
	if r, err := health.Check(t.Context(), &healthv1.HealthCheckRequest{}); err != nil || r.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		t.Errorf("health: %v, %v", r, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	watch, err := health.Watch(ctx, &healthv1.HealthCheckRequest{})
	if err == nil {
		_, err = watch.Recv()
	}
	if err != nil {
		t.Errorf("health watch: %v", err)
	}
	stream, err := reflectionv1.NewServerReflectionClient(b.conn).ServerReflectionInfo(ctx)
	if err == nil {
		err = stream.Send(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}})
	}
	if err == nil {
		_, err = stream.Recv()
	}
	if err != nil {
		t.Errorf("reflection: %v", err)
	}
}

// TestAudit: one line for each of the calls that cut somebody off, and for each that was refused, and none for others.
func TestAudit(t *testing.T) {
	log := &logged{}
	_, nodes := newClusterWith(t, 2, func(c *Config) {
		guardedBy(identity("boss", Verbs...).only([]string{"default"}, []string{"*"}), identity("reader", "read"))(c)
		c.Logger = logTo(log)
	})
	audited := map[string]bool{
		"ConnectionService/Close": true, "ConnectionService/Terminate": true, "ConnectionService/Pause": true,
		"GroupService/Close": true, "NodeService/DrainNode": true,
	}
	for _, m := range nodes {
		for name, c := range commands {
			id, _ := m.open(t)
			foreign, _, err := hubtest.Open(m.hub, elsewhere)
			if err != nil {
				t.Fatal(err)
			}
			want := func(what, result string) {
				t.Helper()
				lines := log.take()
				if strings.Count(lines, "msg=audit") != 1 || !strings.Contains(lines, "method="+name+" result="+result+" identity=") {
					t.Errorf("%s, %s: the log has\n%s", name, what, lines)
				}
				if strings.Contains(lines, "token-of") {
					t.Errorf("a token is in the log:\n%s", lines)
				}
				aboutOne := strings.HasPrefix(name, "ConnectionService/") && audited[name]
				if aboutOne && !strings.Contains(lines, "target="+id) && !strings.Contains(lines, "target="+foreign.ID().String()) {
					t.Errorf("%s, %s: which connection it was about is not in\n%s", name, what, lines)
				}
			}
			err = c.call(as(t.Context(), "boss"), nodes[0], id)
			if audited[name] {
				want("done", "OK")
			} else if lines := log.take(); lines != "" || err != nil {
				t.Errorf("%s: %v, and the log has\n%s", name, err, lines)
			}
			if c.verb != "read" {
				_ = c.call(as(t.Context(), "reader"), nodes[0], id)
				want("refused", "PERMISSION_DENIED")
			}
			if aboutOne := audited[name] && strings.HasPrefix(name, "ConnectionService/"); aboutOne && m == nodes[0] || name == "ConnectionService/Get" || name == "ConnectionService/Watch" {
				_ = c.call(as(t.Context(), "boss"), nodes[0], foreign.ID().String())
				want("foreign", "PERMISSION_DENIED")
			}
		}
	}
}

// authority signs certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, pool: x509.NewCertPool()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.cert, a.key = template, nil
	made := a.sign(template)
	a.cert, a.key = made.Leaf, made.PrivateKey.(*ecdsa.PrivateKey)
	a.pool.AddCert(a.cert)
	return a
}

// sign makes a certificate; the first one is signed by itself.
func (a *authority) sign(template *x509.Certificate) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	signer := a.key
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func (a *authority) client(name string, until time.Time) tls.Certificate {
	return a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name, Organization: []string{"Acme"}}, NotAfter: until,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

// overTLS starts a server on TCP and answers how to call it with credentials.
func overTLS(t *testing.T, a *authority, c Config) func(credentials.TransportCredentials) holdfastv1.ConnectionServiceClient {
	t.Helper()
	c.TLS = &tls.Config{
		MinVersion: tls.VersionTLS12, ClientCAs: a.pool, ClientAuth: tls.VerifyClientCertIfGiven,
		Certificates: []tls.Certificate{a.sign(&x509.Certificate{
			SerialNumber: big.NewInt(3), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		})},
	}
	c.Logger = slog.New(slog.DiscardHandler)
	s := New(hub.New(hub.NewNodeID(), &hubtest.Publisher{}), c)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop(context.Background())
		<-served
	})
	return func(creds credentials.TransportCredentials) holdfastv1.ConnectionServiceClient {
		conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(creds))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return holdfastv1.NewConnectionServiceClient(conn)
	}
}

func TestClientCertificates(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	worker := identity("worker", "read")
	worker.Subject, worker.Tokens = "CN=worker,O=Acme", nil
	hour := time.Now().Add(time.Hour)
	dial := overTLS(t, ours, Config{Identities: func() *Identities {
		return NewIdentities([]Identity{worker, identity("sender", "send"), identity("reader", "read")}, nil)
	}})
	call := func(ctx context.Context, certs ...tls.Certificate) error {
		c := dial(credentials.NewTLS(&tls.Config{RootCAs: ours.pool, Certificates: certs}))
		return second(c.Count(ctx, &holdfastv1.CountRequest{}))
	}
	if err := call(t.Context(), ours.client("worker", hour)); err != nil {
		t.Errorf("ours: %v", err)
	}
	if err := call(as(t.Context(), "reader")); err != nil {
		t.Errorf("a token instead: %v", err)
	}
	wantRefusal(t, call(t.Context()), hub.Unauthenticated)
	wantRefusal(t, call(t.Context(), ours.client("stranger", hour)), hub.Unauthenticated)
	wantRefusal(t, call(as(t.Context(), "sender"), ours.client("worker", hour)), hub.PermissionDenied) // the token counts
	wantRefusal(t, call(bearing(t.Context(), "Bearer wrong"), ours.client("worker", hour)), hub.Unauthenticated)
	for what, cert := range map[string]tls.Certificate{
		"expired": ours.client("worker", time.Now().Add(-time.Minute)), "of another CA": theirs.client("worker", hour),
	} {
		if err := call(t.Context(), cert); status.Code(err) != codes.Unavailable {
			t.Errorf("%s: %v", what, err)
		}
	}
	plain := dial(insecure.NewCredentials())
	if err := second(plain.Count(as(t.Context(), "reader"), &holdfastv1.CountRequest{})); status.Code(err) != codes.Unavailable {
		t.Errorf("plain text: %v", err)
	}
}

// TestCertificatesExpireDuringAConnection: it may last for days.
func TestCertificatesExpireDuringAConnection(t *testing.T) {
	a := newAuthority(t)
	if _, err := AnyCertificate().bySubject(a.client("worker", time.Now().Add(time.Minute)).Leaf); err != nil {
		t.Error(err)
	}
	if _, err := AnyCertificate().bySubject(a.client("worker", time.Now().Add(-time.Minute)).Leaf); !errors.Is(err, errExpiredCert) {
		t.Error(err)
	}
}

// TestAnyCertificate is a port with a CA and no identities.
func TestAnyCertificate(t *testing.T) {
	ours := newAuthority(t)
	dial := overTLS(t, ours, Config{Identities: AnyCertificate})
	call := func(ctx context.Context, certs ...tls.Certificate) error {
		c := dial(credentials.NewTLS(&tls.Config{RootCAs: ours.pool, Certificates: certs}))
		return second(c.Count(ctx, &holdfastv1.CountRequest{}))
	}
	if err := call(t.Context(), ours.client("anybody", time.Now().Add(time.Hour))); err != nil {
		t.Error(err)
	}
	wantRefusal(t, call(t.Context()), hub.Unauthenticated)
	wantRefusal(t, call(as(t.Context(), "reader")), hub.Unauthenticated)
}
