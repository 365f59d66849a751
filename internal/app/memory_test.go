package app

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-broker/holdfast/internal/hub"
	"github.com/holdfast-broker/holdfast/internal/hub/hubtest"
)

// TestMemoryBudget: the heaviest go, as many as it takes; the shortage lasts until there is some room again.
func TestMemoryBudget(t *testing.T) {
	var log bytes.Buffer
	used := int64(900)
	h := hub.New(hub.NewNodeID(), &hubtest.Publisher{})
	m := &memory{budget: 1000, hub: h, logger: slog.New(slog.NewTextHandler(&log, nil)), used: func() int64 { return used }}
	ep := &hub.Endpoint{Path: "/", Namespace: "default"}
	var sockets []*hubtest.Socket
	for _, held := range []hub.SocketState{{}, {Buffered: 110}, {Buffered: 50, Unfinished: 70}, {Buffered: 90}, {Unfinished: 200}} {
		s := new(hubtest.Socket)
		s.SetState(func(st *hub.SocketState) { *st = held })
		if _, err := s.Open(h, ep); err != nil {
			t.Fatal(err)
		}
		sockets = append(sockets, s)
	}
	closed := func() string {
		all := make([]byte, len(sockets))
		for i, s := range sockets {
			all[i] = '-'
			if len(s.Record().Closes) > 0 {
				all[i] = 'x'
			}
		}
		return string(all)
	}
	for _, step := range []struct {
		used  int64
		short bool
		want  string
	}{
		{900, false, "-----"}, {1000, false, "-----"},
		{1001, true, "--x-x"}, // 320, where 201 have to go
		{901, true, "-xx-x"}, {900, false, "-xx-x"}, {1000, false, "-xx-x"}, {1100, true, "-xxxx"},
	} {
		used = step.used
		m.look()
		if m.isShort() != step.short || closed() != step.want {
			t.Errorf("at %d: short %v, closed %s; want %v, %s", used, m.isShort(), closed(), step.short, step.want)
		}
	}
	if n := strings.Count(log.String(), "over the memory budget"); n != 1 || strings.Count(log.String(), "within the memory budget again") != 1 {
		t.Errorf("the log says:\n%s", &log)
	}
}

func TestNoMemoryBudget(t *testing.T) {
	m := watchMemory(0, nil, nil)
	if m.isShort() {
		t.Error("short of memory, and nothing bounds it")
	}
	m.close()
}

func TestWhatTheSystemGives(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"nothing known": {nil, 0},
		"the machine":   {map[string]string{"proc/meminfo": "MemFree: 1 kB\nMemTotal:       8192 kB\n"}, 8192 << 10},
		"version 2": {map[string]string{
			"proc/self/cgroup": "0::/pod/broker\n", "sys/fs/cgroup/memory.max": "max\n",
			"sys/fs/cgroup/pod/memory.max": "1000\n", "sys/fs/cgroup/pod/broker/memory.max": "2000\n",
		}, 1000},
		"version 2, in a namespace": {map[string]string{
			"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "3000\n", "proc/meminfo": "MemTotal: 8192 kB\n",
		}, 3000},
		"version 1": {map[string]string{
			"proc/self/cgroup":                                    "4:memory:/docker/x\n3:cpu:/docker/x\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes":          "9223372036854771712\n",
			"sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes": "5000\n",
			"sys/fs/cgroup/memory.max":                            "7\n",
		}, 5000},
		"no limit": {map[string]string{"proc/self/cgroup": "0::/x\n", "sys/fs/cgroup/x/memory.max": "max\n"}, 0},
	} {
		root := t.TempDir()
		for name, text := range c.files {
			file := filepath.Join(root, name)
			if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := systemLimit(root); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func TestGoMemoryLimitIsTheBudget(t *testing.T) {
	t.Setenv("GOMEMLIMIT", "") // what the tests were started with
	if _, given := goMemoryLimit(); given {
		t.Error("a limit that nobody gave")
	}
	if got := (64 * MiB); MemoryBudget(got).bytes() != int64(got) {
		t.Error("a budget that is said is not the budget")
	}
}
