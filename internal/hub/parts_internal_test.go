package hub

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
)

// onCores lets the test believe in a machine with so many.
func onCores(t *testing.T, n int) {
	before := runtime.GOMAXPROCS(n)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
}

func strangers(n int) []*Conn {
	conns := make([]*Conn, n)
	for i := range conns {
		conns[i] = new(Conn)
	}
	return conns
}

func TestPartsReachAllOnce(t *testing.T) {
	for cores, sizes := range map[int][]int{
		1: {0, 1, 5 * leastPart}, 2: {5 * leastPart}, 4: {0, 1, 2*leastPart - 1, 2 * leastPart, 2*leastPart + 1}, 9: {3*leastPart + 2, 100 * leastPart},
	} {
		onCores(t, cores)
		for _, size := range sizes {
			t.Run(fmt.Sprintf("%d/%d", cores, size), func(t *testing.T) {
				conns := strangers(size)
				var mu sync.Mutex
				reached, parts := make(map[*Conn]int), 0
				inParts(conns, func(part []*Conn) {
					mu.Lock()
					defer mu.Unlock()
					parts++
					for _, c := range part {
						reached[c]++
					}
				})
				for i, c := range conns {
					if reached[c] != 1 {
						t.Fatalf("connection %d is in %d parts", i, reached[c])
					}
				}
				if want := max(1, min(cores/2, size/leastPart)); parts != want {
					t.Errorf("%d parts, want %d", parts, want)
				}
			})
		}
	}
}

// The parts wait for each other, which they can only when none waits for another to be done.
func TestPartsRunAtTheSameTime(t *testing.T) {
	onCores(t, 6)
	var together sync.WaitGroup
	together.Add(3)
	inParts(strangers(3*leastPart), func([]*Conn) {
		together.Done()
		together.Wait()
	})
}

// A panic in any part comes to the caller, who answers for it, and not before the other parts are done.
func TestPartsPassOnAPanic(t *testing.T) {
	onCores(t, 4)
	conns := strangers(2 * leastPart)
	for i, first := range []*Conn{conns[0], conns[leastPart]} {
		var done sync.Map
		func() {
			defer func() {
				if p := recover(); p != "no" {
					t.Errorf("part %d: recovered %v", i, p)
				}
			}()
			inParts(conns, func(part []*Conn) {
				if part[0] == first {
					panic("no")
				}
				done.Store(part[0], true)
			})
		}()
		if _, other := done.Load(conns[(1-i)*leastPart]); !other {
			t.Errorf("part %d panicked, and the other is not done", i)
		}
	}
}
