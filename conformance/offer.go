package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// parameters are those of permessage-deflate (RFC 7692 7.1), in an offer or in the answer to one.
type parameters struct {
	serverNoContext bool
	clientNoContext bool
	serverBits      int  // 0: not named
	clientBits      int  // 0: not named, or without a value
	clientBitsNamed bool // in an offer: the answer may have it
}

// parseParameters reads one offer, or the answer, strictly.
func parseParameters(extension string) (p parameters, err error) {
	words := strings.Split(extension, ";")
	if strings.TrimSpace(words[0]) != "permessage-deflate" {
		return p, errors.New("it is not permessage-deflate")
	}
	seen := map[string]bool{}
	for _, word := range words[1:] {
		name, value, hasValue := strings.Cut(strings.TrimSpace(word), "=")
		if seen[name] {
			return p, fmt.Errorf("%s stands there twice", name)
		}
		seen[name] = true
		if err := p.set(name, value, hasValue); err != nil {
			return p, err
		}
	}
	return p, nil
}

func (p *parameters) set(name, value string, hasValue bool) (err error) {
	switch name {
	case "server_no_context_takeover", "client_no_context_takeover":
		if hasValue {
			return fmt.Errorf("%s has a value", name)
		}
		p.serverNoContext = p.serverNoContext || name[0] == 's'
		p.clientNoContext = p.clientNoContext || name[0] == 'c'
	case "server_max_window_bits":
		p.serverBits, err = windowBits(value)
	case "client_max_window_bits":
		p.clientBitsNamed = true
		if hasValue {
			p.clientBits, err = windowBits(value)
		}
	default:
		err = fmt.Errorf("%q is no parameter", name)
	}
	return err
}

// windowBits reads 8 to 15, without leading zeros (RFC 7692 7.1.2).
func windowBits(value string) (int, error) {
	value = strings.Trim(value, `"`)
	n, err := strconv.Atoi(value)
	if err != nil || n < 8 || n > 15 || value[0] == '0' || value[0] == '+' {
		return 0, fmt.Errorf("%q is no window size", value)
	}
	return n, nil
}

// answersAny: the parameters are a legal answer to one of the offers.
func (p parameters) answersAny(offers string) bool {
	for offer := range strings.SplitSeq(offers, ",") {
		offered, err := parseParameters(strings.TrimSpace(offer))
		if err == nil && p.answers(offered) {
			return true
		}
	}
	return false
}

// answers: RFC 7692 7.1.1.1, 7.1.2.1 and 7.1.2.2 for each parameter. A server may demand client_no_context_takeover of
// a client that did not offer it; it may limit its own window unasked.
func (p parameters) answers(offered parameters) bool {
	switch {
	case offered.serverNoContext && !p.serverNoContext:
		return false
	case offered.serverBits != 0 && (p.serverBits == 0 || p.serverBits > offered.serverBits):
		return false
	case p.clientBitsNamed && p.clientBits == 0: // in an answer it needs a value
		return false
	case p.clientBitsNamed && !offered.clientBitsNamed:
		return false
	}
	return true
}
