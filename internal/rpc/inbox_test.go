package rpc

import (
	"errors"
	"testing"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

func TestInboxIsBounded(t *testing.T) {
	b := inbox{ready: make(chan struct{}, 1)}
	if _, ok := b.take(); ok {
		t.Error("an empty inbox has something")
	}
	b.put(watchPart{events: make([]byte, hub.WatchBuffer+1)}) // a single event, however large
	if p, ok := b.take(); !ok || len(p.events) != hub.WatchBuffer+1 {
		t.Fatalf("took %d bytes, %v", len(p.events), ok)
	}
	b.put(watchPart{events: make([]byte, 1)}) // the one before is still being sent
	b.put(watchPart{events: make([]byte, 1)}) // and this is too late
	if p, ok := b.take(); !ok || !errors.Is(p.err, hub.ErrWatchLagged) {
		t.Fatalf("took %v", p)
	}
	if _, ok := b.take(); ok {
		t.Error("there is something after the end")
	}

	b = inbox{ready: make(chan struct{}, 1)}
	for range 3 {
		b.put(watchPart{events: make([]byte, 1<<20)})
	}
	for i := range 3 {
		<-b.ready // an element as long as there is something
		if p, ok := b.take(); !ok || len(p.events) != 1<<20 {
			t.Errorf("part %d: %d bytes, %v", i, len(p.events), ok)
		}
	}
	b.take()
	if b.bytes != 0 {
		t.Errorf("%d bytes are counted", b.bytes)
	}
}
