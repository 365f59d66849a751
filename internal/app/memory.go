package app

import (
	"context"
	"log/slog"
	"runtime"
	"runtime/debug"
	runtimemetrics "runtime/metrics"
	"sync/atomic"
	"time"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

// memory keeps the process within its budget, before the kernel does it in its way: over the budget no handshake is
// accepted, and the connections that hold most are closed.
type memory struct {
	budget int64
	hub    *hub.Hub
	logger *slog.Logger
	used   func() int64

	short   atomic.Bool // over the budget, and not yet well below it again
	shed    atomic.Uint64
	lines   seldom
	told    bool // the log has the beginning of this shortage
	stop    context.CancelFunc
	stopped chan struct{}
}

// lookAtMemory is how often the memory is looked at. Between two looks a process takes a few per cent of a budget, or its
// network would be faster than most.
const lookAtMemory = 100 * time.Millisecond

// watchMemory begins to; nil: there is no budget.
func watchMemory(budget int64, h *hub.Hub, logger *slog.Logger) *memory {
	if budget == 0 {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &memory{budget: budget, hub: h, logger: logger, used: usedMemory, stop: cancel, stopped: make(chan struct{})}
	go m.watch(ctx)
	return m
}

func (m *memory) close() {
	if m == nil {
		return
	}
	m.stop()
	<-m.stopped
}

// isShort reports whether no handshake may be accepted.
func (m *memory) isShort() bool { return m != nil && m.short.Load() }

func (m *memory) watch(ctx context.Context) {
	defer close(m.stopped)
	tick := time.NewTicker(lookAtMemory)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			m.look()
		}
	}
}

// What a shortage is about, as parts of a hundred of the budget. Once over it connections are closed until the use would
// be down to shedTo; below enoughFree it has ended. They differ, so that a few connections more or less neither keep it
// going nor begin it again.
const (
	enoughFree = 90
	shedTo     = 80
)

func (m *memory) look() {
	used, limit := m.used(), m.budget
	if m.isShort() {
		limit = m.budget / 100 * enoughFree
	}
	if used > limit {
		runtime.GC() // nobody is to go, or to be kept out, for what is garbage
		used = m.used()
	}
	switch {
	case used > limit:
		if m.short.CompareAndSwap(false, true) {
			m.tell(used)
		}
		m.shed.Add(uint64(m.hub.Shed(uint64(used - m.budget/100*shedTo))))
	case m.short.CompareAndSwap(true, false) && m.told:
		m.logger.Info("within the memory budget again", "used", used, "budget", m.budget, "closed", m.shed.Load())
	}
}

// tell logs the beginning of a shortage; of an attack there are many.
func (m *memory) tell(used int64) {
	var silent int
	if silent, m.told = m.lines.due(time.Now()); m.told {
		m.logger.Warn("over the memory budget: no connection is accepted, and those that hold most are closed",
			"used", used, "budget", m.budget, "connections", m.hub.Len(), "not_logged", silent)
	}
}

// usedMemory is what the process has from the system and needs. What it holds for later use is not among it: of that Go
// gives back what would be over its own limit.
func usedMemory() int64 {
	samples := []runtimemetrics.Sample{
		{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}, {Name: "/memory/classes/heap/free:bytes"},
	}
	runtimemetrics.Read(samples)
	return int64(samples[0].Value.Uint64() - samples[1].Value.Uint64() - samples[2].Value.Uint64())
}

// setMemoryLimit makes Go collect garbage more often rather than go over the budget. A limit that the operator gave Go
// stays.
func setMemoryLimit(budget int64) {
	const part = 90 // of a hundred: a budget is for what is no garbage
	if _, given := goMemoryLimit(); !given && budget > 0 {
		debug.SetMemoryLimit(budget / 100 * part)
	}
}
