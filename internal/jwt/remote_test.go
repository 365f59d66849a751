package jwt_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-broker/holdfast/internal/jwt"
)

// issuer serves a JWK Set. What it answers can change.
type issuer struct {
	*httptest.Server

	mu      sync.Mutex
	answer  http.HandlerFunc
	fetched chan struct{} // one for each answer
}

func newIssuer(t *testing.T, answer http.HandlerFunc) *issuer {
	t.Helper()
	i := &issuer{answer: answer, fetched: make(chan struct{}, 100)}
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		answer := i.answer
		i.mu.Unlock()
		answer(w, r)
		i.fetched <- struct{}{}
	}))
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) says(answer http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answer = answer
}

func set(keys ...map[string]any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(jwks(keys...))) }
}

func failing(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }

// remote follows an issuer, and logs into a buffer.
func remote(t *testing.T, c jwt.RemoteConfig) (*jwt.Remote, *jwt.Verifier, *logged) {
	t.Helper()
	log := &logged{}
	c.Logger = slog.New(slog.NewTextHandler(log, nil))
	r := jwt.NewRemote(c)
	t.Cleanup(r.Close)
	return r, jwt.NewVerifier(jwt.Config{Algorithms: jwt.Algorithms, Remote: r}), log
}

type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func withID(id string) map[string]any { return map[string]any{"kid": id} }

// TestRotation: a token with a new key is accepted at once, because its key is fetched for it. The old key stays as long
// as it is in the set.
func TestRotation(t *testing.T) {
	old, next := signers()["ES256"], signers()["EdDSA"]
	i := newIssuer(t, set(old.jwk("old", nil)))
	r, v, _ := remote(t, jwt.RemoteConfig{URL: i.URL, Pause: time.Nanosecond})
	oldToken := old.sign(t, "ES256", claims(nil), withID("old"))
	nextToken := next.sign(t, "EdDSA", claims(nil), withID("next"))
	want := func(when string, token string, want jwt.Reason) {
		t.Helper()
		_, err := v.Verify(t.Context(), token)
		if reason := reasonOf(t, err); reason != want {
			t.Errorf("%s: %v, want %q", when, err, want)
		}
	}
	want("at the start", oldToken, "")
	want("before the rotation", nextToken, jwt.UnknownKey)
	i.says(set(old.jwk("old", nil), next.jwk("next", nil)))
	want("a new key", nextToken, "")
	want("and the old one", oldToken, "")
	i.says(set(next.jwk("next", nil)))
	want("another unknown key", next.sign(t, "EdDSA", claims(nil), withID("third")), jwt.UnknownKey)
	want("the old one, when it is gone", oldToken, jwt.UnknownKey)
	if s := r.Status(); s.Keys != 1 || s.Fetched.IsZero() || s.Error != nil || s.Failed != 0 {
		t.Errorf("status is %+v", s)
	}
}

// TestUnknownKeysDoNotFloodTheIssuer: anybody can make up key IDs.
func TestUnknownKeysDoNotFloodTheIssuer(t *testing.T) {
	s := signers()["ES256"]
	i := newIssuer(t, set(s.jwk("a", nil)))
	_, v, _ := remote(t, jwt.RemoteConfig{URL: i.URL, Pause: time.Hour})
	for range 50 {
		if _, err := v.Verify(t.Context(), s.sign(t, "ES256", claims(nil), withID("b"))); reasonOf(t, err) != jwt.UnknownKey {
			t.Fatal(err)
		}
	}
	if n := len(i.fetched); n != 1 {
		t.Errorf("the keys were fetched %d times", n)
	}
}

// TestUnreachableIssuer: until keys came, tokens are neither accepted nor refused; afterwards they stay.
func TestUnreachableIssuer(t *testing.T) {
	s := signers()["ES256"]
	i := newIssuer(t, failing)
	r, v, log := remote(t, jwt.RemoteConfig{URL: i.URL + "/keys?secret=hush", Pause: time.Nanosecond})
	token := s.sign(t, "ES256", claims(nil), withID("a"))
	<-i.fetched
	if _, err := v.Verify(t.Context(), token); reasonOf(t, err) != jwt.Unavailable {
		t.Fatalf("without keys: %v", err)
	}
	i.says(set(s.jwk("a", nil)))
	<-i.fetched // it tries again by itself
	await(t, func() bool { return r.Status().Error == nil })
	if _, err := v.Verify(t.Context(), token); err != nil {
		t.Fatalf("with keys: %v", err)
	}
	i.Close()
	stranger := s.sign(t, "ES256", claims(nil), withID("b"))
	if _, err := v.Verify(t.Context(), stranger); reasonOf(t, err) != jwt.UnknownKey {
		t.Errorf("an unknown key: %v", err)
	}
	await(t, func() bool { return r.Status().Error != nil })
	if _, err := v.Verify(t.Context(), token); err != nil {
		t.Errorf("while the issuer is away: %v", err)
	}
	if st := r.Status(); st.Keys != 1 || st.OK != 1 || st.Failed < 2 || st.URL != i.URL+"/keys" {
		t.Errorf("status is %+v", st)
	}
	for text, n := range map[string]int{"nobody is let in": 1, "keys for tokens fetched": 1, "the last ones stay": 1, "hush": 0} {
		if got := strings.Count(log.String(), text); got != n {
			t.Errorf("%d lines with %q, want %d:\n%s", got, text, n, log)
		}
	}
}

// await waits for what another goroutine is about to do.
func await(t *testing.T, done func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("it never came")
		}
	}
}

// TestWaitingEndsWithTheCaller and with the Remote.
func TestWaitingEndsWithTheCaller(t *testing.T) {
	hold := make(chan struct{})
	i := newIssuer(t, func(http.ResponseWriter, *http.Request) { <-hold })
	t.Cleanup(func() { close(hold) }) // before the server's Close, which waits for it
	r, v, _ := remote(t, jwt.RemoteConfig{URL: i.URL})
	token := signers()["ES256"].sign(t, "ES256", claims(nil), nil)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := v.Verify(gone, token); reasonOf(t, err) != jwt.Unavailable {
		t.Errorf("the caller has gone: %v", err)
	}
	ended := make(chan error)
	go func() {
		_, err := v.Verify(context.Background(), token)
		ended <- err
	}()
	r.Close()
	if err := <-ended; reasonOf(t, err) != jwt.Unavailable {
		t.Errorf("the Remote has ended: %v", err)
	}
	if _, err := v.Verify(context.Background(), token); reasonOf(t, err) != jwt.Unavailable {
		t.Errorf("after it has ended: %v", err)
	}
}

// TestAnswersThatAreNoKeys: each leaves a word for the operator.
func TestAnswersThatAreNoKeys(t *testing.T) {
	elsewhere := newIssuer(t, set(signers()["ES256"].jwk("a", nil)))
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"an error": {failing, "500"},
		"elsewhere": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+"/real?secret=hush", http.StatusFound)
		}, elsewhere.URL + "/real: want"},
		"a page":   {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }, "no JSON"},
		"no end":   {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(bytes.Repeat([]byte(" "), 2<<20)) }, "1048576 bytes"},
		"no keys":  {set(), "no usable key"},
		"a secret": {set(map[string]any{"kty": "oct", "k": b64([]byte(aSecret))}), "no usable key"},
		"cut short": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("{"))
		}, "EOF"},
	} {
		i := newIssuer(t, test.answer)
		r, _, _ := remote(t, jwt.RemoteConfig{URL: i.URL})
		await(t, func() bool { return r.Status().Failed > 0 })
		if err := r.Status().Error; !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
	if n := len(elsewhere.fetched); n != 0 {
		t.Errorf("a redirect was followed %d times", n)
	}
}

// TestRefresh: keys are fetched again in time, and after a failure sooner.
func TestRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var times []time.Duration
		var broken atomic.Bool
		start := time.Now()
		transport := roundTripper(func(*http.Request) (*http.Response, error) {
			mu.Lock()
			times = append(times, time.Since(start))
			mu.Unlock()
			w := httptest.NewRecorder()
			if !broken.Load() {
				set(signers()["ES256"].jwk("a", nil))(w, nil)
			} else {
				failing(w, nil)
			}
			return w.Result(), nil
		})
		r := jwt.NewRemote(jwt.RemoteConfig{URL: "https://id.example/keys", Transport: transport, Logger: slog.New(slog.DiscardHandler)})
		time.Sleep(20 * time.Minute)
		mu.Lock()
		if len(times) != 2 || times[1] < jwt.DefaultRefresh || times[1] > jwt.DefaultRefresh*11/10 {
			t.Errorf("fetched at %v", times)
		}
		mu.Unlock()
		broken.Store(true)
		time.Sleep(40 * time.Minute)
		r.Close()
		if n := len(times); n < 20 || n > 50 {
			t.Errorf("%d fetches while they fail, want one a minute: %v", n, times)
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
