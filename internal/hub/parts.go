package hub

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// leastPart is how many connections are worth a goroutine: it writes to them for some milliseconds.
const leastPart = 1024

// inParts calls do for all connections, and returns when all is done: in parts at the same time, when they are many, so
// that the last does not wait for all others; but on no more than half of the cores, so that others do not wait either.
// If do panics, so does inParts.
func inParts(conns []*Conn, do func(part []*Conn)) {
	n := max(1, min(runtime.GOMAXPROCS(0)/2, len(conns)/leastPart))
	var others sync.WaitGroup
	var panicked atomic.Pointer[any]
	defer func() {
		others.Wait()
		if p := panicked.Load(); p != nil {
			panic(*p) //nolint:forbidigo // it was one already, and belongs to who called
		}
	}()
	for i := 1; i < n; i++ {
		part := conns[i*len(conns)/n : (i+1)*len(conns)/n]
		others.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					panicked.Store(&p)
				}
			}()
			do(part)
		})
	}
	do(conns[:len(conns)/n])
}
