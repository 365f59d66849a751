package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
)

// cell is a median and its range.
func cell(values []float64) string {
	if len(values) == 0 {
		return "–"
	}
	middle, low, high := Number(Median(values)), Number(slices.Min(values)), Number(slices.Max(values))
	if low == high {
		return middle
	}
	return fmt.Sprintf("%s (%s–%s)", middle, low, high)
}

// Median is the middle value, or that of the two in the middle; 0 of none.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[n/2] + sorted[(n-1)/2]) / 2
}

// Number has three digits or all before the point, with commas.
func Number(v float64) string {
	decimals := 0
	if magnitude := math.Abs(v); magnitude < 100 && magnitude != 0 {
		decimals = min(2, max(0, 2-int(math.Floor(math.Log10(magnitude)))))
	}
	text := strconv.FormatFloat(v, 'f', decimals, 64)
	for i := len(text) - decimals - min(decimals, 1) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
