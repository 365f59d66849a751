package app

import (
	"log/slog"
	"math"
	"time"
)

// progressEvery is how often a drain says how far it is.
const progressEvery = time.Second

// reportProgress logs how many connections are left and how many seconds they have, until end is called: who waits for
// a node to stop must see that it does, and when it will have.
func reportProgress(logger *slog.Logger, deadline time.Time, left func() int) (end func()) {
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		each := time.NewTicker(progressEvery)
		defer each.Stop()
		for {
			select {
			case <-each.C:
				seconds := math.Round(max(time.Until(deadline), 0).Seconds())
				logger.Info("draining", "connections_left", left(), "seconds_left", int(seconds))
			case <-over:
				return
			}
		}
	}()
	return func() { close(over); <-ended }
}
