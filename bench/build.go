//go:build linux

package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

const (
	module     = "github.com/holdfast-broker/holdfast/"
	natsServer = "github.com/nats-io/nats-server/v2"
)

// profiler becomes a file of the broker's main package, for that build alone: the product has no such door.
//
//go:embed profiler.go.txt
var profiler string

// build builds everything that is measured. Plain flags: what is measured is what an operator would build.
func (l *lab) build(ctx context.Context) error {
	if l.url != nil {
		return nil
	}
	err := l.buildOwn(ctx)
	if err == nil {
		l.buildPeers(ctx)
	}
	return err
}

// buildOwn builds what was not given.
func (l *lab) buildOwn(ctx context.Context) (err error) {
	var flags []string
	if l.profile != "" {
		if flags, err = l.withProfiler(ctx); err != nil {
			return err
		}
		l.broker = ""
	}
	for _, program := range []struct {
		path  *string
		name  string
		pkg   string
		flags []string
	}{
		{&l.broker, "broker", module + "cmd/broker", flags},
		{&l.nats, "nats-server", natsServer, nil},
		{&l.limits, "limits", module + "bench/limits", nil},
	} {
		if *program.path != "" {
			continue
		}
		*program.path = filepath.Join(l.dir, program.name)
		args := append([]string{"build", "-o", *program.path}, program.flags...)
		if _, err := goTool(ctx, append(args, program.pkg)...); err != nil {
			return err
		}
	}
	return l.certify()
}

// buildPeers does without them where they cannot be had: the broker's limits are measured all the same.
func (l *lab) buildPeers(ctx context.Context) {
	path := filepath.Join(l.dir, "peers")
	_, err := goTool(ctx, "build", "-C", peersDir, "-o", path, ".")
	if err == nil {
		_, err = os.Stat(filepath.Join(peersDir, "node_modules", "ws"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: without other servers:", err)
		return
	}
	l.peers = path
}

// peerNames are the other servers that are measured.
func (l *lab) peerNames() []string {
	if l.peers == "" {
		return nil
	}
	return []string{gws, gorilla, nodeWS}
}

// withProfiler answers the flag that adds the profiler to a build of the broker.
func (l *lab) withProfiler(ctx context.Context) ([]string, error) {
	dir, err := goTool(ctx, "list", "-f", "{{.Dir}}", module+"cmd/broker")
	if err != nil {
		return nil, err
	}
	source, overlay := filepath.Join(l.dir, "profiler.go"), filepath.Join(l.dir, "overlay.json")
	text, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(dir, "profiler_bench.go"): source}})
	err = errors.Join(err,
		os.MkdirAll(l.profile, 0o750),                 //nolint:gosec // the path is the operator's
		os.WriteFile(source, []byte(profiler), 0o600), //nolint:gosec // in a directory of our own
		os.WriteFile(overlay, text, 0o600))            //nolint:gosec // the same
	return []string{"-overlay=" + overlay}, err
}

// nextProfile says to the broker that is started next where its profile goes.
func (l *lab) nextProfile() {
	l.profiles++
	_ = os.Setenv("HOLDFAST_BENCH_PROFILE", filepath.Join(l.profile, fmt.Sprintf("broker-%02d.pprof", l.profiles)))
	// Writing it takes a moment, and must be done when the row is.
	_ = os.Setenv("HOLDFAST_BENCH_PROFILE_FOR", (l.duration - min(l.duration/4, 500*time.Millisecond)).String())
}

// versions are those of everything that is measured.
func (l *lab) versions(ctx context.Context) []string {
	var all []string
	for _, command := range [][]string{{l.broker, "version"}, {l.nats, "--version"}, {"go", "version"}} {
		out, err := exec.CommandContext(ctx, command[0], command[1:]...).Output() //nolint:gosec // the paths are the operator's
		if err == nil {
			all = append(all, strings.TrimSpace(string(out)))
		}
	}
	if kernel, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		all = append(all, "Linux "+strings.TrimSpace(string(kernel)))
	}
	return append(all, strconv.Itoa(runtime.NumCPU())+" cores, client and server share them")
}

func goTool(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "go", args...).Output() //nolint:gosec // the arguments are ours
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		return "", fmt.Errorf("go %s: %s", strings.Join(args, " "), failed.Stderr)
	}
	return strings.TrimSpace(string(out)), err
}
