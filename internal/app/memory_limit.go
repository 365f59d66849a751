package app

import (
	"bufio"
	"bytes"
	"math"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
)

// MemoryBudget is a Size, or "auto".
type MemoryBudget Size

// autoBudget stands for what the process may have.
const autoBudget MemoryBudget = -1

// UnmarshalText reads a size or "auto".
func (m *MemoryBudget) UnmarshalText(text []byte) error {
	if string(text) == "auto" {
		*m = autoBudget
		return nil
	}
	return (*Size)(m).UnmarshalText(text)
}

// MarshalText writes it.
func (m MemoryBudget) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

func (m MemoryBudget) String() string {
	if m == autoBudget {
		return "auto"
	}
	return Size(m).String()
}

// bytes is the budget; 0: there is none.
func (m MemoryBudget) bytes() int64 {
	if m != autoBudget {
		return int64(m)
	}
	if limit, given := goMemoryLimit(); given {
		return limit
	}
	const part = 80 // of a hundred: sockets have buffers, and files pages
	return systemLimit("/") / 100 * part
}

// goMemoryLimit is GOMEMLIMIT, if it is set.
func goMemoryLimit() (int64, bool) {
	limit := debug.SetMemoryLimit(-1)
	return limit, os.Getenv("GOMEMLIMIT") != "" && limit != math.MaxInt64
}

// systemLimit is what the kernel lets the process have: the least of what its control groups and the machine have; 0
// where that is not known. root is "/" but in tests.
func systemLimit(root string) (limit int64) {
	least := func(n int64) {
		if n > 0 && (limit == 0 || n < limit) {
			limit = n
		}
	}
	least(machineMemory(path.Join(root, "proc/meminfo")))
	groups, _ := os.ReadFile(path.Join(root, "proc/self/cgroup"))
	for line := range strings.Lines(string(groups)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		file, mount := "memory.max", "sys/fs/cgroup"
		switch {
		case fields[1] == "memory": // version 1
			file, mount = "memory.limit_in_bytes", "sys/fs/cgroup/memory"
		case fields[1] != "": // another controller of version 1
			continue
		}
		for group := path.Clean("/" + fields[2]); ; group = path.Dir(group) {
			least(number(path.Join(root, mount, group, file)))
			if group == "/" {
				break
			}
		}
	}
	return limit
}

// number is what a file of a control group says; 0: "max", or nothing.
func number(file string) int64 {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n
}

func machineMemory(file string) int64 {
	text, _ := os.ReadFile(file)
	for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
		if fields := strings.Fields(s.Text()); len(fields) >= 2 && fields[0] == "MemTotal:" {
			n, _ := strconv.ParseInt(fields[1], 10, 64)
			return n << 10
		}
	}
	return 0
}
