package rpc

import (
	"sync"
	"sync/atomic"
)

// What callers are counted as whose names nobody has written down, so that there can be any number of them.
const (
	anyToken       = "(token)"
	anyCertificate = "(certificate)"
)

// Asked is what an identity has asked for since the start.
type Asked struct {
	Calls uint64 // each send of a batch, and each connection of a call that names several, counted
	// Denied are the calls among them for which it lacked a permission, Limited those that were over its rates; but what
	// a stream had to wait for was not refused.
	Denied, Limited uint64
}

// asked counts that.
type asked struct{ calls, denied, limited atomic.Uint64 }

// askers are all who have asked, each as one of the identities that are written down, or as one of many.
type askers struct {
	by     sync.Map // of *asked, by caller.counted
	nobody asked    // those who did not have to say who they are; calls.count knows of them
}

func (a *askers) of(who *caller) *asked {
	if who == nil {
		return &a.nobody
	}
	return a.as(who.counted)
}

func (a *askers) as(counted string) *asked {
	if known, ok := a.by.Load(counted); ok {
		return known.(*asked)
	}
	known, _ := a.by.LoadOrStore(counted, new(asked))
	return known.(*asked)
}

// Asked answers what each identity has asked for that is written down; those who bear a token that says itself what they
// may do count together, as "(token)", and so do all with a certificate where any will do, as "(certificate)".
func (s *Server) Asked() map[string]Asked {
	all := make(map[string]Asked)
	if s.identities == nil {
		return all
	}
	a := &s.service.spending.askers
	for _, counted := range s.identities().counted() {
		a.as(counted)
	}
	a.by.Range(func(counted, known any) bool {
		n := known.(*asked)
		all[counted.(string)] = Asked{Calls: n.calls.Load(), Denied: n.denied.Load(), Limited: n.limited.Load()}
		return true
	})
	return all
}

// counted are those as whom callers can be counted.
func (ids *Identities) counted() (all []string) {
	for _, t := range ids.tokens {
		all = append(all, t.owner.counted)
	}
	for _, c := range ids.subjects {
		all = append(all, c.counted)
	}
	if ids.judge != nil {
		all = append(all, anyToken)
	}
	if ids.certificate {
		all = append(all, anyCertificate)
	}
	return all
}
