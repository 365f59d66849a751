package jwt

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Times of a Remote, where its Config says nothing.
const (
	DefaultRefresh = 15 * time.Minute
	DefaultPause   = 5 * time.Second
)

const (
	fetchTimeout = 5 * time.Second
	firstRetry   = time.Second
	maxRetry     = time.Minute
	maxSetBytes  = 1 << 20

	maxHeaderBytes = 64 << 10
)

// RemoteConfig says where keys are fetched.
type RemoteConfig struct {
	// URL of a JWK Set. Redirects are not followed: an error names where it leads.
	URL string
	// TLS of the URL; nil: the system's roots.
	TLS *tls.Config
	// Transport makes the requests; nil: one of its own, which uses the proxy that the environment names.
	Transport http.RoundTripper
	// Refresh is the time between two fetches. 0: DefaultRefresh.
	Refresh time.Duration
	// Pause is the least time between two fetches that tokens with unknown keys can cause. 0: DefaultPause.
	Pause  time.Duration
	Logger *slog.Logger // nil: slog.Default
}

// Remote are the keys of a JWK Set at a URL, which are fetched again now and then, and when a token names one that is
// not among them. While the URL cannot be reached, the last keys stay.
type Remote struct {
	cfg    RemoteConfig
	client *http.Client
	cancel context.CancelFunc
	ended  chan struct{}
	wanted chan struct{} // has room for one: a token names an unknown key

	mu     sync.Mutex
	set    *Set          // nil until keys were fetched
	begun  time.Time     // the last fetch
	round  chan struct{} // closed and replaced when a fetch ends
	busy   bool          // one is under way
	closed bool          // there will be no more
	status Status
}

// Status is how a Remote is.
type Status struct {
	URL     string    // without a query, which may be a secret
	Keys    int       // of the last set
	Fetched time.Time // when that came; zero: never
	// OK and Failed count fetches.
	OK, Failed uint64
	// Error of the last fetch; nil: it went well, or was none yet.
	Error error
}

// NewRemote begins to fetch keys. Close ends that.
func NewRemote(c RemoteConfig) *Remote {
	if c.Refresh == 0 {
		c.Refresh = DefaultRefresh
	}
	if c.Pause == 0 {
		c.Pause = DefaultPause
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Transport == nil {
		c.Transport = &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: c.TLS, MaxIdleConns: 1, IdleConnTimeout: time.Minute,
			ForceAttemptHTTP2: true, MaxResponseHeaderBytes: maxHeaderBytes,
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &Remote{
		cfg: c, cancel: cancel, ended: make(chan struct{}), wanted: make(chan struct{}, 1), round: make(chan struct{}),
		busy: true, status: Status{URL: shownURL(c.URL)},
		client: &http.Client{
			Transport:     c.Transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	go r.run(ctx)
	return r
}

// Close ends the fetching and waits for that. The keys stay.
func (r *Remote) Close() {
	r.cancel()
	<-r.ended
	r.client.CloseIdleConnections()
}

// Status answers how the keys are.
func (r *Remote) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status
}

func (r *Remote) run(ctx context.Context) {
	defer r.end()
	retry := firstRetry
	for {
		r.begin()
		set, err := r.fetch(ctx)
		if ctx.Err() != nil {
			return
		}
		r.finish(set, err)
		next := r.cfg.Refresh
		if err != nil {
			next = min(retry, next)
			retry = min(2*retry, maxRetry)
		} else {
			retry = firstRetry
		}
		if !r.sleep(ctx, next) {
			return
		}
	}
}

// end lets those go on who wait for a fetch: there will be none.
func (r *Remote) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	close(r.round)
	close(r.ended)
}

// sleep waits until the next fetch is due, or a token wants one. It reports whether there is one.
func (r *Remote) sleep(ctx context.Context, next time.Duration) bool {
	const spread = 10 // so that nodes that started together do not ask together for ever
	timer := time.NewTimer(next + rand.N(next/spread+1))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.wanted:
	case <-ctx.Done():
		return false
	}
	return true
}

func (r *Remote) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.begun, r.busy = time.Now(), true
	select {
	case <-r.wanted: // it gets its answer from this fetch
	default:
	}
}

// finish publishes what a fetch has brought, and lets those go on who wait for it.
func (r *Remote) finish(set *Set, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.busy = false
	close(r.round)
	r.round = make(chan struct{})
	first, was := r.set == nil, r.status.Error
	r.status.Error = err
	if err != nil {
		r.status.Failed++
		if was == nil {
			r.logFailure(err, first)
		}
		return
	}
	r.set = set
	r.status.OK++
	r.status.Keys, r.status.Fetched = set.Len(), time.Now()
	if first || was != nil {
		r.cfg.Logger.Info("keys for tokens fetched", "url", r.status.URL, "keys", set.Len())
	}
}

// logFailure is called for the first failure after a success, or after the start.
func (r *Remote) logFailure(err error, first bool) {
	text := "keys for tokens cannot be fetched: the last ones stay in use"
	if first {
		text = "keys for tokens cannot be fetched: until they can, nobody is let in by them"
	}
	r.cfg.Logger.Error(text, "url", r.status.URL, "error", err)
}

func (r *Remote) fetch(ctx context.Context) (*Set, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.cfg.URL, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, withoutURL(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, wrongAnswer(resp)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxSetBytes+1))
	if err != nil {
		return nil, withoutURL(err)
	}
	if len(text) > maxSetBytes {
		return nil, fmt.Errorf("the answer has more than %d bytes", maxSetBytes)
	}
	keys, err := parseSet(text)
	if err != nil {
		return nil, err
	}
	return NewSet(keys...), nil
}

func wrongAnswer(resp *http.Response) error {
	if at, err := resp.Location(); err == nil {
		return fmt.Errorf("the answer is %s to %s: want the URL of the keys themselves", resp.Status, shownURL(at.String()))
	}
	return fmt.Errorf("the answer is %s", resp.Status)
}

// withoutURL is an error without the URL, whose query may be a secret.
func withoutURL(err error) error {
	if at, ok := errors.AsType[*url.Error](err); ok {
		return at.Err
	}
	return err
}

// shownURL is a URL without what may be secret in it.
func shownURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

// find appends keys that can have signed a token. Those of an unknown ID are fetched, if that was not tried just now.
// known is false until keys were fetched at all.
func (r *Remote) find(ctx context.Context, found []jwt.VerificationKey, id string, a algorithm) (keys []jwt.VerificationKey, known bool) {
	set, round := r.current()
	if set == nil {
		if !await(ctx, round) {
			return found, false
		}
		if set, _ = r.current(); set == nil {
			return found, false
		}
	}
	keys = set.find(found, id, a)
	if len(keys) == len(found) && await(ctx, r.want()) {
		set, _ = r.current()
		keys = set.find(found, id, a)
	}
	return keys, true
}

// current answers the keys. While there are none, round is closed when the first try has ended; nil: it has.
func (r *Remote) current() (set *Set, round <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.set == nil && r.status.Failed == 0 && !r.closed {
		round = r.round
	}
	return r.set, round
}

// want asks for a fetch. What it answers is closed when that has ended; nil: there is none.
func (r *Remote) want() (round <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed, !r.busy && time.Since(r.begun) < r.cfg.Pause:
		return nil
	case r.busy:
		return r.round
	}
	select {
	case r.wanted <- struct{}{}:
	default:
	}
	return r.round
}

// await waits for a fetch and reports whether it has ended.
func await(ctx context.Context, round <-chan struct{}) bool {
	if round == nil {
		return false
	}
	select {
	case <-round:
		return true
	case <-ctx.Done():
		return false
	}
}
