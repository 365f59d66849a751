package demo

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

const (
	// maxRows is how many connections the page lists; it counts all of them.
	maxRows = 200
	// maxFeed is how many events a page is told at once.
	maxFeed = 100
)

// What the backend tells a page. The field Type says which it is.
type (
	// welcome tells a page who it is.
	welcome struct {
		Type string `json:"type"`
		ID   string `json:"id"`
	}

	// notice is a line for people.
	notice struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}

	// line is a chat line, or a private one. From and Seq name the message it came with; Number is the
	// sending page's own.
	line struct {
		Type   string `json:"type"`
		From   string `json:"from"`
		Seq    uint64 `json:"seq"`
		Text   string `json:"text"`
		Number int64  `json:"number,omitempty"`
	}

	// result answers an action.
	result struct {
		Type       string          `json:"type"`
		Action     string          `json:"action"`
		ID         string          `json:"id"`
		OK         bool            `json:"ok"`
		Text       string          `json:"text"`
		Reason     string          `json:"reason,omitempty"`     // why it was refused
		Connection json.RawMessage `json:"connection,omitempty"` // what Get answers after it
	}

	// connections lists the oldest first.
	connections struct {
		Type        string `json:"type"`
		Connections []row  `json:"connections"`
		Total       int    `json:"total"`
	}

	row struct {
		ID      string    `json:"id"`
		Agent   string    `json:"agent"`
		Remote  string    `json:"remote"`
		Opened  time.Time `json:"opened"`
		Paused  bool      `json:"paused"`
		Closing bool      `json:"closing"`
	}

	// events is what happened since the last one.
	events struct {
		Type    string  `json:"type"`
		Events  []event `json:"events"`
		Skipped int     `json:"skipped"`
	}

	event struct {
		Seq  uint64 `json:"seq"`
		Kind string `json:"kind"`
		ID   string `json:"id"`
		What string `json:"what"`
		Size *int   `json:"size,omitempty"` // bytes of a message, ping or pong
	}
)

func rowOf(c *holdfastv1.Connection) row {
	return row{
		ID:      c.GetId(),
		Agent:   c.GetHeaders()["User-Agent"],
		Remote:  c.GetRemoteAddress(),
		Opened:  c.GetOpenTime().AsTime(),
		Paused:  c.GetPaused(),
		Closing: c.GetState() == holdfastv1.Connection_CLOSING,
	}
}

func newConnections(rows []row, total int) connections {
	slices.SortFunc(rows, func(a, b row) int {
		return cmp.Or(a.Opened.Compare(b.Opened), cmp.Compare(a.ID, b.ID))
	})
	if rows == nil {
		rows = []row{}
	}
	return connections{"connections", rows, total}
}

// feed collects events until the pages are told.
type feed struct {
	events  []event
	skipped int
}

func (f *feed) empty() bool { return len(f.events) == 0 }

func (f *feed) add(e event) {
	if len(f.events) == maxFeed {
		f.skipped++
		return
	}
	f.events = append(f.events, e)
}

func (f *feed) flush() events {
	out := events{"events", f.events, f.skipped}
	*f = feed{}
	return out
}

// happened is an event as the page shows it.
func happened(msg *nats.Msg, kind, id string) event {
	e := event{Kind: kind, ID: id}
	e.Seq, _ = strconv.ParseUint(msg.Header.Get("Holdfast-Seq"), 10, 64) // none when a node was lost
	switch kind {
	case "message", "ping", "pong":
		size := len(msg.Data)
		e.Size = &size
	case "close":
		e.What = closing(msg.Data)
	}
	return e
}

// closing says in a few words how a connection ended. The payload is a holdfast.v1.Closed as JSON;
// these are the fields the demo cares for.
func closing(payload []byte) string {
	var closed struct {
		Code       uint32 `json:"code"`
		Reason     string `json:"reason"`
		SentCode   uint32 `json:"sent_code"`
		SentReason string `json:"sent_reason"`
		Cause      string `json:"cause"`
	}
	if err := json.Unmarshal(payload, &closed); err != nil {
		return "unreadable: " + err.Error()
	}
	code, reason := closed.Code, closed.Reason
	if reason == "" {
		reason = closed.SentReason
	}
	if reason == "" {
		return fmt.Sprintf("%s %d", closed.Cause, code)
	}
	return fmt.Sprintf("%s %d %q", closed.Cause, code, reason)
}
