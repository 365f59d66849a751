//go:build linux

package client

import (
	"math/bits"
	"time"
)

// Each power of two has 64 buckets, so a quantile is exact to 1.6 %.
const bucketBits = 6

// Histogram counts durations. The zero value is ready.
type Histogram struct {
	counts [64 << bucketBits]uint64
	total  uint64
}

// Record counts a duration in nanoseconds; a negative one counts as 0.
func (h *Histogram) Record(ns int64) {
	h.counts[bucketOf(uint64(max(ns, 0)))]++
	h.total++
}

// Add counts what another has counted.
func (h *Histogram) Add(other *Histogram) {
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.total += other.total
}

// Count is the number of durations.
func (h *Histogram) Count() uint64 { return h.total }

// Quantile is the lower bound of the bucket in which the q-th part of all durations is reached.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank, seen := uint64(q*float64(h.total)), uint64(0)
	for i, n := range h.counts {
		if seen += n; seen > rank {
			return time.Duration(lowerBound(i))
		}
	}
	return 0
}

func bucketOf(v uint64) int {
	shift := max(bits.Len64(v)-bucketBits-1, 0)
	return shift<<bucketBits + int(v>>shift)
}

func lowerBound(bucket int) uint64 {
	if bucket < 2<<bucketBits {
		return uint64(bucket)
	}
	shift := bucket>>bucketBits - 1
	return uint64(bucket-shift<<bucketBits) << shift
}
