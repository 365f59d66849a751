package app

import (
	"time"

	"github.com/holdfast-broker/holdfast/internal/ws"
)

// visitors counts connections by whose they are, users or addresses, and keeps what each may send in common. Its owner
// guards it.
type visitors[K comparable] struct {
	most        int              // at once, of each; 0: no limit
	perSecond   int              // new ones, of each; a second's worth may come at once; 0: no limit
	quota       func() *ws.Quota // of one; nil: none has one
	full, hasty *enough          // what to say when there are enough

	by      map[K]visits
	absent  int // entries without a connection, which still have to pay for something
	sweepAt int // of those, so many that some may have paid
}

// visits are what is known of one.
type visits struct {
	n     int
	paid  time.Time // new ones are paid for up to here, if a second's worth costs a second
	quota *ws.Quota // nil: there is none
}

// owes: who comes again is not as good as new.
func (v visits) owes(now time.Time) bool {
	return v.paid.After(now) || v.quota != nil && v.quota.Owes()
}

// How many absent visitors are kept: few are not looked at; above many all are forgotten, whatever they owe.
const (
	fewAbsent  = 1 << 10
	manyAbsent = 1 << 16
)

// open: there is nothing to count.
func (v *visitors[K]) open() bool { return v.most == 0 && v.perSecond == 0 && v.quota == nil }

// next answers what add is to be told if one more may come, or why it must not.
func (v *visitors[K]) next(k K, now time.Time) (visits, *enough) {
	known := v.by[k]
	paid, inTime := pay(known.paid, now, v.perSecond)
	switch {
	case v.most > 0 && known.n >= v.most:
		return known, v.full
	case !inTime:
		return known, v.hasty
	}
	known.paid = paid
	return known, nil
}

// add counts one more of whom that is known, and answers what it draws on; nil: nothing.
func (v *visitors[K]) add(k K, known visits) *ws.Quota {
	if old, kept := v.by[k]; kept && old.n == 0 {
		v.absent--
	}
	if known.n++; known.quota == nil && v.quota != nil {
		known.quota = v.quota()
	}
	if v.by == nil {
		v.by, v.sweepAt = make(map[K]visits), fewAbsent
	}
	v.by[k] = known
	return known.quota
}

// leave counts one less. Whoever owes nothing is forgotten with the last.
func (v *visitors[K]) leave(k K, now time.Time) {
	known, counted := v.by[k]
	if !counted {
		return
	}
	known.n--
	if known.n == 0 && !known.owes(now) {
		delete(v.by, k)
		return
	}
	v.by[k] = known
	if known.n == 0 {
		v.absent++
		v.sweep(now)
	}
}

// sweep forgets those who have paid by now.
func (v *visitors[K]) sweep(now time.Time) {
	if v.absent < v.sweepAt {
		return
	}
	all := v.absent >= manyAbsent
	for k, known := range v.by {
		if known.n == 0 && (all || !known.owes(now)) {
			delete(v.by, k)
			v.absent--
		}
	}
	v.sweepAt = min(max(2*v.absent, len(v.by), fewAbsent), manyAbsent)
}
