//go:build linux

package process

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// tick is what the kernel counts processor time in for /proc: USER_HZ, 100 on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// Usage is what a process has used so far.
type Usage struct {
	CPU time.Duration // utime + stime, in steps of 10 ms
	RSS int64         // bytes
}

// Usage reads what the process has used.
func (p *Process) Usage() (Usage, error) { return UsageOf(p.PID()) }

// UsageOf reads what a process has used.
func UsageOf(pid int) (Usage, error) {
	name := fmt.Sprintf("/proc/%d/stat", pid)
	stat, err := os.ReadFile(name)
	if err != nil {
		return Usage{}, fmt.Errorf("usage: %w", err)
	}
	// The command's name, in parentheses, may hold anything; behind it come fields 3 and on (proc(5)).
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	const utime, stime, rss = 14 - 3, 15 - 3, 24 - 3
	if len(fields) <= rss {
		return Usage{}, fmt.Errorf("usage: %s: %q", name, stat)
	}
	var values [3]int64
	for i, field := range []int{utime, stime, rss} {
		if values[i], err = strconv.ParseInt(string(fields[field]), 10, 64); err != nil {
			return Usage{}, fmt.Errorf("usage: %s: %w", name, err)
		}
	}
	return Usage{
		CPU: time.Duration(values[0]+values[1]) * tick,
		RSS: values[2] * int64(os.Getpagesize()),
	}, nil
}

// MachineUsage is the processor time that all processes, interrupts and other guests of the host have used.
func MachineUsage() (time.Duration, error) {
	const name = "/proc/stat"
	stat, err := os.ReadFile(name)
	if err != nil {
		return 0, fmt.Errorf("usage: %w", err)
	}
	// "cpu user nice system idle iowait irq softirq steal guest guest_nice"; guests are part of user.
	var user, nice, system, idle, iowait, irq, softirq, steal int64
	_, err = fmt.Fscan(bytes.NewReader(stat[len("cpu"):]), &user, &nice, &system, &idle, &iowait, &irq, &softirq, &steal)
	if err != nil {
		return 0, fmt.Errorf("usage: %s: %w", name, err)
	}
	return time.Duration(user+nice+system+irq+softirq+steal) * tick, nil
}
