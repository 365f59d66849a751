package main_test

import (
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
)

// Who waits for a node to stop sees in its log that it does: here a client is slow to answer the close frame.
func TestDrainSaysHowManyConnectionsAndSecondsAreLeft(t *testing.T) {
	b := brokertest.Start(t)
	peer := wstest.Dial(t, b.URL("/"), nil)
	b.Signal(syscall.SIGTERM)
	peer.ExpectClose(wire.ServiceRestart)
	progress := regexp.MustCompile(`draining.*connections_left\W+1\b.*seconds_left\W+\d+`)
	for begin := time.Now(); !progress.MatchString(b.Stderr()); time.Sleep(20 * time.Millisecond) {
		if time.Since(begin) > brokertest.Patience {
			t.Fatalf("no progress; stderr:\n%s", b.Stderr())
		}
	}
	peer.Send(wstest.Close(wire.ServiceRestart, ""))
	if code := b.Wait(); code != 0 {
		t.Errorf("exit code %d; stderr:\n%s", code, b.Stderr())
	}
}
