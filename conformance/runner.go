package main

import (
	"context"
	"errors"
	"sync"
	"time"
)

type verdict int

const (
	ok verdict = iota
	nonStrict
	informational
	failed
)

var verdictNames = map[verdict]string{
	ok: "OK", nonStrict: "NON-STRICT", informational: "INFORMATIONAL", failed: "FAILED",
}

// result is what became of a case.
type result struct {
	testCase *testCase
	verdict  verdict
	why      string
	behavior []string
	took     time.Duration

	notRunnable bool // and failed for that reason
}

// play runs one case.
func play(ctx context.Context, st *stage, c *testCase) result {
	limit := c.limit
	if limit == 0 {
		limit = caseLimit
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	s := &session{ctx: ctx, backend: st.backend, began: time.Now(), ahead: map[string]<-chan struct{}{}}
	err := perform(s, st, c)
	r := result{testCase: c, behavior: s.log, took: time.Since(s.began), notRunnable: errors.Is(err, errNotRunnable)}
	switch {
	case err != nil:
		r.verdict, r.why = failed, err.Error()
	case len(s.lax) > 0:
		r.verdict, r.why = nonStrict, s.lax[0]
	case c.informational != "":
		r.verdict, r.why = informational, c.informational
	}
	return r
}

func perform(s *session, st *stage, c *testCase) (err error) {
	if c.compresses() && st.noCompression != nil {
		return errNotRunnable
	}
	path := c.path
	if path == "" {
		path = "/"
	}
	if s.client, err = dial(s.ctx, st.address, path, c.offer); err != nil {
		return err
	}
	defer s.client.close()
	if s.client.codec != nil {
		s.note("agreed: %+v", s.client.codec.agreed)
	}
	return steps(c.steps...)(s)
}

// playAll runs cases, so many at a time, and hands on each result.
func playAll(ctx context.Context, st *stage, cases []testCase, atOnce int, tell func(result)) []result {
	results := make([]result, len(cases))
	next := make(chan int)
	var mu sync.Mutex
	var players sync.WaitGroup
	for range atOnce {
		players.Go(func() {
			for i := range next {
				results[i] = play(ctx, st, &cases[i])
				mu.Lock()
				tell(results[i])
				mu.Unlock()
			}
		})
	}
	for i := range cases {
		next <- i
	}
	close(next)
	players.Wait()
	return results
}

// errNotRunnable: the broker does not have what the case is about.
var errNotRunnable = errors.New("not runnable: the broker refuses the configuration")

// errNotOK: not every case is OK or informational.
var errNotOK = errors.New("not every case is OK")
