package main

import (
	"fmt"
	"strings"
)

// wish is what a client asks of the server's compression (RFC 7692 7.1).
type wish struct {
	noContext bool
	bits      int // 0: not named
}

func (w wish) String() string {
	s := plainOffer
	if w.noContext {
		s += "; server_no_context_takeover"
	}
	if w.bits != 0 {
		s += fmt.Sprintf("; server_max_window_bits=%d", w.bits)
	}
	return s
}

// compressionByOffer: what the client asks of the server's window and context.
func compressionByOffer() []testCase {
	var all []testCase
	for i, wishes := range [][]wish{
		{{}},
		{{noContext: true}},
		{{bits: 9}},
		{{bits: 15}},
		{{noContext: true, bits: 9}},
		{{noContext: true, bits: 15}},
		{{noContext: true, bits: 9}, {noContext: true}, {}},
	} {
		offers, titles := make([]string, len(wishes)), make([]string, len(wishes))
		for i, w := range wishes {
			offers[i] = w.String()
			titles[i] = strings.TrimPrefix(strings.TrimPrefix(w.String(), plainOffer), "; ")
			if titles[i] == "" {
				titles[i] = "nothing"
			}
		}
		title := "asked for " + strings.Join(titles, ", or ")
		for n, t := range traffics {
			c := compressedTraffic(fmt.Sprintf("13.%d.%d", i+1, n+1), jsonContent, t, title, strings.Join(offers, ", "))
			c.path = contextPath // so that it is the offer that decides
			all = append(all, c)
		}
	}
	return all
}
