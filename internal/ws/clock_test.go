package ws

import (
	"math/rand/v2"
	"testing"
	"time"
)

// stoppedClock has no goroutine: the test says what time it is.
func stoppedClock() *clock { return &clock{resolution: time.Second} }

const second = int64(time.Second)

func (c *clock) expectDue(t *testing.T, now int64, want ...*Conn) {
	t.Helper()
	got := c.dueAt(now)
	if len(got) != len(want) {
		t.Fatalf("%d are due at %v, want %d", len(got), time.Duration(now), len(want))
	}
	for i := range want {
		if got[i] != want[i] || got[i].alarm.tick != 0 {
			t.Errorf("number %d at %v is the wrong one or still armed", i, time.Duration(now))
		}
	}
}

func TestClockIsNeverEarlyAndOneTickLate(t *testing.T) {
	c, a := stoppedClock(), new(Conn)
	c.arm(a, 3*second+1)
	c.expectDue(t, 3*second)
	c.expectDue(t, 3*second+second/2)
	c.expectDue(t, 4*second, a)
	c.expectDue(t, 5*second)
}

func TestClockThatComesLateMissesNothing(t *testing.T) {
	c, a, b := stoppedClock(), new(Conn), new(Conn)
	c.arm(a, 3*second)
	c.arm(b, 5000*second)
	c.expectDue(t, 4000*second, a)
	c.expectDue(t, 20000*second, b)
}

func TestClockBeyondOneRound(t *testing.T) {
	c, a := stoppedClock(), new(Conn)
	c.arm(a, 3*clockSlots*second+7*second)
	for now := int64(0); now <= 3*clockSlots+7; now++ {
		c.expectDue(t, now*second)
	}
	c.expectDue(t, (3*clockSlots+8)*second, a)
}

func TestClockArmedAgainTakesTheEarlier(t *testing.T) {
	c, a := stoppedClock(), new(Conn)
	c.arm(a, 10*second)
	c.arm(a, 20*second)
	c.arm(a, 5*second)
	c.expectDue(t, 6*second, a)
	c.expectDue(t, 30*second)
}

func TestClockArmedInThePast(t *testing.T) {
	c, a := stoppedClock(), new(Conn)
	c.expectDue(t, 100*second)
	c.arm(a, 3*second)
	c.expectDue(t, 101*second, a)
	c.arm(a, 0)
	c.expectDue(t, 102*second, a)
}

func TestClockDisarmed(t *testing.T) {
	c := stoppedClock()
	var all [3]Conn
	for i := range all {
		c.arm(&all[i], second)
	}
	c.disarm(&all[1]) // in the middle of its slot
	c.disarm(&all[1])
	c.expectDue(t, 2*second, &all[2], &all[0])
	for i := range all {
		if all[i].alarm != (alarm{}) {
			t.Errorf("connection %d is still in the clock", i)
		}
	}
}

func TestClockAgainstAModel(t *testing.T) {
	c := stoppedClock()
	conns := make([]Conn, 50)
	due := map[*Conn]int64{}
	now := int64(0)
	for range 20000 {
		conn := &conns[rand.IntN(len(conns))]
		switch rand.IntN(4) {
		case 0, 1:
			at := now + rand.Int64N(2000*second)>>rand.IntN(12)
			if old, ok := due[conn]; !ok || at < old {
				due[conn] = at
			}
			c.arm(conn, at)
		case 2:
			c.disarm(conn)
			delete(due, conn)
		case 3:
			now += rand.Int64N(700*second) >> rand.IntN(14)
			for _, got := range c.dueAt(now) {
				if at, ok := due[got]; !ok || at > now {
					t.Fatalf("due at %v, came at %v", time.Duration(at), time.Duration(now))
				}
				delete(due, got)
			}
			for _, at := range due {
				if now-at > second {
					t.Fatalf("due at %v, not come at %v", time.Duration(at), time.Duration(now))
				}
			}
		}
	}
}
