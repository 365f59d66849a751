package bus

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
)

func (b *logBuffer) has(text string) bool { return strings.Contains(b.String(), text) }

// clusterServer is a server that waits for others, for as long as the test.
type clusterServer struct {
	log  *logBuffer
	stop func() error // its error
}

func startClusterServer(t *testing.T, c ClusterConfig) clusterServer {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	log, done := &logBuffer{}, make(chan error, 1)
	c.Name = "c"
	go func() {
		s, err := StartServer(ctx, ServerConfig{
			Listen: "127.0.0.1:0", StoreDir: t.TempDir(), ServerName: "s-" + c.Listen[len(c.Listen)-5:], Cluster: c,
			Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		})
		if err == nil {
			s.Shutdown(context.Background())
		}
		done <- err
	}()
	stop := sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { _ = stop() })
	return clusterServer{log, stop}
}

func TestWaitForTheClusterEndsWithTheContext(t *testing.T) {
	at := bustest.FreeAddresses(t, 3)
	s := startClusterServer(t, ClusterConfig{Listen: at[0], Routes: at})
	eventually(t, "it says what it waits for", func() bool {
		return s.log.has("waiting for a majority of the cluster: 1 of 3 servers seen")
	})
	if err := s.stop(); !errors.Is(err, context.Canceled) || !strings.HasPrefix(err.Error(), "embedded nats: cluster c: ") {
		t.Errorf("it ends with %v", err)
	}
}

func TestServersOfAClusterShareASecret(t *testing.T) {
	const right, wrong = "the-right-secret", "the-wrong-secret"
	at := bustest.FreeAddresses(t, 3)
	a := startClusterServer(t, ClusterConfig{Listen: at[0], Routes: at, Secret: right})
	b := startClusterServer(t, ClusterConfig{Listen: at[1], Routes: at, Secret: wrong})
	eventually(t, "one refuses the other", func() bool { return a.log.has("Authorization") || a.log.has("authentication error") })
	eventually(t, "the other is told", func() bool { return b.log.has("Authorization") || b.log.has("authentication error") })
	if err := errors.Join(a.stop(), b.stop()); !errors.Is(err, context.Canceled) {
		t.Errorf("they are ready: %v", err)
	}
	for _, log := range []string{a.log.String(), b.log.String()} {
		for _, secret := range []string{right, wrong, password(right, routePurpose), password(wrong, routePurpose)} {
			if strings.Contains(log, secret) {
				t.Errorf("%s is in the log:\n%s", secret, log)
			}
		}
		if strings.Contains(log, "2 of 3 servers seen") {
			t.Errorf("they have met:\n%s", log)
		}
	}
}

// A cluster deletes streams that it does not know, so they must not come into one.
func TestStreamsOfALoneServerAreKeptOutOfClusters(t *testing.T) {
	dir := t.TempDir()
	s := startServer(t, dir)
	nc := bustest.Dial(t, s.URL())
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "MINE", Subjects: []string{"x"}}); err != nil {
		t.Fatal(err)
	}
	nc.Close()
	s.Shutdown(t.Context())
	at := bustest.FreeAddresses(t, 1)
	c := ServerConfig{Listen: "127.0.0.1:0", StoreDir: dir, ServerName: "here", Logger: quiet}
	c.Cluster = ClusterConfig{Name: "c", Listen: at[0], Routes: at}
	_, err = StartServer(t.Context(), c)
	if err == nil || !strings.Contains(err.Error(), "has the stream MINE of a server without a cluster") || strings.Contains(err.Error(), "\n") {
		t.Errorf("the start answers %v", err)
	}
}

func TestClusterErrorsAreOneClearLine(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for listen, want := range map[string]string{
		l.Addr().String(): "address already in use",
		"6222":            `cluster address "6222": want host:port`,
	} {
		c := ServerConfig{Listen: "127.0.0.1:0", StoreDir: t.TempDir(), ServerName: "here", Logger: quiet}
		c.Cluster = ClusterConfig{Name: "c", Listen: listen, Routes: []string{"127.0.0.1:1"}}
		if _, err := StartServer(t.Context(), c); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %s", listen, err, want)
		}
	}
}

// JetStream's IDs of servers do not change: what was removed by name once is removed by it now.
func TestPeerIDIsJetStreams(t *testing.T) {
	at := bustest.FreeAddresses(t, 2)
	c := ServerConfig{Listen: "127.0.0.1:0", StoreDir: t.TempDir(), ServerName: "here", Logger: quiet}
	c.Cluster = ClusterConfig{Name: "c", Listen: at[0], Routes: at}
	opts, err := c.options()
	if err != nil {
		t.Fatal(err)
	}
	ns, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	defer ns.WaitForShutdown()
	defer ns.Shutdown()
	if got := ns.Node(); got != peerID("here") {
		t.Errorf("JetStream calls it %s, we %s", got, peerID("here"))
	}
}
