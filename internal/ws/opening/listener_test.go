package opening

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

const (
	start     = "GET /a?b=c HTTP/1.1\r\nHost: broker.example\r\n"
	upgrade   = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
	handshake = start + upgrade + "User-Agent: test\r\n\r\n"
)

// serve serves a handler on a port of its own, behind a Listener or, to compare, without.
func serve(t *testing.T, server *http.Server, plain bool) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = l.Addr().String()
	o := Listen(l, server)
	if plain {
		l = o
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(l) })
	t.Cleanup(func() {
		_ = server.Close()
		serving.Wait()
		o.Wait()
	})
	return address
}

func dial(t *testing.T, address, sent string) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(nc, sent); err != nil {
		t.Fatal(err)
	}
	return nc
}

// read reads all that comes, to the end of the stream.
func read(t *testing.T, nc net.Conn) string {
	t.Helper()
	got, err := io.ReadAll(nc)
	if err != nil {
		t.Fatalf("%v after %q", err, got)
	}
	return string(got)
}

// take takes the connection of a request, and answers it.
func take(t *testing.T, w http.ResponseWriter, answer string) (nc net.Conn, early []byte) {
	t.Helper()
	nc, early = w.(*answerWriter).TakeConn()
	_, _ = io.WriteString(nc, answer)
	return nc, early
}

// tell is a handler that answers what it was asked.
func tell(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("X-Test", "a")
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("Connection", "close")
	w.WriteHeader(http.StatusForbidden)
	_, _ = fmt.Fprintf(w, "%s %s %s %d.%d %q %q %d %q\n", r.Method, r.RequestURI, r.Proto, r.ProtoMajor, r.ProtoMinor,
		r.URL, r.Host, r.ContentLength, body)
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		_, _ = fmt.Fprintf(w, "%s: %q\n", name, r.Header[name])
	}
}

// TestRequestsAreThoseOfNetHTTP sends the same bytes to a server behind a Listener and to one without: whoever reads
// them, the handler sees the same request and the client the same answer.
func TestRequestsAreThoseOfNetHTTP(t *testing.T) {
	var mu sync.Mutex
	var own bool
	behind := serve(t, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		_, own = w.(*answerWriter)
		mu.Unlock()
		tell(w, r)
	})}, true)
	without := serve(t, &http.Server{Handler: http.HandlerFunc(tell)}, false)
	for name, c := range map[string]struct {
		sent string
		own  bool
	}{
		"handshake":          {handshake, true},
		"fields in all ways": {start + upgrade + "a: 1\r\nA:2\r\nSEC-WEBSOCKET-key: \t k \r\nX:\r\n\r\n", true},
		"escapes":            {strings.Replace(handshake, "/a?b=c", "/%c3%a4/b%2fc?d=%zz", 1), true},
		"no Upgrade":         {start + "\r\n", false},
		"HTTP/1.0":           {"GET / HTTP/1.0\r\n\r\n", false},
		"POST":               {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", false},
		"a body":             {start + upgrade + "Content-Length: 3\r\n\r\nabc", false},
		"a chunked body":     {start + upgrade + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", false},
		"expecting":          {start + upgrade + "Expect: 100-continue\r\nContent-Length: 0\r\n\r\n", false},
		"absolute form":      {strings.Replace(handshake, "/a?b=c", "http://other.example/a", 1), false},
		"no URL":             {strings.Replace(handshake, "/a?b=c", "/%zz", 1), false},
		"an unclean path":    {strings.Replace(handshake, "/a?b=c", "/a/%2e%2e/b", 1), false},
		"two slashes":        {strings.Replace(handshake, "/a?b=c", "//a", 1), false},
		"no Host":            {"GET / HTTP/1.1\r\n" + upgrade + "\r\n", false},
		"two Hosts":          {start + "Host: other\r\n" + upgrade + "\r\n", false},
		"folded":             {start + upgrade + "A: b\r\n c\r\n\r\n", false},
		"LF alone":           {strings.ReplaceAll(handshake, "\r\n", "\n"), false},
		"not ASCII":          {start + upgrade + "A: ä\r\n\r\n", false},
		"for old caches":     {start + upgrade + "Pragma: no-cache\r\n\r\n", false},
		"for all caches":     {start + upgrade + "Pragma: no-cache\r\nCache-Control: no-cache\r\n\r\n", true},
		"a long head":        {start + upgrade + "A: " + strings.Repeat("x", maxHead) + "\r\n\r\n", false},
		"no HTTP":            {"SSH-2.0-OpenSSH_9.6\r\n", false},
		"HTTP/2":             {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			own = false
			got, want := exchange(t, behind, c.sent), exchange(t, without, c.sent)
			if got != want {
				t.Errorf("answered %s\nwant %s", got, want)
			}
			if own != c.own {
				t.Errorf("read by us: %v", own)
			}
		})
	}
}

// exchange sends bytes and answers what came, without its date and with its fields in order.
func exchange(t *testing.T, address, sent string) string {
	t.Helper()
	all := read(t, dial(t, address, sent))
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(all)), nil)
	if err != nil {
		t.Fatalf("%q: %v", all, err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%q: %v", all, err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode == http.StatusForbidden && resp.Header.Get("Date") == "" {
		t.Error("it has no date")
	}
	resp.Header.Del("Date")
	return fmt.Sprintf("%s %s, close: %v, %d bytes: %q, %q", resp.Proto, resp.Status, resp.Close, resp.ContentLength, resp.Header, body)
}

// TestHeadInPieces: neither where its pieces end nor what comes behind it matters.
func TestHeadInPieces(t *testing.T) {
	const frames = "\x81\x80abcd\r\n\r\n"
	early := make(chan string, 1)
	address := serve(t, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		nc, read := take(t, w, "done")
		_ = nc.Close()
		early <- string(read)
	})}, true)
	for cut := range handshake {
		nc := dial(t, address, handshake[:cut])
		_, _ = io.WriteString(nc, handshake[cut:]+frames)
		if got := read(t, nc); got != "done" {
			t.Fatalf("cut at %d: %q", cut, got)
		}
		// What came later is still in the socket.
		if got := <-early; !strings.HasPrefix(frames, got) {
			t.Fatalf("cut at %d: behind it came %q", cut, got)
		}
	}
}

// TestManyAtOnce: nobody waits for another, and nobody is forgotten, however many came before.
func TestManyAtOnce(t *testing.T) {
	address := serve(t, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		nc, _ := take(t, w, "done")
		_ = nc.Close()
	})}, true)
	for range 3 {
		var waiting []net.Conn
		for range 3 * maxIdle {
			waiting = append(waiting, dial(t, address, start))
		}
		for _, nc := range slices.Backward(waiting) {
			_, _ = io.WriteString(nc, upgrade+"\r\n")
			if got := read(t, nc); got != "done" {
				t.Fatalf("%q", got)
			}
		}
	}
}

func TestTakenConnectionIsNobodyElses(t *testing.T) {
	var log bytes.Buffer
	server := &http.Server{
		ReadTimeout: 2 * time.Second, ErrorLog: slog.NewLogLogger(slog.NewTextHandler(&log, nil), slog.LevelInfo),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-r.Context().Done() // at the end of the time, although the client is there
			nc, _ := take(t, w, "taken")
			go func() {
				defer func() { _ = nc.Close() }()
				_, _ = io.CopyN(nc, nc, 5) // with no deadline any more
			}()
			http.Error(w, "not to be sent", http.StatusTeapot)
		}),
	}
	nc := dial(t, serve(t, server, true), handshake)
	got := make([]byte, 5)
	if _, err := io.ReadFull(nc, got); err != nil || string(got) != "taken" {
		t.Fatalf("%q, %v", got, err)
	}
	_ = server.Close() // ends neither
	_, _ = io.WriteString(nc, "hello")
	if got := read(t, nc); got != "hello" {
		t.Errorf("it echoed %q", got)
	}
	if log.Len() > 0 {
		t.Errorf("logged: %s", &log)
	}
}

// TestClientThatLeavesEndsTheContext: as net/http has it, whoever asks for Done is told; not of one that speaks early.
func TestClientThatLeavesEndsTheContext(t *testing.T) {
	asked, ended := make(chan struct{}), make(chan error)
	address := serve(t, &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		client := r.Context().(*presence)
		_ = client.Done()
		asked <- struct{}{}
		client.watcher.Wait()
		ended <- client.Err()
	})}, true)
	leaving, speaking := dial(t, address, handshake), dial(t, address, handshake)
	<-asked
	<-asked
	_ = leaving.Close()
	if err := <-ended; err == nil {
		t.Error("the client left, and nobody was told")
	}
	_, _ = io.WriteString(speaking, "early")
	if err := <-ended; err != nil {
		t.Errorf("the client spoke, and it was said that it left: %v", err)
	}
}

// TestTakingEndsTheLookAtTheClient: nobody else reads a connection that was taken, and its client has not left by that.
func TestTakingEndsTheLookAtTheClient(t *testing.T) {
	ended := make(chan error, 1)
	address := serve(t, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		client := r.Context().(*presence)
		_ = client.Done()
		nc, _ := take(t, w, "")
		client.watcher.Wait() // before anything comes
		ended <- client.Err()
		_, _ = io.CopyN(nc, io.MultiReader(strings.NewReader("taken"), nc), 10)
		_ = nc.Close()
	})}, true)
	nc := dial(t, address, handshake)
	if err := <-ended; err != nil {
		t.Errorf("the client is here, and it was said that it left: %v", err)
	}
	_, _ = io.WriteString(nc, "hello")
	if got := read(t, nc); got != "takenhello" {
		t.Errorf("it echoed %q", got)
	}
}

func TestContextNamesTheLocalAddress(t *testing.T) {
	address := make(chan string, 1)
	at := serve(t, &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		address <- r.Context().Value(http.LocalAddrContextKey).(net.Addr).String()
		if v := r.Context().Value(http.ServerContextKey); v != nil {
			t.Errorf("it names a server: %v", v)
		}
	})}, true)
	_ = read(t, dial(t, at, handshake))
	if got := <-address; got != at {
		t.Errorf("%s instead of %s", got, at)
	}
}

// TestHeadsHaveOneDeadline, whoever reads them.
func TestHeadsHaveOneDeadline(t *testing.T) {
	const limit = 300 * time.Millisecond
	address := serve(t, &http.Server{ReadTimeout: limit, Handler: http.HandlerFunc(tell)}, true)
	for name, sent := range map[string]string{
		"nothing":               "",
		"half a handshake":      handshake[:len(handshake)-2],
		"half of another":       "POST / HTTP/1.1\r\nHost: h\r\n",
		"more than is read":     start + "A: " + strings.Repeat("x", maxHead),
		"a body that is unread": "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nx",
	} {
		t.Run(name, func(t *testing.T) {
			nc := dial(t, address, sent)
			_, _ = io.Copy(io.Discard, nc) // ends by itself, or the patience of dial is over
			if _, err := nc.Read(make([]byte, 1)); err == nil || err.Error() == "i/o timeout" {
				t.Errorf("it was not cut off: %v", err)
			}
		})
	}
}

// TestDeadlineIsNotPutOff: the first deadline of the server is no later than that of the head.
func TestDeadlineIsNotPutOff(t *testing.T) {
	due := time.Now().Add(time.Hour)
	for name, c := range map[string]struct{ due, set, want time.Time }{
		"later":   {due, due.Add(1), due},
		"never":   {due, time.Time{}, due},
		"earlier": {due, due.Add(-1), due.Add(-1)},
		"no due":  {time.Time{}, due, due},
	} {
		d := &deadlines{}
		nc := &conn{Conn: d, due: c.due}
		_ = nc.SetReadDeadline(c.set)
		_ = nc.SetReadDeadline(due.Add(time.Hour))
		if want := []time.Time{c.want, due.Add(time.Hour)}; !slices.Equal(d.set, want) {
			t.Errorf("%s: %v, want %v", name, d.set, want)
		}
	}
}

type deadlines struct {
	net.Conn

	set []time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.set = append(d.set, t)
	return nil
}

// states writes down what a server's ConnState is told.
type states struct {
	mu      sync.Mutex
	told    map[string][]http.ConnState // by the client's address
	changed *sync.Cond
}

func newStates() *states {
	s := &states{told: make(map[string][]http.ConnState)}
	s.changed = sync.NewCond(&s.mu)
	return s
}

func (s *states) note(nc net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	client := nc.RemoteAddr().String()
	s.told[client] = append(s.told[client], state)
	s.changed.Broadcast()
}

// of answers what was told of a client, when that is so much.
func (s *states) of(client net.Addr, n int) []http.ConnState {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.told[client.String()]) < n {
		s.changed.Wait()
	}
	return s.told[client.String()]
}

func TestConnStates(t *testing.T) {
	s := newStates()
	server := &http.Server{ConnState: s.note, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/taken" {
			nc, _ := take(t, w, "")
			_ = nc.Close()
		}
		w.Header().Set("Connection", "close")
	})}
	address := serve(t, server, true)
	const accepted, active, taken, closed = http.StateNew, http.StateActive, http.StateHijacked, http.StateClosed
	for sent, want := range map[string][]http.ConnState{
		"GET /taken HTTP/1.1\r\nHost: h\r\n" + upgrade + "\r\n":   {accepted, taken},
		"GET /refused HTTP/1.1\r\nHost: h\r\n" + upgrade + "\r\n": {accepted, closed},
		start + "\r\n": {accepted, accepted, active, closed},
		"GET /left HTTP/1.1\r\nHost: h\r\nX: Y\r\n": {accepted, accepted, active, closed},
	} {
		nc := dial(t, address, sent)
		_ = nc.(*net.TCPConn).CloseWrite()
		_ = read(t, nc)
		if got := s.of(nc.LocalAddr(), len(want)); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", sent, got, want)
		}
	}
}

// TestClose: connections that are read end at once; one that is answered has its answer first, and its handler is told.
func TestClose(t *testing.T) {
	asked := make(chan struct{})
	s := newStates()
	server := &http.Server{ConnState: s.note, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
		w.WriteHeader(http.StatusServiceUnavailable)
	})}
	address := serve(t, server, true)
	silent := dial(t, address, "GET")
	_ = s.of(silent.LocalAddr(), 1)
	answered := dial(t, address, handshake)
	<-asked
	_ = server.Close()
	if n, err := io.Copy(io.Discard, silent); n > 0 || err != nil && strings.Contains(err.Error(), "timeout") {
		t.Errorf("a connection outlives the listener: %d bytes, %v", n, err)
	}
	if got := read(t, answered); !strings.HasPrefix(got, "HTTP/1.1 503 ") {
		t.Errorf("the answer is %q", got)
	}
	if _, err := net.Dial("tcp", address); err == nil {
		t.Error("somebody still listens")
	}
}

// TestPanicEndsOneConnection, and is logged.
func TestPanicEndsOneConnection(t *testing.T) {
	logged := make(lines, 1)
	server := &http.Server{
		ErrorLog: slog.NewLogLogger(slog.NewTextHandler(logged, nil), slog.LevelInfo),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X") != "" {
				panic("bug")
			}
			nc, _ := take(t, w, "taken")
			_ = nc.Close()
		}),
	}
	address := serve(t, server, true)
	if got := read(t, dial(t, address, start+upgrade+"X: y\r\n\r\n")); got != "" {
		t.Errorf("answered %q", got)
	}
	if line := <-logged; !strings.Contains(line, "panic serving") || !strings.Contains(line, "bug") {
		t.Errorf("logged %q", line)
	}
	if got := read(t, dial(t, address, handshake)); got != "taken" {
		t.Errorf("the next one was answered %q", got)
	}
}

type lines chan string

func (l lines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}

// TestErrorsOfTheListenerAreTheServers: it waits after those that pass, and ends with the others.
func TestErrorsOfTheListenerAreTheServers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(tell), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)}
	o := Listen(&failing{Listener: l, errs: []error{passing{}, passing{}, io.ErrUnexpectedEOF}}, server)
	if err := server.Serve(o); err != io.ErrUnexpectedEOF { //nolint:errorlint // the very error
		t.Errorf("it ended with %v", err)
	}
	o.Wait()
}

// failing accepts nobody.
type failing struct {
	net.Listener

	errs []error
}

func (f *failing) Accept() (net.Conn, error) {
	if len(f.errs) == 0 {
		return f.Listener.Accept()
	}
	err := f.errs[0]
	f.errs = f.errs[1:]
	return nil, err
}

type passing struct{}

func (passing) Error() string   { return "too many open files" }
func (passing) Timeout() bool   { return false }
func (passing) Temporary() bool { return true }
