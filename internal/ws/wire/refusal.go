package wire

import (
	"strconv"
	"strings"
)

// Refusal is the HTTP answer to a handshake that is not accepted. It is an error; nil means accepted.
type Refusal struct {
	Status int         // of the HTTP response
	Text   string      // one line in ASCII: which field, what was found, what is allowed
	Header [][2]string // name and value of the fields that the status asks for; may be nil
}

// Error returns the text.
func (r *Refusal) Error() string { return r.Text }

const (
	statusBadRequest       = 400
	statusMethodNotAllowed = 405
	statusUpgradeRequired  = 426
)

// maxQuote is how many bytes of a field a refusal repeats.
const maxQuote = 64

func refuseRequest(text string) *Refusal {
	return &Refusal{Status: statusBadRequest, Text: text}
}

func refuseMethod(method string) *Refusal {
	return &Refusal{
		Status: statusMethodNotAllowed,
		Text:   "method is " + quote(method) + "; a WebSocket handshake is a GET",
		Header: [][2]string{{"Allow", "GET"}}, // RFC 9110 15.5.6
	}
}

func refuseUpgrade(field string, values []string, allowed string) *Refusal {
	return &Refusal{
		Status: statusUpgradeRequired,
		Text:   field + " " + found(values) + "; " + allowed,
		Header: [][2]string{{"Upgrade", "websocket"}, {"Connection", "Upgrade"}}, // RFC 9110 15.5.22 and 7.8
	}
}

func refuseVersion(values []string) *Refusal {
	refusal := refuseUpgrade("Sec-WebSocket-Version", values, "it must be "+Version+", once")
	refusal.Header = append(refusal.Header, [2]string{"Sec-WebSocket-Version", Version}) // RFC 6455 4.4
	return refusal
}

// found says what a field holds.
func found(values []string) string {
	switch len(values) {
	case 0:
		return "is missing"
	case 1:
		return "is " + quote(values[0])
	}
	return "is " + quote(strings.Join(values, ", ")) + " in " + strconv.Itoa(len(values)) + " lines"
}

// quote makes what a client sent fit to be read in one line of a log or an answer.
func quote(s string) string {
	if len(s) > maxQuote {
		return strconv.QuoteToASCII(s[:maxQuote]) + "..."
	}
	return strconv.QuoteToASCII(s)
}
