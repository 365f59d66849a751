package app

import (
	"testing"
	"time"
)

const mega = 1 << 20

func TestMemoryIsGivenBackWhenABurstIsOver(t *testing.T) {
	start := time.Now()
	reclaimed := func() reclaimer {
		var r reclaimer
		r.done(start, 10*time.Millisecond, heap{allocated: 100 * mega, held: 40 * mega})
		return r
	}
	for name, c := range map[string]struct {
		after time.Duration
		now   heap
		due   bool
	}{
		"over":              {time.Minute, heap{100 * mega, 80 * mega}, true},
		"not over":          {time.Minute, heap{106 * mega, 80 * mega}, false},
		"not much":          {time.Minute, heap{100 * mega, 49 * mega}, false},
		"less than before":  {time.Minute, heap{100 * mega, 30 * mega}, false},
		"too soon":          {time.Second, heap{100 * mega, 80 * mega}, false},
		"not too soon":      {2 * time.Second, heap{100 * mega, 80 * mega}, true},
		"only just as much": {time.Minute, heap{100 * mega, 50 * mega}, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := reclaimed()
			if due := r.due(start.Add(c.after), c.now); due != c.due {
				t.Errorf("due is %v", due)
			}
		})
	}
	t.Run("after one that was not over", func(t *testing.T) {
		r, busy := reclaimed(), heap{150 * mega, 80 * mega}
		if r.due(start.Add(time.Minute), busy) || !r.due(start.Add(time.Minute+memoryLook), busy) {
			t.Error("not due once nothing was allocated between two looks")
		}
	})
}

func TestHeapIsSeen(t *testing.T) {
	before := heapNow()
	keep := make([]byte, 8*mega)
	after := heapNow()
	if after.allocated-before.allocated < uint64(len(keep)) || after.held < uint64(len(keep)) {
		t.Errorf("%+v before 8 MiB more and %+v after", before, after)
	}
}

func TestWhoTunesTheCollectorIsNotSecondGuessed(t *testing.T) {
	for name, value := range map[string]string{"GOGC": "200", "GOMEMLIMIT": "1GiB"} {
		if !collectorIsTuned(func(n string) string { return map[string]string{name: value}[n] }) {
			t.Errorf("%s=%s is ignored", name, value)
		}
	}
	if collectorIsTuned(func(string) string { return "" }) {
		t.Error("nobody said anything")
	}
}
