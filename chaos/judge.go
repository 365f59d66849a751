//go:build linux

package main

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"

	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// judge holds the promises against what the ledger, the clients and the backend have written down.
type judge struct {
	play   *play
	end    time.Time
	visits []visit
	silent []string
	pinged int

	verdict verdict
}

func (j *judge) judge() *verdict {
	p := j.play
	v := &j.verdict
	v.Seed, v.Duration, v.Clients = p.settings.seed, time.Since(p.begin), p.settings.clients
	v.Faults = make(map[string]int)
	for _, st := range p.steps {
		v.Faults[st.fault.name]++
	}
	v.Skipped, v.Pinged, v.Refused, v.Kills = p.skipped, j.pinged, p.crowd.refused.Load(), p.kills
	_, received, strange := p.crowd.snapshot()
	for _, wrong := range [][]string{p.wrong, j.silent, strange, p.ledger.wrong} {
		for _, w := range wrong {
			j.broken("%s", w)
		}
	}
	for _, a := range p.ledger.accounts {
		j.account(a)
	}
	for i := range j.visits {
		j.visit(&j.visits[i])
	}
	j.deliveries(received)
	j.timely()
	if v.Missed+v.Behind+v.Reordered > 0 && !p.disturbed() {
		j.broken("subscribers missed %d events, all of them %d, and saw %d in another order, although NATS was not disturbed",
			v.Missed, v.Behind, v.Reordered)
	}
	return v
}

func (j *judge) broken(format string, args ...any) {
	j.verdict.Broken = append(j.verdict.Broken, fmt.Sprintf(format, args...))
}

// disturbed reports whether a fault may have made NATS lose or reorder what it had confirmed.
func (p *play) disturbed() bool {
	for _, st := range p.steps {
		if st.fault.disturbs {
			return true
		}
	}
	return false
}

func (p *play) fateOf(node string) (fate, bool) {
	for _, b := range p.stage.brokers {
		if f, known := b.fateOf(node); known {
			return f, true
		}
	}
	return fate{}, false
}

// account judges the events of one connection.
func (j *judge) account(a *account) {
	v := &j.verdict
	v.Repeats += a.repeats
	v.Reordered += a.reordered
	v.AfterClose += a.afterClose
	f, known := j.play.fateOf(a.node)
	if !known {
		j.broken("%s: no broker has said that it is node %s", a.id, a.node)
	}
	died := f.died()
	j.closes(a, died)
	j.early(a)
	for i := range a.entries {
		j.entry(a, i, died)
	}
}

// closes: exactly one distinct close for each open, which is the last event where it has a Seq.
func (j *judge) closes(a *account, died bool) {
	v := &j.verdict
	opened := !a.openAt.IsZero()
	if opened {
		v.Opens++
	}
	switch {
	case len(a.closes) == 0:
		j.broken("%s: opened, and never closed", a.id)
		return
	case len(a.closes) > 1:
		j.broken("%s: %d different closes: %s and %s", a.id, len(a.closes), a.closes[0].data, a.closes[1].data)
		return
	}
	c := a.closes[0]
	v.Closes++
	v.cause(c.cause)
	switch {
	case !opened && died:
		v.Unopened++
	case !opened:
		j.broken("%s: closed and never opened, and its node did not die", a.id)
	}
	if c.at.IsZero() {
		v.Behind++
		v.BehindCloses++
	}
	if c.cause == "NODE_LOST" && c.seq == 0 && !died {
		j.broken("%s: closed as lost, and its node did not die", a.id)
	}
	if c.seq > 0 && (c.seq != len(a.entries) || c.in != c.seq-2) {
		j.broken("%s: the close has Seq %d and counts %d messages, the last event has Seq %d", a.id, c.seq, c.in, len(a.entries))
	}
	if c.seq == 0 && !c.confirmed {
		j.broken("%s: its close was not confirmed by any NATS server", a.id)
	}
}

// early: no witness sees a close before the open. NATS itself may turn them around only for a subscriber, when they were
// published over different connections while it was disturbed.
func (j *judge) early(a *account) {
	v := &j.verdict
	for w := range a.seen {
		s := &a.seen[w]
		if !s.early || !s.opened {
			continue
		}
		if w == published || !j.play.disturbed() {
			j.broken("%s: witness %d saw the close before the open", a.id, w)
			continue
		}
		v.Reordered++
	}
}

// entry judges one event with a Seq: it was published, it was confirmed unless its node died, and somebody saw it.
func (j *judge) entry(a *account, i int, died bool) {
	v := &j.verdict
	e := &a.entries[i]
	closing := e.kind == 'c'
	switch {
	case e.kind == 0 || !e.by(published) && !closing:
		j.broken("%s: Seq %d is missing", a.id, i+1)
		return
	case !e.confirmed && !died:
		j.broken("%s: Seq %d was not confirmed by any NATS server", a.id, i+1)
	}
	v.Events++
	somebody := false
	for w := range servers {
		if e.by(w) {
			somebody = true
			continue
		}
		v.Missed++
	}
	if !somebody && e.confirmed && !closing { // closes are counted as such
		v.Behind++
	}
}

// visit judges what a client saw: no connection ends without a reason, and what it sent before it left has arrived.
func (j *judge) visit(vi *visit) {
	a := j.play.ledger.byTag[vi.tag]
	excused := vi.end.IsZero() || j.play.excused(vi)
	ended := !vi.end.IsZero() && !vi.left
	if ended && !excused {
		j.broken("client %s lost its connection to broker %d after %v: %v", vi.tag, vi.broker, vi.end.Sub(vi.begin), vi.how)
	}
	if ended {
		j.verdict.Lost++
	}
	if a == nil {
		if !excused || vi.end.IsZero() {
			j.broken("client %s was connected to broker %d and has no open event", vi.tag, vi.broker)
		}
		return
	}
	if vi.id != "" && vi.id != a.id {
		j.broken("client %s is %s in the ledger, and received messages for %s", vi.tag, a.id, vi.id)
	}
	messages := 0
	for i := range a.entries {
		if a.entries[i].kind == 'm' {
			messages++
		}
	}
	j.verdict.Messages += messages
	if messages > vi.sent {
		j.broken("client %s sent %d messages, and %d were published", vi.tag, vi.sent, messages)
	}
	f, _ := j.play.fateOf(a.node)
	if (vi.clean() && !f.died() || vi.end.IsZero()) && messages != vi.sent { // a cut off broker answers, and then is held dead
		j.broken("client %s sent %d messages and left in order, and %d were published", vi.tag, vi.sent, messages)
	}
}

func (p *play) excused(vi *visit) bool {
	for _, e := range p.excuses {
		if e.broker == vi.broker && vi.end.After(e.from) && vi.end.Before(e.to) {
			return true
		}
	}
	return false
}

// deliveries holds the backend's answers against what the clients received. What was only written may be lost when the
// socket ends; what was received may not; and nothing arrives twice.
func (j *judge) deliveries(received map[int]receipt) {
	v := &j.verdict
	visits := make(map[string]*visit, len(j.visits))
	for i := range j.visits {
		visits[j.visits[i].tag] = &j.visits[i]
	}
	for _, s := range j.play.backend.sends {
		v.Sends++
		r, arrived := received[s.number]
		if r.times > 1 {
			j.broken("message %d to %s arrived %d times", s.number, s.id, r.times)
		}
		if s.code != codes.OK {
			v.answer(s.code)
			continue
		}
		v.Confirmed++
		if arrived {
			continue
		}
		switch {
		case s.confirmation == holdfastv1.Confirmation_RECEIVED:
			j.broken("message %d to %s was confirmed as received, and was not", s.number, s.id)
		case j.mustArrive(&s, visits):
			j.broken("message %d to %s was confirmed (%s) and did not arrive", s.number, s.id, s.confirmation)
		default:
			v.NotArrived++
		}
	}
}

// mustArrive: nothing ended the connection but an orderly close.
func (j *judge) mustArrive(s *send, visits map[string]*visit) bool {
	a := j.play.ledger.accounts[s.id]
	if a == nil || visits[a.tag] == nil {
		return true
	}
	vi := visits[a.tag]
	var closed closedWith
	orderly := vi.end.IsZero() || errors.As(vi.how, &closed) && closed == 1012
	return orderly && !vi.left
}

// timely: the closes of a killed broker come within a lease and 2 s.
func (j *judge) timely() {
	limit := j.play.settings.lease + 2*time.Second
	for _, k := range j.play.kills {
		if len(k.after) != k.connections {
			j.broken("%d connections of a killed broker, and %d closes", k.connections, len(k.after))
		}
		late := 0
		for _, d := range k.after {
			if k.soon && d > limit {
				late++
			}
		}
		j.verdict.Late += late
		if late > 0 && j.play.settings.strict {
			j.broken("%d closes of a killed broker came later than %v", late, limit)
		}
	}
}
