package life_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-broker/holdfast/internal/bus/life"
	"github.com/holdfast-broker/holdfast/internal/hub"
)

var errAway = errors.New("no leader")

// memoryLog is a Log whose answers a test can steer.
type memoryLog struct {
	mu       sync.Mutex
	seq      uint64
	subjects map[hub.NodeID][]life.Message
	away     bool // nothing is answered
	lost     bool
	epoch    uint64
	lose     map[string]int    // operation: how many answers get lost after they took effect
	appends  chan life.Message // told of each append, when there is room
}

func newMemoryLog() *memoryLog {
	return &memoryLog{
		subjects: make(map[hub.NodeID][]life.Message), lose: make(map[string]int),
		appends: make(chan life.Message, 1000),
	}
}

func (l *memoryLog) Append(_ context.Context, node hub.NodeID, after uint64, data []byte) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.away {
		return 0, errAway
	}
	if last := l.lastLocked(node); last != after {
		return 0, &life.Conflict{Last: last}
	}
	l.seq++
	m := life.Message{Seq: l.seq, Time: time.Now(), Data: slices.Clone(data)}
	l.subjects[node] = append(l.subjects[node], m)
	select {
	case l.appends <- m:
	default:
	}
	return l.seq, l.lostLocked("append")
}

func (l *memoryLog) lastLocked(node hub.NodeID) uint64 {
	if ms := l.subjects[node]; len(ms) > 0 {
		return ms[len(ms)-1].Seq
	}
	return 0
}

func (l *memoryLog) lostLocked(operation string) error {
	if l.lose[operation] > 0 {
		l.lose[operation]--
		return context.DeadlineExceeded
	}
	return nil
}

func (l *memoryLog) Last(_ context.Context, node hub.NodeID) (life.Message, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.away {
		return life.Message{}, errAway
	}
	if ms := l.subjects[node]; len(ms) > 0 {
		return ms[len(ms)-1], nil
	}
	return life.Message{}, life.ErrNone
}

func (l *memoryLog) MaxMessage() int { return 1 << 20 }

func (l *memoryLog) Epoch() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.epoch
}

func (l *memoryLog) Get(_ context.Context, node hub.NodeID, seq uint64) (life.Message, error) {
	for _, m := range l.messages(node) {
		if m.Seq == seq {
			return m, nil
		}
	}
	return life.Message{}, life.ErrNone
}

func (l *memoryLog) Read(_ context.Context, node hub.NodeID, upTo uint64, visit func(life.Message) error) error {
	l.mu.Lock()
	err := l.lostLocked("read")
	l.mu.Unlock()
	if err != nil {
		return err
	}
	for _, m := range l.messages(node) {
		if m.Seq > upTo {
			break
		}
		if err := visit(m); err != nil {
			return err
		}
	}
	return nil
}

func (l *memoryLog) Purge(_ context.Context, node hub.NodeID, below uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.away {
		return errAway
	}
	l.subjects[node] = slices.DeleteFunc(l.subjects[node], func(m life.Message) bool { return m.Seq < below })
	return nil
}

func (l *memoryLog) Nodes(context.Context) (nodes []hub.NodeID, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.lostLocked("nodes"); err != nil {
		return nil, err
	}
	for node, ms := range l.subjects {
		if len(ms) > 0 {
			nodes = append(nodes, node)
		}
	}
	slices.Sort(nodes)
	return nodes, nil
}

func (l *memoryLog) Lost(context.Context) (lost bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	lost, l.lost = l.lost, false
	return lost, nil
}

// wipe loses everything, as servers do that come back without their disks.
func (l *memoryLog) wipe() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost, l.subjects = true, make(map[hub.NodeID][]life.Message)
}

// comeBack forgets everything behind a sequence, as a single server does that lost what it had not synced.
func (l *memoryLog) comeBack(seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for node, ms := range l.subjects {
		l.subjects[node] = slices.DeleteFunc(ms, func(m life.Message) bool { return m.Seq > seq })
	}
	l.seq = seq
	l.epoch++
}

func (l *memoryLog) messages(node hub.NodeID) []life.Message {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.subjects[node])
}

func (l *memoryLog) setAway(away bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.away = away
}

func (l *memoryLog) loseNext(operation string, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lose[operation] = n
}

// events is a bus that confirms at once, or when a test says so.
type events struct {
	mu               sync.Mutex
	taken, confirmed uint64
	held             bool
}

func (e *events) take() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.taken++
	if !e.held {
		e.confirmed = e.taken
	}
}

func (e *events) Taken() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.taken
}

func (e *events) Confirmed() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.confirmed
}

func (e *events) hold(held bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.held = held
	if !held {
		e.confirmed = e.taken
	}
}
