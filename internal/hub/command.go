package hub

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

// Limits of what backends attach to a connection.
const (
	MaxAttributes    = 8 << 10 // bytes of names and values together
	MaxAttributeName = 128     // bytes
	MaxUser          = 256     // bytes
)

// CodeExpired is the close code of a connection whose expire time was reached.
const CodeExpired = 4401

// Send gives a message to the client; see Socket for errors and done. requestID, unless empty, makes a
// repeat answer as the first did, without sending again; only messages that were taken are remembered.
func (c *Conn) Send(m *Message, requestID string, done Done) (Sent, error) {
	if requestID == "" {
		return c.socket.Send(m, done)
	}
	return c.sendOnce(m, requestID, done)
}

// Abandon closes the connection if that message is still unfinished.
func (c *Conn) Abandon(fragment uint64) { c.socket.Abandon(fragment) }

// SendPing sends a ping of at most 125 bytes.
func (c *Conn) SendPing(payload []byte, cf Confirmation, done Done) error {
	return c.socket.Ping(payload, cf, done)
}

// SendPong sends an unsolicited pong of at most 125 bytes.
func (c *Conn) SendPong(payload []byte, cf Confirmation, done Done) error {
	return c.socket.Pong(payload, cf, done)
}

// Close begins the closing handshake. written, if not nil, is told when the close frame is written;
// ended, if not nil, when the connection has ended, after its close event was given to the Publisher. On a connection
// that is closing it only waits.
func (c *Conn) Close(code uint16, reason string, cause Cause, written Done, ended func(*Closed)) error {
	if ended != nil {
		c.mu.Lock()
		if c.ended {
			c.mu.Unlock()
			return ErrNotFound
		}
		x := c.changeExtrasLocked()
		x.closers = append(x.closers, ended)
		c.mu.Unlock()
	}
	c.socket.Close(code, reason, cause, written)
	return nil
}

// Terminate ends the TCP connection at once.
func (c *Conn) Terminate() { c.socket.Terminate(CauseBackendTerminate) }

// Pause keeps the connection from being read, for at most d; 0 means the endpoint's MaxPause. When it
// returns, no further message is published until the connection is read again. It answers when the
// broker will resume by itself.
func (c *Conn) Pause(d time.Duration) (time.Time, error) {
	limit := c.endpoint.MaxPause
	if d < 0 || d > limit {
		return time.Time{}, Invalid(InvalidDuration, "resume_after", d.String(),
			fmt.Sprintf("above 0s and at most the endpoint's max_pause, %s", limit))
	}
	if d == 0 {
		d = limit
	}
	p, err := c.pausing()
	if err != nil {
		return time.Time{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.arm(c, d)
	at := time.Now().Add(d)
	c.socket.Pause()
	return at, nil
}

// Resume reads from a paused connection again.
func (c *Conn) Resume() error {
	p, err := c.pausing()
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.disarm()
	c.socket.Resume()
	return nil
}

// pause is the end of a connection's pause. Its mutex makes a change of the timer and of the socket one step. The
// reading side, which a Pause waits for, never takes it.
type pause struct {
	mu     sync.Mutex
	resume *time.Timer // nil while not paused
}

func (p *pause) arm(c *Conn, d time.Duration) {
	p.disarm()
	p.resume = time.AfterFunc(d, func() { _ = c.Resume() })
}

func (p *pause) disarm() {
	stopTimer(p.resume)
	p.resume = nil
}

// pausing is for whoever pauses or resumes a connection, while that can be done.
func (c *Conn) pausing() (*pause, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.usableLocked(); err != nil {
		return nil, err
	}
	x := c.changeExtrasLocked()
	if x.pause == nil {
		x.pause = new(pause)
	}
	return x.pause, nil
}

// armResume sets the end of a pause that began with the connection.
func (c *Conn) armResume(d time.Duration) {
	if p, err := c.pausing(); err == nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.arm(c, d)
	}
}

// usableLocked is nil while messages can still be sent.
func (c *Conn) usableLocked() error {
	if c.ended {
		return ErrNotFound
	}
	if c.socket.State().Closing {
		return ErrClosing
	}
	return nil
}

// Update is a change of what backends know of a connection.
type Update struct {
	Set    map[string]string
	Remove []string
	User   *string    // nil: unchanged
	Expire *time.Time // nil: unchanged; zero: never
}

// Update makes the whole change or, on an error, none of it.
func (c *Conn) Update(u Update) (Info, error) {
	if u.User != nil {
		if err := ValidateUser("user", *u.User); err != nil {
			return Info{}, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.usableLocked(); err != nil {
		return Info{}, err
	}
	attributes, err := mergeAttributes(c.extrasLocked().attributes, "set_attributes", u)
	if err != nil {
		return Info{}, err
	}
	if err := c.setExpiryLocked(u.Expire); err != nil {
		return Info{}, err
	}
	x := c.changeExtrasLocked()
	x.attributes = attributes
	x.carried = pick(attributes, c.endpoint.EventAttributes)
	if u.User != nil {
		c.setUserLocked(*u.User)
	}
	return c.infoLocked(), nil
}

func (c *Conn) setExpiryLocked(at *time.Time) error {
	if at == nil {
		return nil
	}
	var left time.Duration
	if !at.IsZero() {
		if left = time.Until(*at); left <= 0 {
			return Invalid(InvalidExpireTime, "expire_time", at.UTC().Format(time.RFC3339Nano), "a time in the future")
		}
	}
	x := c.changeExtrasLocked()
	stopTimer(x.expiry)
	x.expiry, x.expireTime = nil, time.Time{}
	if left > 0 {
		c.expireAtLocked(*at)
	}
	return nil
}

// expireAtLocked ends the connection then, or at once when that has passed.
func (c *Conn) expireAtLocked(at time.Time) {
	x := c.changeExtrasLocked()
	x.expireTime = at
	x.expiry = time.AfterFunc(time.Until(at), func() { c.socket.Close(CodeExpired, "expired", CauseExpired, nil) })
}

// mergeAttributes answers the attributes after the update, sorted by name. field is what errors name.
func mergeAttributes(old []Attribute, field string, u Update) ([]Attribute, error) {
	if len(u.Set) == 0 && len(u.Remove) == 0 {
		return old, nil
	}
	merged := make([]Attribute, 0, len(old)+len(u.Set))
	for _, a := range old {
		if _, replaced := u.Set[a.Name]; !replaced && !slices.Contains(u.Remove, a.Name) {
			merged = append(merged, a)
		}
	}
	for name, value := range u.Set {
		if err := validateAttribute(field, name, value, u.Remove); err != nil {
			return nil, err
		}
		merged = append(merged, Attribute{strings.Clone(name), strings.Clone(value)})
	}
	size := 0
	for _, a := range merged {
		size += len(a.Name) + len(a.Value)
	}
	if size > MaxAttributes {
		return nil, Invalid(InvalidAttributes, field, fmt.Sprintf("%d bytes in all", size),
			fmt.Sprintf("names and values of all attributes together at most %d bytes", MaxAttributes))
	}
	slices.SortFunc(merged, func(a, b Attribute) int { return strings.Compare(a.Name, b.Name) })
	return merged, nil
}

func validateAttribute(field, name, value string, removed []string) error {
	switch {
	case name == "" || len(name) > MaxAttributeName || hasControl(name):
		return Invalid(InvalidAttributes, field, name,
			fmt.Sprintf("a name of 1 to %d bytes of UTF-8 without control characters", MaxAttributeName))
	case hasControl(value):
		return Invalid(InvalidAttributes, field+"["+name+"]", value, "a value of UTF-8 without control characters")
	case slices.Contains(removed, name):
		return Invalid(InvalidAttributes, "remove_attributes", name, "a name that is not also set")
	}
	return nil
}

// ValidateUser checks a user: at most 256 bytes of UTF-8, no control characters.
func ValidateUser(field, user string) error {
	if len(user) > MaxUser || hasControl(user) {
		return Invalid(InvalidUser, field, user,
			fmt.Sprintf("at most %d bytes of UTF-8 without control characters", MaxUser))
	}
	return nil
}

// hasControl is also for what is not UTF-8: nobody knows what is in it.
func hasControl(s string) bool {
	return !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl)
}

// pick answers those attributes that are named, in the order of the names.
func pick(attributes []Attribute, names []string) []Attribute {
	var out []Attribute
	for _, name := range names {
		i, ok := slices.BinarySearchFunc(attributes, name, func(a Attribute, n string) int {
			return strings.Compare(a.Name, n)
		})
		if ok {
			out = append(out, attributes[i])
		}
	}
	return out
}
