//go:build linux

package main

import (
	"bufio"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// What a broker at rest holds beside its connections, at most: descriptors, and goroutines, of which a connection has
// none. A healthy one has about 25 and 60; what leaks with each fault adds up beyond.
const (
	spareDescriptors = 60
	spareGoroutines  = 200
)

// leaks asks brokers at rest what they hold.
func (s *stage) leaks() (wrong []string) {
	for _, b := range s.brokers {
		m, err := b.metrics()
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("broker %d has no metrics: %v", b.number, err))
			continue
		}
		descriptors, goroutines := m["process_open_fds"]-m["holdfast_connections"], m["go_goroutines"]
		if descriptors > spareDescriptors || goroutines > spareGoroutines {
			wrong = append(wrong, fmt.Sprintf("broker %d leaks: %v descriptors beside its connections, %v goroutines", b.number, descriptors, goroutines))
		}
	}
	return wrong
}

func (b *broker) metrics() (map[string]float64, error) {
	client := http.Client{Timeout: 5 * time.Second}
	answer, err := client.Get("http://" + b.ops + "/metrics")
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	m := make(map[string]float64)
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if f, err := strconv.ParseFloat(value, 64); err == nil {
			m[name] = f
		}
	}
	return m, lines.Err()
}
