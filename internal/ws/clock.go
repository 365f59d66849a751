package ws

import (
	"math"
	"sync"
	"time"
)

// clock calls connections back at times of their choice, from one goroutine: a timer of its own for
// each would cost memory while nothing happens. It is a wheel of slots of one resolution each; an entry
// due in a later round stays in its slot.
type clock struct {
	resolution time.Duration
	start      time.Time

	mu    sync.Mutex
	slots [clockSlots]*Conn // heads of doubly linked lists
	turn  uint32            // slots visited so far: the tick that is due next

	stop chan struct{}
	done chan struct{}
}

const clockSlots = 512

// alarm is a connection's place in the clock, guarded by clock.mu.
type alarm struct {
	prev, next *Conn
	tick       uint32 // 0: not armed; lies in the slot of that number modulo clockSlots
}

func newClock(resolution time.Duration) *clock {
	c := &clock{
		resolution: resolution, start: time.Now(),
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	go c.run()
	return c
}

// now is the time since the clock was made, in nanoseconds; it never stands still or jumps.
func (c *clock) now() int64 { return int64(time.Since(c.start)) }

// arm sees to it that the connection is called at that time, or earlier if it was armed earlier.
func (c *clock) arm(conn *Conn, at int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	tick := max(c.tick(at)+1, c.turn, 1) // never one that has passed already
	if conn.alarm.tick != 0 && conn.alarm.tick <= tick {
		return
	}
	c.unlinkLocked(conn)
	head := &c.slots[tick%clockSlots]
	conn.alarm = alarm{tick: tick, next: *head}
	if *head != nil {
		(*head).alarm.prev = conn
	}
	*head = conn
}

// tick is the number of a time's tick. What is too far off for one (13 years at 100 ms) never comes.
func (c *clock) tick(at int64) uint32 {
	return uint32(min(max(at, 0)/int64(c.resolution), math.MaxUint32-1))
}

func (c *clock) disarm(conn *Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unlinkLocked(conn)
}

func (c *clock) unlinkLocked(conn *Conn) {
	a := conn.alarm
	if a.tick == 0 {
		return
	}
	if a.next != nil {
		a.next.alarm.prev = a.prev
	}
	if a.prev != nil {
		a.prev.alarm.next = a.next
	} else {
		c.slots[a.tick%clockSlots] = a.next
	}
	conn.alarm = alarm{}
}

func (c *clock) run() {
	defer close(c.done)
	ticker := time.NewTicker(c.resolution)
	defer ticker.Stop()
	for {
		select {
		case <-c.stop:
			return
		case <-ticker.C:
			for _, conn := range c.dueAt(c.now()) {
				conn.tick(c.now())
			}
		}
	}
}

// dueAt takes the connections that are due out of the slots that have passed since the last call.
func (c *clock) dueAt(now int64) []*Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	var due []*Conn
	last := c.tick(now)
	if last >= clockSlots {
		c.turn = max(c.turn, last-clockSlots+1) // more than a round behind: each slot once is enough
	}
	for ; c.turn <= last; c.turn++ {
		for conn := c.slots[c.turn%clockSlots]; conn != nil; {
			next := conn.alarm.next
			if conn.alarm.tick <= last {
				c.unlinkLocked(conn)
				due = append(due, conn)
			}
			conn = next
		}
	}
	return due
}

func (c *clock) close() {
	close(c.stop)
	<-c.done
}
