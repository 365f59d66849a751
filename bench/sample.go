//go:build linux

package main

import (
	"errors"
	"os"
	"syscall"
	"time"

	"github.com/holdfast-broker/holdfast/bench/process"
	"github.com/holdfast-broker/holdfast/bench/report"
)

// sample is what everybody has used at one moment.
type sample struct {
	at                 time.Time
	server, nats, load process.Usage
	machine            time.Duration // processor time that was used at all
}

func (s *stage) sample() (sample, error) {
	now := sample{at: time.Now()}
	var errs [4]error
	if s.pid != 0 {
		now.server, errs[0] = process.UsageOf(s.pid)
	}
	if s.nats != nil {
		now.nats, errs[1] = s.nats.Usage()
	}
	now.load, errs[2] = process.UsageOf(os.Getpid())
	now.machine, errs[3] = process.MachineUsage()
	return now, errors.Join(errs[:]...)
}

// measured begins a measurement: now the figures count.
func (s *stage) measured() (sample, error) {
	if s.profiled {
		if err := s.server.Signal(syscall.SIGUSR1); err != nil {
			return sample{}, err
		}
	}
	return s.sample()
}

// perMessage are the figures of n messages between two samples.
func perMessage(before, after sample, n uint64) (f figures) {
	seconds := after.at.Sub(before.at).Seconds()
	per := func(d time.Duration) float64 { return micros(d) / float64(max(n, 1)) }
	f.add(report.Rate, float64(n)/seconds)
	f.add(report.CPU, per(after.server.CPU-before.server.CPU))
	f.add(report.NATS, per(after.nats.CPU-before.nats.CPU))
	f.add("load CPU µs/msg", per(after.load.CPU-before.load.CPU))
	f.add("server cores", (after.server.CPU-before.server.CPU).Seconds()/seconds)
	f.add(report.Others, others(before, after))
	return f
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// figures are those of one run of a row, in the order of its table.
type figures []figure

type figure struct {
	name  string
	value float64
}

func (f *figures) add(name string, value float64) { *f = append(*f, figure{name, value}) }

// value finds a figure.
func (f figures) value(name string) float64 {
	for _, one := range f {
		if one.name == name {
			return one.value
		}
	}
	return 0
}

// others is what neither we nor what we started used: the kernel's own work, and what else runs there.
func others(before, after sample) float64 {
	ours := after.server.CPU + after.nats.CPU + after.load.CPU - before.server.CPU - before.nats.CPU - before.load.CPU
	return max(0, (after.machine-before.machine-ours).Seconds()/after.at.Sub(before.at).Seconds()) // the clocks tick apart
}
