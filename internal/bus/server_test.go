package bus

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
)

var quiet = slog.New(slog.DiscardHandler)

func startServer(t testing.TB, dir string) *Server {
	t.Helper()
	s, err := StartServer(context.Background(), ServerConfig{Listen: "127.0.0.1:0", StoreDir: dir, ServerName: "here", Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEmbeddedServerKeepsStreamsOverARestart(t *testing.T) {
	dir := t.TempDir()
	s := startServer(t, dir)
	nc := bustest.Dial(t, s.URL())
	if nc.MaxPayload() != DefaultMaxPayload || nc.ConnectedServerName() != "here" {
		t.Errorf("max payload %d, name %s", nc.MaxPayload(), nc.ConnectedServerName())
	}
	js, _ := jetstream.New(nc)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "s", []byte("kept")); err != nil {
		t.Fatal(err)
	}
	nc.Close()
	s.Shutdown(t.Context())

	s = startServer(t, dir)
	defer s.Shutdown(context.Background())
	js, _ = jetstream.New(bustest.Dial(t, s.URL()))
	stream, err := js.Stream(t.Context(), "S")
	if err != nil {
		t.Fatal(err)
	}
	m, err := stream.GetMsg(t.Context(), 1)
	if err != nil || string(m.Data) != "kept" {
		t.Errorf("%v %v", m, err)
	}
}

func TestEmbeddedServerErrorsAreOneClearLine(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file := t.TempDir() + "/file"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		listen, dir string
		want        []string
	}{
		"port in use":   {l.Addr().String(), t.TempDir(), []string{l.Addr().String(), "address already in use"}},
		"not a port":    {"127.0.0.1:x", t.TempDir(), []string{`"127.0.0.1:x"`, "port"}},
		"not host:port": {"4222", t.TempDir(), []string{`"4222"`, "host:port"}},
		"not a dir":     {"127.0.0.1:0", file, []string{"store directory", file, "not a directory"}},
		"not writable":  {"127.0.0.1:0", "/proc/holdfast", []string{"store directory", "/proc/holdfast"}},
		"no dir":        {"127.0.0.1:0", "", []string{"no store directory"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := StartServer(context.Background(), ServerConfig{Listen: test.listen, StoreDir: test.dir, Logger: quiet})
			if err == nil {
				s.Shutdown(context.Background())
				t.Fatal("started")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
					t.Errorf("%q lacks %q", err, want)
				}
			}
		})
	}
}

// A subscriber that reads nothing for a while, and then slowly, gets what the server still holds for it.
func TestEmbeddedServerStopsWhenSubscribersHaveEverything(t *testing.T) {
	s := startServer(t, t.TempDir())
	const messages = 4000
	got := make(chan int, messages)
	reading := new(sync.RWMutex)
	nc, err := nats.Connect(s.URL(), nats.NoReconnect(), nats.Timeout(20*time.Second), nats.SetCustomDialer(slowDialer{reading}))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := nc.Subscribe("x", func(m *nats.Msg) { got <- len(m.Data) }); err != nil || nc.Flush() != nil {
		t.Fatal(err)
	}
	pub := bustest.Dial(t, s.URL(), nats.NoReconnect())
	reading.Lock()
	resume := sync.OnceFunc(reading.Unlock)
	defer resume()
	for range messages {
		if err := pub.Publish("x", make([]byte, 5000)); err != nil {
			t.Fatal(err)
		}
	}
	if err := pub.Flush(); err != nil {
		t.Fatal(err)
	}
	if s.pending() == 0 {
		t.Error("nothing is pending: the test shows nothing")
	}
	begin := time.Now()
	resume()
	s.Shutdown(t.Context())
	for i := range messages {
		select {
		case <-got:
		case <-time.After(10 * time.Second):
			t.Fatalf("%d of %d messages, shut down in %v", i, messages, time.Since(begin))
		}
	}
}

// A subscriber that reads nothing holds the stop up no longer than the context allows.
func TestEmbeddedServerStopIsBounded(t *testing.T) {
	t.Parallel() // it waits most of the time
	s := startServer(t, t.TempDir())
	c, err := net.Dial("tcp", strings.TrimPrefix(s.URL(), "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "CONNECT {}\r\nSUB x 1\r\nPING\r\n"); err != nil {
		t.Fatal(err)
	}
	pub := bustest.Dial(t, s.URL(), nats.NoReconnect())
	eventually(t, "pending bytes", func() bool {
		return pub.Publish("x", make([]byte, 1<<20)) == nil && pub.Flush() == nil && s.pending() > 8<<20 // more than the kernel takes
	})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	begin := time.Now()
	s.Shutdown(ctx)
	if took := time.Since(begin); took < 200*time.Millisecond || took > 5*time.Second {
		t.Errorf("shut down in %v", took)
	}
}

// slowDialer makes connections that read slowly, and not while somebody else has the lock.
type slowDialer struct{ reading *sync.RWMutex }

func (d slowDialer) Dial(network, address string) (net.Conn, error) {
	c, err := net.Dial(network, address)
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetReadBuffer(16 << 10)
	}
	return slowConn{c, d.reading}, err
}

type slowConn struct {
	net.Conn

	reading *sync.RWMutex
}

func (c slowConn) Read(b []byte) (int, error) {
	time.Sleep(200 * time.Microsecond)
	c.reading.RLock()
	c.reading.RUnlock() //nolint:staticcheck // who has begun to read goes on
	return c.Conn.Read(b)
}

func TestConnectFailsWithOneClearLine(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	port := strconv.Itoa(closed.Addr().(*net.TCPAddr).Port)
	for name, test := range map[string]struct {
		url  string
		auth Auth
		want []string
	}{
		"nobody":     {"nats://me:secret@127.0.0.1:" + port, Auth{}, []string{"nats://127.0.0.1:" + port, "connection refused"}},
		"silence":    {"nats://" + l.Addr().String(), Auth{}, []string{l.Addr().String(), "does not answer"}},
		"no URL":     {"", Auth{}, []string{"URL"}},
		"two ways":   {"nats://127.0.0.1:1", Auth{User: "a", Token: "b"}, []string{"at most one"}},
		"no creds":   {"nats://127.0.0.1:" + port, Auth{CredentialsFile: "/none.creds"}, []string{"/none.creds"}},
		"no nkey":    {"nats://127.0.0.1:" + port, Auth{NKeyFile: "/none.nk"}, []string{"/none.nk"}},
		"credential": {authServer(t), Auth{User: "broker", Password: "wrong"}, []string{"uthorization"}},
	} {
		t.Run(name, func(t *testing.T) {
			begin := time.Now()
			_, err := Connect(t.Context(), Config{URLs: []string{test.url}, Auth: test.auth, ConnectTimeout: 3 * time.Second, Logger: quiet})
			if err == nil {
				t.Fatal("connected")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) || strings.ContainsAny(err.Error(), "\n") || strings.Contains(err.Error(), "secret") {
					t.Errorf("%q lacks %q", err, want)
				}
			}
			if took := time.Since(begin); took > 10*time.Second {
				t.Errorf("took %v", took)
			}
			t.Log(err)
		})
	}
}
