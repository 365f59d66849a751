package app

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A drain says every second how many connections are left and how long they have, and nothing once it is over.
func TestDrainReportsItsProgressEverySecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{
			ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
					return slog.Attr{}
				}
				return a
			},
		}))
		connections := 50
		end := reportProgress(logger, time.Now().Add(2500*time.Millisecond), func() int { connections -= 10; return connections })
		time.Sleep(3100 * time.Millisecond)
		end()
		time.Sleep(10 * time.Second)
		want := []string{
			"msg=draining connections_left=40 seconds_left=2",
			"msg=draining connections_left=30 seconds_left=1", // half a second, rounded
			"msg=draining connections_left=20 seconds_left=0",
		}
		if got := strings.TrimSpace(log.String()); got != strings.Join(want, "\n") {
			t.Errorf("logged\n%s\nwant\n%s", got, strings.Join(want, "\n"))
		}
	})
}
