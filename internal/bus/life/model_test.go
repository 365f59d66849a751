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
	soundWithOlderLog
	noExpectedSequence
	noFreeze
	eventsBeforeRecord
	writtenDownBeforePublished
	forgetsUnmarkedCloses
	// With a log that comes back older.
	writesAgainWhenFrozen
	countsAcrossAnOlderLog
	trustsTheSequence
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
	opened           [modelConns]bool
	lost, recorded   [modelConns]bool // a close of that kind
	crashes, batches uint8            // of survivors; of the owner
	// A single server came back with an older state: it may once. What was in the part that it lost is harm done,
	// until the owner has written its record again.
	canComeBack, cameBack, harmed, again bool
	everClaimed                          bool // also when the log has lost it
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
	ended := (s.lost[c] || s.recorded[c]) && !s.harmed
	switch kind {
	case "open", "message":
		if s.everClaimed {
			return fmt.Errorf("%s of %d from an owner that is claimed", kind, c)
		}
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
	if s.lost[c] && s.recorded[c] && !s.harmed {
		return fmt.Errorf("two distinct closes of %d", c)
	}
	return nil
}

// settled: every connection has one close, or lives with an owner that can go on, or was never told of.
func (s *modelState) settled() bool {
	o := &s.owner
	if s.harmed {
		return true
	}
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
		if v.saw != 0 && v.saw != s.lastSeq() && !s.canComeBack { // it will see that the record has changed
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
	if s.cameBack {
		used = append(used, &s.seq)
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
	for _, u := range used {
		*u = rank[*u]
	}
	if !s.cameBack { // else sequences are used again
		s.seq = rank[255]
	}
	number := func(n *uint8) {
		switch *n {
		case 0:
		case o.number:
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

// checkModel visits every state and answers how many there are and what went wrong first.
func checkModel(m mutation) (states int, problem error) {
	initial := modelState{}
	if m >= writesAgainWhenFrozen || m == soundWithOlderLog {
		initial.canComeBack, initial.crashes = true, 1 // one trouble at a time
		initial.survivors[1].dead = true
	}
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

// TestModelWithOlderLog: who goes on after a single server came back with an older state was not claimed, whatever the
// server has lost; and once it has written its record again, everything is as before.
func TestModelWithOlderLog(t *testing.T) {
	states, err := checkModel(soundWithOlderLog)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d states", states)
}

func TestModelNoticesWhatIsLeftOut(t *testing.T) {
	for name, m := range map[string]mutation{
		"no expected sequence": noExpectedSequence, "no freeze": noFreeze, "events before the record": eventsBeforeRecord,
		"written down before it is published": writtenDownBeforePublished, "unmarked closes forgotten": forgetsUnmarkedCloses,
		"an older log, and written again when frozen": writesAgainWhenFrozen,
		"an older log, and counted across":            countsAcrossAnOlderLog, "an older log, and its sequences trusted": trustsTheSequence,
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
