package app

import (
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"
)

// seldom keeps a line that strangers can cause from filling the log. Its zero value is ready.
type seldom struct {
	mu     sync.Mutex
	next   time.Time
	silent int
}

// between is the time between two such lines.
const between = 10 * time.Second

// due reports whether the line may be written now, and how many were not since the last one.
func (s *seldom) due(now time.Time) (silent int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Before(s.next) {
		s.silent++
		return 0, false
	}
	silent, s.silent, s.next = s.silent, 0, now.Add(between)
	return silent, true
}

// maxShown bounds what the log repeats of a header.
const maxShown = 256

// foreign tells the operator of a page that may not connect. Most often it is their own, on a host that they forgot.
func (ep *endpoint) foreign(logger *slog.Logger, r *http.Request) {
	silent, ok := ep.foreigners.due(time.Now())
	if !ok {
		return
	}
	origin := r.Header.Get("Origin")
	origin = strings.ToValidUTF8(origin[:min(len(origin), maxShown)], "")
	logger.Warn("a page of an origin that is not allowed was refused: if it is yours, add the origin to the setting",
		"origin", origin, "setting", ep.key+".origins", "endpoint", ep.hub.Path,
		"host", strings.ToValidUTF8(r.Host[:min(len(r.Host), maxShown)], ""), "not_logged", silent)
}
