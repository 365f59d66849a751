package main_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
)

// TestThreatProfilesOfTheProcess: the embedded NATS server brings net/http/pprof into the binary, which registers itself with
// a router that nobody must serve.
func TestThreatProfilesOfTheProcess(t *testing.T) {
	b := brokertest.Start(t, "--demo")
	for _, port := range []string{strings.Replace(b.Listen[0], "ws:", "http:", 1), b.Ops} {
		for _, path := range []string{"/debug/pprof/", "/debug/pprof/cmdline", "/debug/pprof/heap", "/debug/vars"} {
			if status, _ := get(t, port+path); status != http.StatusNotFound {
				t.Errorf("%s%s: %d", port, path, status)
			}
		}
	}
}
