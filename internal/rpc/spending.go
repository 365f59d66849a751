package rpc

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// Rates are what one caller may ask for in a second, on average; a second's worth may come at once. 0: no limit.
type Rates struct {
	Calls int   // sends of a batch, and connections of a call that names several, count one each
	Bytes int64 // of requests
}

// spending counts what callers ask for. A call is taken while its caller is within the rates, whatever it costs, and pays
// later: so one that is larger than a second's worth can be made at all.
type spending struct {
	rates   Rates // of whoever has none of their own
	limited atomic.Uint64
	askers  askers

	mu    sync.Mutex
	purse map[string]*purse // by identity; "": those who did not have to say who they are
}

// purse says up to when the calls and bytes of a caller are paid for, if a second's worth costs a second.
type purse struct{ calls, bytes time.Time }

// manyPurses is how many there may be before those that owe nothing are forgotten: tokens can name any number of
// identities.
const manyPurses = 1024

// limited is a refusal that ends by itself.
type limited struct {
	refusal *hub.Error
	after   time.Duration
}

func (e *limited) Error() string { return e.refusal.Text }

func (e *limited) Unwrap() error { return e.refusal }

// none reports whether nothing has to be counted for a caller.
func (s *spending) none(who *caller) bool { return s.ratesOf(who) == Rates{} }

func (s *spending) ratesOf(who *caller) Rates {
	if who != nil && who.rates != nil {
		return *who.rates
	}
	return s.rates
}

// take counts a request, or refuses it because what came before is not paid for.
func (s *spending) take(who *caller, req proto.Message) error {
	if s.none(who) {
		return nil
	}
	if after := s.count(who, req, time.Now(), true); after > 0 {
		s.limited.Add(1)
		s.askers.of(who).limited.Add(1)
		name := "callers without credentials"
		if who != nil {
			name = "identity " + who.name
		}
		return &limited{
			refusal: &hub.Error{Reason: hub.RateLimited, Text: name + ": over what may be asked for in a second"},
			after:   after,
		}
	}
	return nil
}

// pace counts a request of a stream, and waits until the caller is within the rates again.
func (s *spending) pace(ctx context.Context, who *caller, req proto.Message, stop <-chan struct{}) {
	s.askers.of(who).calls.Add(uint64(costOf(req)))
	if s.none(who) {
		return
	}
	after := s.count(who, req, time.Now(), false)
	if after <= 0 {
		return
	}
	s.limited.Add(1)
	timer := time.NewTimer(after)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-stop:
	}
}

// count adds the cost of a request and answers how long its caller is over the rates. A request that may be refused costs
// nothing if it is.
func (s *spending) count(who *caller, req proto.Message, now time.Time, refuse bool) (after time.Duration) {
	rates, name := s.ratesOf(who), ""
	if who != nil {
		name = who.name
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.purseLocked(name, now)
	if refuse {
		if after = p.over(now); after > 0 {
			return after
		}
	}
	p.calls = pay(p.calls, now, costOf(req), int64(rates.Calls))
	if rates.Bytes > 0 && req != nil {
		p.bytes = pay(p.bytes, now, int64(proto.Size(req)), rates.Bytes)
	}
	return p.over(now)
}

// over is how long a caller is to wait: a second's worth may come at once.
func (p *purse) over(now time.Time) time.Duration {
	latest := p.calls
	if p.bytes.After(latest) {
		latest = p.bytes
	}
	return max(latest.Sub(now), 0) - time.Second
}

func pay(paid, now time.Time, n, perSecond int64) time.Time {
	if perSecond == 0 {
		return now
	}
	if paid.Before(now) {
		paid = now
	}
	return paid.Add(time.Duration(float64(n) / float64(perSecond) * float64(time.Second)))
}

func (s *spending) purseLocked(name string, now time.Time) *purse {
	if p := s.purse[name]; p != nil {
		return p
	}
	if len(s.purse) >= manyPurses {
		for other, p := range s.purse {
			if p.calls.Before(now) && p.bytes.Before(now) {
				delete(s.purse, other)
			}
		}
	}
	p := new(purse)
	if s.purse == nil {
		s.purse = make(map[string]*purse)
	}
	s.purse[name] = p
	return p
}

// costOf is how many calls a request stands for.
func costOf(req proto.Message) int64 {
	n := 1
	switch r := req.(type) {
	case *holdfastv1.SendStreamRequest:
		n = len(r.GetSends())
	case interface{ GetConnectionIds() []string }:
		n = len(r.GetConnectionIds())
	}
	return int64(max(n, 1))
}
