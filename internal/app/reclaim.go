package app

import (
	"context"
	"os"
	"runtime/debug"
	gometrics "runtime/metrics"
	"time"
)

// Go's collector lets the heap grow to twice what is alive, and when nothing becomes garbage any more it keeps what the
// last burst of handshakes or messages left behind: a process with many idle connections would hold twice what they
// need for as long as they are idle. So when a burst is over the broker collects once, and gives back what is free.
// Under load, when little of that would last, it leaves everything to Go.
const (
	// memoryLook is how often it looks, and how long a burst must be over.
	memoryLook = 2 * time.Second
	// memoryShare is the part of one processor that this may take: one in so many.
	memoryShare = 200
	// memoryGain is what must have been added to the heap since the last time, in bytes, and at least a quarter of
	// the heap: less is not worth the work.
	memoryGain = 2 << 20
)

// heap is the process's at one moment, in bytes.
type heap struct {
	allocated uint64 // so far
	held      uint64 // has been taken from the system and not given back
}

// reclaimer decides when memory is given back.
type reclaimer struct {
	before heap      // at the last look
	left   uint64    // held when memory was given back
	next   time.Time // not before
}

// due is asked every memoryLook.
func (r *reclaimer) due(now time.Time, h heap) bool {
	quiet := h.allocated-r.before.allocated <= h.held/16
	r.before = h
	gain := h.held - min(h.held, r.left)
	return quiet && gain >= max(memoryGain, r.left/4) && !now.Before(r.next)
}

// done says how long giving memory back took, and what is held since.
func (r *reclaimer) done(now time.Time, took time.Duration, h heap) {
	r.before, r.left, r.next = h, h.held, now.Add(memoryShare*took)
}

// heapNow asks the runtime, which stops nobody for that.
func heapNow() heap {
	samples := []gometrics.Sample{
		{Name: "/gc/heap/allocs:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
	}
	gometrics.Read(samples)
	h := heap{allocated: samples[0].Value.Uint64()}
	for _, s := range samples[1:] {
		h.held += s.Value.Uint64()
	}
	return h
}

// collectorIsTuned: an operator who says how much memory there is to be, or when it is collected, is not second-guessed.
func collectorIsTuned(getenv func(string) string) bool {
	return getenv("GOGC") != "" || getenv("GOMEMLIMIT") != ""
}

// startReclaiming gives back what the start left behind, and from then on what is left behind later.
func (b *broker) startReclaiming(context.Context) error {
	if collectorIsTuned(os.Getenv) {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	b.stopReclaiming = cancel
	b.serving.Go(func() { reclaim(ctx) })
	return nil
}

func reclaim(ctx context.Context) {
	each := time.NewTicker(memoryLook)
	defer each.Stop()
	var r reclaimer
	for {
		if now := time.Now(); r.due(now, heapNow()) {
			debug.FreeOSMemory()
			r.done(time.Now(), time.Since(now), heapNow())
		}
		select {
		case <-each.C:
		case <-ctx.Done():
			return
		}
	}
}
