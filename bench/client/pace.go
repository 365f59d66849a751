//go:build linux

package client

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// pace calls a handler at even intervals, also for those that the loop was late for.
type pace struct {
	fd       int
	interval int64
	due      int64
	handle   func(due int64)
}

// Pace reads and answers for a time, and calls handle at every interval with the time it was due at: so a client that
// is kept waiting does not forget to count that.
func (p *Pool) Pace(ctx context.Context, d, interval time.Duration, handle func(due int64)) error {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("client: timerfd: %w", err)
	}
	defer unix.Close(fd)
	every := unix.NsecToTimespec(int64(interval))
	p.pace = pace{fd: fd, interval: int64(interval), due: Now(), handle: handle}
	if err := unix.TimerfdSettime(fd, 0, &unix.ItimerSpec{Interval: every, Value: every}, nil); err != nil {
		return fmt.Errorf("client: timerfd: %w", err)
	}
	if err := p.control(unix.EPOLL_CTL_ADD, fd, paceIndex, unix.EPOLLIN); err != nil {
		return fmt.Errorf("client: timerfd: %w", err)
	}
	return p.Run(ctx, d)
}

func (t *pace) tick() {
	var count [8]byte
	if n, _ := unix.Read(t.fd, count[:]); n != len(count) {
		return
	}
	for range binary.NativeEndian.Uint64(count[:]) {
		t.due += t.interval
		t.handle(t.due)
	}
}
