//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

const eventPrefix = "holdfast."

// There are as many witnesses of what was published as NATS servers, each a subscriber of one of them, and the taps,
// which together see what the brokers publish.
const (
	servers   = 3
	brokers   = 3
	published = servers
	witnesses = servers + 1
)

// sight is one event as one witness saw it.
type sight struct {
	from    int   // witness
	session int32 // NATS connection on which a tap saw it
	subject string
	seq     string
	data    []byte
}

// ledger holds what all witnesses saw, merged by connection, Seq and bytes. It knows nothing of the broker but the
// public contract.
type ledger struct {
	mu       sync.Mutex
	seed     maphash.Seed
	accounts map[string]*account
	byTag    map[string]*account // by what the client calls itself in its URL
	live     []*account          // opened and not closed
	wrong    []string            // what no account may show
	sights   int
	latest   time.Time
}

func newLedger() *ledger {
	return &ledger{seed: maphash.MakeSeed(), accounts: make(map[string]*account), byTag: make(map[string]*account)}
}

// account is one connection.
type account struct {
	id, node, tag string
	entries       []entry // by Seq, from 1
	closes        []*closing
	seen          [witnesses]seen
	position      int // in ledger.live
	openAt        time.Time
	repeats       int
	reordered     int
	afterClose    int
}

// seen is how far one witness has come.
type seen struct {
	last   int // highest Seq
	opened bool
	closed bool
	// early: the close came before the open.
	early bool
}

// entry is one event with a Seq.
type entry struct {
	sum       uint64
	kind      byte  // o, m, c; 0: nobody saw it
	seen      uint8 // bits of witnesses
	session   int32 // on which it was published last
	first     int32 // and first
	confirmed bool
}

func (e *entry) by(w int) bool { return e.seen&(1<<w) != 0 }

// closing is one distinct close event.
type closing struct {
	sum       uint64
	seq       int
	data      []byte
	cause     string
	in        int
	at        time.Time // first seen by a subscriber
	seen      uint8     // bits of witnesses, if it has no Seq
	confirmed bool
}

// mark is an event that waits for its confirmation.
type mark struct {
	account *account
	seq     int
	closing *closing
}

// enter takes what a witness saw.
func (l *ledger) enter(s sight) mark {
	token := strings.Split(s.subject, ".")
	if len(token) != 4 {
		return mark{}
	}
	kind, id := token[2], token[3]
	seq, _ := strconv.Atoi(s.seq)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sights++
	l.latest = time.Now()
	a := l.accountLocked(id)
	m := mark{account: a}
	switch {
	case kind == "close":
		m.closing = l.closeLocked(a, &s, seq)
	case kind != "open" && kind != "message":
		return mark{}
	case seq == 0:
		l.wrongLocked("%s has no Seq", s.subject)
		return mark{}
	}
	if seq > 0 {
		m.seq = seq
		l.entryLocked(a, &s, seq, kind[0])
	}
	if kind == "open" {
		l.openLocked(a, &s)
	}
	return m
}

func (l *ledger) accountLocked(id string) *account {
	a := l.accounts[id]
	if a == nil {
		node, _, _ := strings.Cut(id, "-")
		a = &account{id: id, node: node, position: -1}
		l.accounts[id] = a
	}
	return a
}

func (l *ledger) openLocked(a *account, s *sight) {
	a.seen[s.from].opened = true
	if !a.openAt.IsZero() {
		return
	}
	a.openAt = time.Now()
	var open struct {
		URL string `json:"url"`
	}
	if err := json.Unmarshal(s.data, &open); err != nil {
		l.wrongLocked("open event of %s: %v", a.id, err)
	}
	if at, err := url.Parse(open.URL); err == nil {
		a.tag = at.Query().Get("n")
	}
	if other := l.byTag[a.tag]; other != nil {
		l.wrongLocked("the handshake of client %s opened both %s and %s", a.tag, other.id, a.id)
	}
	l.byTag[a.tag] = a
	if len(a.closes) == 0 {
		a.position = len(l.live)
		l.live = append(l.live, a)
	}
}

func (l *ledger) closeLocked(a *account, s *sight, seq int) *closing {
	w := &a.seen[s.from]
	if !w.opened && !w.closed {
		w.early = true
	}
	w.closed = true
	sum := maphash.Bytes(l.seed, s.data)
	var c *closing
	for _, other := range a.closes {
		if other.sum == sum && other.seq == seq {
			c = other
		}
	}
	if c == nil {
		c = l.newClosingLocked(a, s, seq, sum)
	}
	if s.from != published && c.at.IsZero() {
		c.at = time.Now()
	}
	if bit := uint8(1) << s.from; seq == 0 { // the others are counted as entries
		if c.seen&bit != 0 && s.from != published {
			a.repeats++
		}
		c.seen |= bit
	}
	return c
}

func (l *ledger) newClosingLocked(a *account, s *sight, seq int, sum uint64) *closing {
	var closed struct {
		Cause      string `json:"cause"`
		MessagesIn string `json:"messages_in"`
	}
	if err := json.Unmarshal(s.data, &closed); err != nil {
		l.wrongLocked("close event of %s: %v", a.id, err)
	}
	in, _ := strconv.Atoi(closed.MessagesIn)
	c := &closing{sum: sum, seq: seq, data: append([]byte(nil), s.data...), cause: closed.Cause, in: in}
	a.closes = append(a.closes, c)
	if a.position >= 0 {
		last := l.live[len(l.live)-1]
		l.live[a.position], last.position = last, a.position
		l.live = l.live[:len(l.live)-1]
		a.position = -1
	}
	return c
}

// entryLocked writes an event with a Seq down, and judges its order.
func (l *ledger) entryLocked(a *account, s *sight, seq int, kind byte) {
	for len(a.entries) < seq {
		a.entries = append(a.entries, entry{})
	}
	e := &a.entries[seq-1]
	sum := maphash.Bytes(l.seed, s.data)
	switch {
	case e.kind == 0:
		e.kind, e.sum = kind, sum
		l.contentLocked(a, s, seq, kind)
	case e.kind != kind || e.sum != sum:
		l.wrongLocked("%s: two different events have Seq %d", a.id, seq)
	}
	if s.from == published {
		l.publishedLocked(a, e, s, seq)
	}
	w := &a.seen[s.from]
	switch {
	case e.by(s.from):
		if s.from != published {
			a.repeats++
		}
	case seq < w.last:
		l.lateLocked(a, e, s, seq)
	case s.from == published && seq > w.last+1:
		l.wrongLocked("%s: published Seq %d after %d", a.id, seq, w.last)
	}
	if kind == 'm' && w.closed && e.seen == 0 {
		a.afterClose++
	}
	e.seen |= 1 << s.from
	w.last = max(w.last, seq)
}

// lateLocked: something newer came before. NATS keeps the order of one connection, not of two.
func (l *ledger) lateLocked(a *account, e *entry, s *sight, seq int) {
	newer := &a.entries[a.seen[s.from].last-1]
	if s.from == published || e.first != 0 && e.first == newer.first && newer.session == newer.first {
		l.wrongLocked("%s: witness %d saw Seq %d after %d", a.id, s.from, seq, a.seen[s.from].last)
		return
	}
	a.reordered++
}

// publishedLocked: an event may be published again only on another NATS connection.
func (l *ledger) publishedLocked(a *account, e *entry, s *sight, seq int) {
	if e.session == s.session {
		l.wrongLocked("%s: Seq %d was published twice on one NATS connection", a.id, seq)
	}
	if e.first == 0 {
		e.first = s.session
	}
	e.session = s.session
}

// contentLocked compares a message with what the client says it sent: its name and a number, from 0.
func (l *ledger) contentLocked(a *account, s *sight, seq int, kind byte) {
	if kind != 'm' {
		return
	}
	tag, rest, _ := strings.Cut(string(s.data), " ")
	number, _, _ := strings.Cut(rest, " ")
	if n, err := strconv.Atoi(number); err != nil || n != seq-2 || a.tag != "" && tag != a.tag {
		l.wrongLocked("%s (client %s): Seq %d is %.40q", a.id, a.tag, seq, s.data)
	}
}

func (l *ledger) confirm(marks []mark) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range marks {
		if m.seq > 0 {
			m.account.entries[m.seq-1].confirmed = true
		}
		if m.closing != nil {
			m.closing.confirmed = true
		}
	}
}

func (l *ledger) wrongLocked(format string, args ...any) {
	l.wrong = append(l.wrong, fmt.Sprintf(format, args...))
}

// any answers the ID of a connection that is open as far as the ledger knows.
func (l *ledger) any(r *rand.Rand) (id string, some bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.live) == 0 {
		return "", false
	}
	return l.live[r.IntN(len(l.live))].id, true
}

// open answers the connections that are open, of one node or of all.
func (l *ledger) open(node string) (open []*account) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.live {
		if node == "" || a.node == node {
			open = append(open, a)
		}
	}
	return open
}

// ended answers when the closes of connections were seen first, as far as they were.
func (l *ledger) ended(accounts []*account) (at []time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range accounts {
		if len(a.closes) > 0 && !a.closes[0].at.IsZero() {
			at = append(at, a.closes[0].at)
		}
	}
	return at
}

// quiet is for how long nobody has seen anything, and how many connections are open.
func (l *ledger) quiet() (since time.Duration, open int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Since(l.latest), len(l.live)
}
