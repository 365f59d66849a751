package ws

import (
	"sync"
	"testing"
	"time"
)

// Whoever adds at the same time, nothing is forgotten, and each waits for what was there before it.
func TestSharedMeterForgetsNothing(t *testing.T) {
	const adders, each, perSecond, now = 8, 10_000, 1000, int64(time.Minute)
	m := sharedMeter{perSecond: perSecond}
	ends := make([]map[int64]bool, adders)
	var wg sync.WaitGroup
	for i := range adders {
		ends[i] = make(map[int64]bool)
		wg.Go(func() {
			for range each {
				ends[i][m.add(now, 1)] = true
			}
		})
	}
	wg.Wait()
	if got, want := m.paid.Load()-now, adders*each*int64(time.Second)/perSecond; got != want {
		t.Errorf("%d to pay, want %d", got, want)
	}
	all := make(map[int64]bool)
	for _, some := range ends {
		for at := range some {
			all[at] = true
		}
	}
	if len(all) != adders*each {
		t.Errorf("%d places in the line, want %d", len(all), adders*each)
	}
}
