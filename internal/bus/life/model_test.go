//go:build !race

// The model runs on one goroutine, and the race detector would only make it ten times slower.

package life_test

import (
	"fmt"
	"slices"
	"testing"
)

// The protocol, small enough to visit every state that it can be in: one owner with two connections, two
// survivors, and a log. Answers get lost, attempts arrive late, every process can stop for longer than a
// lease or die between any two steps. Time is a flag: old means that a lease has passed since.

const (
	modelConns     = 1
	modelSurvivors = 2
	modelLog       = 6
	modelBatches   = 3
)

// mutation leaves out one part of the protocol; the model must notice.
type mutation int

const (
	sound mutation = iota
	noExpectedSequence
	noFreeze
	eventsBeforeRecord
	writtenDownBeforePublished
	forgetsUnmarkedCloses
)

// Phases of a connection at its owner.
const (
	none = iota
	opening
	openSent     // its entry is in the batch that is on its way
	openRecorded // acknowledged: the event may go
	open
	closing
	closeSent
	closeRecorded
	closed
)

type modelEntry struct {
	number uint8 // of an owner's batch; 0: a claim
	opens  uint8 // bits of connections
	closes uint8
	marked uint8 // connections whose close was published when it was written
	done   uint8 // of a claim
	seq    uint8
	old    bool
}

type attemptState struct {
	on       bool
	expected uint8
	entry    modelEntry
}

type answerState uint8

const (
	noAnswer answerState = iota
	taken
	conflict
)

type ownerState struct {
	dead, claimed bool
	phase         [modelConns]uint8
	said          [modelConns]bool // a message was published
	number, last  uint8
	leaseOld      bool
	waiting       bool // an append is on its way
	firstOld      bool // its first attempt was sent a lease ago
	batch         modelEntry
	attempts      [2]attemptState // in the network: the first, and a repeat
	repeated      bool
	answer        answerState
	answerOld     bool // the attempt that is answered was sent a lease ago
	answerSeq     uint8
	compacted     bool
	purgeBelow    uint8
}

type survivorState struct {
	dead    bool
	saw     uint8 // sequence; 0: nothing
	sawOld  bool
	at      uint8 // sequence of its last claim; 0: it claims nothing
	list    [2 * modelConns]uint8
	n, done uint8
	ahead   bool // published and not yet written down, or the reverse in a mutation
}

type modelState struct {
	log       [modelLog]modelEntry
	n, seq    uint8
	owner     ownerState
	survivors [modelSurvivors]survivorState
	// what was published
	opened, saidLate [modelConns]bool
	lost, recorded   [modelConns]bool // a close of that kind
	crashes, batches uint8            // of survivors; of the owner
}

// Kinds of close in a survivor's list.
const lostBit = 0x80

func (s *modelState) lastSeq() uint8 {
	if s.n == 0 {
		return 0
	}
	return s.log[s.n-1].seq
}

func (s *modelState) append(e modelEntry) uint8 {
	s.seq++
	e.seq, e.old = s.seq, false
	s.log[s.n] = e
	s.n++
	return e.seq
}

func (s *modelState) purge(below uint8) {
	var kept [modelLog]modelEntry
	n := uint8(0)
	for _, e := range s.log[:s.n] {
		if e.seq >= below {
			kept[n] = e
			n++
		}
	}
	s.log, s.n = kept, n
}

// publish puts an event on the bus, and notices what must never be.
func (s *modelState) publish(kind string, c int) error {
	ended := s.lost[c] || s.recorded[c]
	switch kind {
	case "open", "message":
		if ended {
			return fmt.Errorf("%s of %d after its close", kind, c)
		}
		if kind == "open" {
			s.opened[c] = true
		}
	case "lost":
		s.lost[c] = true
	case "recorded":
		s.recorded[c] = true
	}
	if s.lost[c] && s.recorded[c] {
		return fmt.Errorf("two distinct closes of %d", c)
	}
	return nil
}

// settled: every connection has one close, or lives with an owner that can go on, or was never told of.
func (s *modelState) settled() bool {
	o := &s.owner
	for c := range modelConns {
		lives := !o.dead && !o.claimed && o.phase[c] <= open && !o.leaseOld
		if !lives && s.opened[c] && !s.lost[c] && !s.recorded[c] {
			return false
		}
	}
	return true
}

// normalize makes states the same that differ in nothing that matters: names of sequences and batches, what
// the dead knew, which survivor is which.
func (s *modelState) normalize() {
	o := &s.owner
	if o.dead || o.claimed {
		*o = ownerState{dead: o.dead, claimed: o.claimed, attempts: o.attempts, number: o.number}
	}
	if !o.waiting {
		o.batch, o.answer, o.firstOld, o.repeated = modelEntry{}, noAnswer, false, false
	}
	if o.answer != taken {
		o.answerOld, o.answerSeq = false, 0
	}
	for i := range s.survivors {
		v := &s.survivors[i]
		if v.saw != 0 && v.saw != s.lastSeq() { // it will see that the record has changed
			v.saw = 0
		}
		v.sawOld = v.sawOld && v.saw != 0
	}
	if s.survivors[0].weight() > s.survivors[1].weight() {
		s.survivors[0], s.survivors[1] = s.survivors[1], s.survivors[0]
	}
	s.renumber()
}

// weight orders survivors.
func (v *survivorState) weight() (w uint64) {
	for _, b := range append([]uint8{bit(v.dead), v.saw, bit(v.sawOld), v.at, v.n, v.done, bit(v.ahead)}, v.list[0]) {
		w = w<<8 | uint64(b)
	}
	return w
}

func bit(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

// renumber gives sequences their rank, and batches 1 (an old one) or 2 (the last).
func (s *modelState) renumber() {
	o := &s.owner
	used := []*uint8{&o.last, &o.answerSeq, &o.attempts[0].expected, &o.attempts[1].expected}
	if o.purgeBelow != 255 {
		used = append(used, &o.purgeBelow)
	}
	for i := range s.n {
		used = append(used, &s.log[i].seq)
	}
	for i := range s.survivors {
		used = append(used, &s.survivors[i].saw, &s.survivors[i].at)
	}
	var there [256]bool
	for _, u := range used {
		there[*u] = true
	}
	there[0] = false
	var rank [256]uint8
	for v := 1; v < len(there); v++ {
		if there[v] {
			rank[v] = 1
		}
		rank[v] += rank[v-1]
	}
	s.seq = rank[255]
	for _, u := range used {
		*u = rank[*u]
	}
	number := func(n *uint8) {
		switch {
		case *n == 0:
		case *n == o.number:
			*n = 2
		default:
			*n = 1
		}
	}
	for i := range s.n {
		number(&s.log[i].number)
	}
	number(&o.batch.number)
	for i := range o.attempts {
		number(&o.attempts[i].entry.number)
	}
	o.number = 2
}

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
		if s.n == 0 || s.log[s.n-1].number != o.number {
			o.claimed = true
			return nil
		}
		seq, old = s.lastSeq(), o.firstOld
	}
	o.waiting, o.answer, o.last, o.leaseOld = false, noAnswer, seq, old
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
		if x.mutation == forgetsUnmarkedCloses || marksAll(s, seq) {
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
			s.purge(s.survivors[i].at + 1)
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

// checkModel visits every state and answers how many there are and what went wrong first.
func checkModel(m mutation) (states int, problem error) {
	initial := modelState{}
	initial.seq = 1
	initial.log[0] = modelEntry{number: 1, seq: 1}
	initial.n = 1
	initial.owner.number, initial.owner.last = 1, 1
	index := map[modelState]int32{initial: 0}
	order := []modelState{initial}
	var before [][]int32
	before = append(before, nil)
	for i := 0; i < len(order); i++ {
		x := explorer{mutation: m, from: order[i]}
		for _, next := range x.explore() {
			if next.err != nil {
				return len(order), fmt.Errorf("after %q: %w", next.name, next.err)
			}
			next.state.normalize()
			at, known := index[next.state]
			if !known {
				at = int32(len(order))
				index[next.state] = at
				order = append(order, next.state)
				before = append(before, nil)
			}
			before[at] = append(before[at], int32(i))
		}
	}
	return len(order), unsettled(order, before)
}

// unsettled finds a state from which no settled state can be reached any more: a close is lost.
func unsettled(order []modelState, before [][]int32) error {
	good := make([]bool, len(order))
	var queue []int32
	for i := range order {
		if order[i].settled() {
			good[i] = true
			queue = append(queue, int32(i))
		}
	}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		for _, b := range before[at] {
			if !good[b] {
				good[b] = true
				queue = append(queue, b)
			}
		}
	}
	if i := slices.Index(good, false); i >= 0 {
		return fmt.Errorf("a close is lost for ever in %+v", order[i])
	}
	return nil
}

func TestModelHasOneCloseForEachOpen(t *testing.T) {
	states, err := checkModel(sound)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d states", states)
}

func TestModelNoticesWhatIsLeftOut(t *testing.T) {
	for name, m := range map[string]mutation{
		"no expected sequence": noExpectedSequence, "no freeze": noFreeze, "events before the record": eventsBeforeRecord,
		"written down before it is published": writtenDownBeforePublished, "unmarked closes forgotten": forgetsUnmarkedCloses,
	} {
		t.Run(name, func(t *testing.T) {
			states, err := checkModel(m)
			if err == nil {
				t.Fatalf("nothing noticed in %d states", states)
			}
			t.Logf("after %d states: %v", states, err)
		})
	}
}
