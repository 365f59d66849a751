//go:build !race

// The model runs on one goroutine, and the race detector would only make it ten times slower.

package life_test

import (
	"errors"
	"fmt"
	"slices"
)

type successor struct {
	name  string
	state modelState
	err   error
}

// explorer collects what can happen next.
type explorer struct {
	mutation mutation
	from     modelState
	next     []successor
}

func (x *explorer) step(name string, do func(s *modelState) error) {
	s := x.from
	err := do(&s)
	x.next = append(x.next, successor{name, s, err})
}

func (x *explorer) explore() []successor {
	if !x.from.owner.dead && !x.from.owner.claimed {
		x.ownerSteps()
	}
	x.networkSteps()
	for i := range modelSurvivors {
		if !x.from.survivors[i].dead {
			x.survivorSteps(i)
		}
	}
	if x.from.canComeBack {
		x.olderSteps()
	}
	x.step("a lease passes", func(s *modelState) error {
		o := &s.owner
		o.leaseOld, o.firstOld, o.answerOld = true, true, true
		for i := range o.attempts {
			o.attempts[i].entry.old = true
		}
		for i := range s.survivors {
			s.survivors[i].sawOld = true
		}
		return nil
	})
	return x.next
}

func (x *explorer) ownerSteps() {
	o := &x.from.owner
	x.step("owner dies", func(s *modelState) error { s.owner.dead = true; return nil })
	for c := range modelConns {
		x.connectionSteps(c)
	}
	if !o.waiting && x.from.batches < modelBatches {
		x.step("owner sends a batch", x.send(false))
		if !o.compacted {
			x.step("owner begins to compact", x.send(true))
		}
	}
	if o.waiting && !o.repeated && o.answer == noAnswer {
		x.step("owner sends again", func(s *modelState) error {
			if x.lastIsGone(s) {
				s.owner.claimed = true
				return nil
			}
			s.owner.repeated = true
			s.owner.attempts[1] = attemptState{true, s.owner.last, s.owner.batch}
			return nil
		})
	}
	if o.answer != noAnswer {
		x.step("owner reads the answer", x.readAnswer)
		if !o.repeated {
			x.step("the answer is lost", func(s *modelState) error { s.owner.answer = noAnswer; return nil })
		}
	}
	if o.purgeBelow > 0 && !o.waiting {
		x.step("owner forgets", func(s *modelState) error {
			s.purge(s.owner.purgeBelow)
			s.owner.purgeBelow = 0
			s.harmed = s.harmed && (!s.again || s.everClaimed)
			return nil
		})
	}
}

func (x *explorer) connectionSteps(c int) {
	o := &x.from.owner
	may := !o.leaseOld || x.mutation == noFreeze
	move := func(name string, to uint8, event string) {
		x.step(fmt.Sprintf("%s %d", name, c), func(s *modelState) error {
			s.owner.phase[c] = to
			if event == "" {
				return nil
			}
			return s.publish(event, c)
		})
	}
	switch o.phase[c] {
	case none:
		if !o.leaseOld {
			move("accept", opening, "")
		}
	case openRecorded:
		if may {
			move("publish open", open, "open")
		}
	case open:
		if may && !o.said[c] {
			x.step(fmt.Sprintf("publish message %d", c), func(s *modelState) error {
				s.owner.said[c] = true
				return s.publish("message", c)
			})
		}
		if x.mutation == eventsBeforeRecord {
			move("publish close first", closing, "recorded")
		} else {
			move("end", closing, "")
		}
	case closeRecorded:
		if may {
			move("publish close", closed, "recorded")
		}
	}
}

// send makes a batch of all that waits; a compaction also of what is open.
func (x *explorer) send(compact bool) func(*modelState) error {
	return func(s *modelState) error {
		o := &s.owner
		if x.lastIsGone(s) {
			o.claimed = true
			return nil
		}
		o.number++
		s.batches++
		b := modelEntry{number: o.number}
		for c := range modelConns {
			switch o.phase[c] {
			case opening:
				b.opens |= 1 << c
				o.phase[c] = openSent
			case closing:
				b.closes |= 1 << c
				o.phase[c] = closeSent
			case closed:
				b.marked |= 1 << c
			case openRecorded, open:
				if compact {
					b.opens |= 1 << c
				}
			}
		}
		o.compacted = o.compacted || compact
		o.batch, o.waiting, o.repeated, o.firstOld, o.answer = b, true, false, false, noAnswer
		o.attempts = [2]attemptState{{true, o.last, b}, {}}
		if compact {
			o.purgeBelow = 255 // this batch's sequence, once it is known
		}
		return nil
	}
}

func (x *explorer) networkSteps() {
	for i := range x.from.owner.attempts {
		if !x.from.owner.attempts[i].on || x.from.n == modelLog {
			continue
		}
		x.step(fmt.Sprintf("attempt %d arrives", i), func(s *modelState) error {
			o := &s.owner
			a := o.attempts[i]
			o.attempts[i] = attemptState{}
			ok := s.lastSeq() == a.expected || x.mutation == noExpectedSequence && o.answer != taken
			if ok {
				seq := s.append(a.entry)
				if o.waiting {
					o.answer, o.answerOld, o.answerSeq = taken, a.entry.old, seq
				}
			} else if o.waiting && o.answer == noAnswer {
				o.answer = conflict
			}
			return nil
		})
	}
}

func (x *explorer) readAnswer(s *modelState) error {
	o := &s.owner
	seq, old := o.answerSeq, o.answerOld
	if o.answer == conflict {
		switch {
		case s.n == 0 || s.log[s.n-1].number == 0:
			o.claimed = true
			return nil
		case s.log[s.n-1].number != o.number: // the log is older than what it has told
			if o.claimed = o.leaseOld && x.mutation != writesAgainWhenFrozen; !o.claimed {
				x.writeAgain(s)
			}
			return nil
		}
		seq, old = s.lastSeq(), o.firstOld
	}
	hasClaim := slices.ContainsFunc(s.log[:s.n], func(e modelEntry) bool { return e.number == 0 })
	if old && hasClaim && x.mutation != trustsTheSequence {
		o.claimed = true
		return nil
	}
	if s.everClaimed && !old {
		return errors.New("the owner goes on although it was claimed")
	}
	o.waiting, o.answer, o.last, o.leaseOld = false, noAnswer, seq, old
	unpublished := slices.Contains(o.phase[:], closeRecorded)
	for c := range modelConns {
		switch o.phase[c] {
		case openSent:
			o.phase[c] = openRecorded
		case closeSent:
			o.phase[c] = closeRecorded
			if x.mutation == eventsBeforeRecord {
				o.phase[c] = closed
			}
		}
	}
	if o.purgeBelow == 255 {
		o.purgeBelow = 0
		if x.mutation == forgetsUnmarkedCloses || marksAll(s, seq) && (!s.again || !unpublished) {
			o.purgeBelow = seq
		}
	}
	return nil
}

// marksAll: the message says of every close before it that it was published.
func marksAll(s *modelState, seq uint8) bool {
	closes, marked := uint8(0), uint8(0)
	for _, e := range s.log[:s.n] {
		if e.seq < seq {
			closes |= e.closes
		} else if e.seq == seq {
			marked = e.marked
		}
	}
	return closes&^marked == 0
}

func (x *explorer) survivorSteps(i int) {
	v := &x.from.survivors[i]
	if x.from.crashes == 0 {
		x.step(fmt.Sprintf("survivor %d dies", i), func(s *modelState) error {
			s.survivors[i] = survivorState{dead: true}
			s.crashes++
			return nil
		})
	}
	if v.at > 0 {
		x.claimerSteps(i)
		return
	}
	if last := x.from.lastSeq(); last > 0 && v.saw != last {
		x.step(fmt.Sprintf("survivor %d looks", i), func(s *modelState) error {
			s.survivors[i].saw, s.survivors[i].sawOld = last, false
			return nil
		})
	}
	if v.saw > 0 && v.sawOld && x.from.n < modelLog {
		x.step(fmt.Sprintf("survivor %d claims", i), func(s *modelState) error { return x.claim(s, i) })
	}
}

func (x *explorer) claim(s *modelState, i int) error {
	v := &s.survivors[i]
	saw := v.saw
	*v = survivorState{}
	if s.lastSeq() != saw && (x.mutation != noExpectedSequence || s.n == 0) {
		return nil
	}
	s.everClaimed = true
	v.at = s.append(modelEntry{done: 0})
	open, closes, marked := uint8(0), uint8(0), uint8(0)
	for _, e := range s.log[:s.n] {
		open = (open | e.opens) &^ e.closes
		closes |= e.closes
		marked |= e.marked
		v.done = max(v.done, e.done)
	}
	add := func(kind uint8) { v.list[v.n] = kind; v.n++ }
	for c := range uint8(modelConns) {
		if (closes&^marked)>>c&1 == 1 {
			add(c)
		}
	}
	for c := range uint8(modelConns) {
		if open>>c&1 == 1 {
			add(c | lostBit)
		}
	}
	return nil
}

func (x *explorer) claimerSteps(i int) {
	v := &x.from.survivors[i]
	publish := func(s *modelState, n uint8) error {
		entry := s.survivors[i].list[n]
		if entry&lostBit != 0 {
			return s.publish("lost", int(entry&^lostBit))
		}
		return s.publish("recorded", int(entry))
	}
	writeDown := func(s *modelState, done uint8) {
		w := &s.survivors[i]
		if s.lastSeq() != w.at || s.n == modelLog {
			*w = survivorState{}
			return
		}
		w.at = s.append(modelEntry{done: done})
		w.done = done
	}
	switch {
	case v.done >= v.n:
		x.step(fmt.Sprintf("survivor %d forgets", i), func(s *modelState) error {
			if at := s.survivors[i].at; s.lastSeq() == at { // the tombstone comes before
				s.purge(at + 1)
			}
			s.survivors[i] = survivorState{}
			return nil
		})
	case x.mutation == writtenDownBeforePublished && !v.ahead:
		x.step(fmt.Sprintf("survivor %d writes down first", i), func(s *modelState) error {
			writeDown(s, v.done+1)
			if s.survivors[i].at > 0 {
				s.survivors[i].done--
				s.survivors[i].ahead = true
			}
			return nil
		})
	case x.mutation == writtenDownBeforePublished:
		x.step(fmt.Sprintf("survivor %d publishes late", i), func(s *modelState) error {
			err := publish(s, v.done)
			s.survivors[i].done++
			s.survivors[i].ahead = false
			return err
		})
	case !v.ahead:
		x.step(fmt.Sprintf("survivor %d publishes", i), func(s *modelState) error {
			s.survivors[i].ahead = true
			return publish(s, v.done)
		})
	default:
		x.step(fmt.Sprintf("survivor %d writes down", i), func(s *modelState) error {
			s.survivors[i].ahead = false
			writeDown(s, v.done+1)
			return nil
		})
	}
}
