package ws

import (
	"fmt"
	"runtime/debug"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// What a user of the package wrote may panic. That ends the connection it was called for, and no other.

const panicText = "internal error"

// caught ends the connection if v is a panic.
func (c *Conn) caught(v any) bool {
	if v == nil {
		return false
	}
	c.cfg.engine.panics.Add(1)
	c.cfg.engine.logger.Error("panic on a connection", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
	c.closeFor(Panic, wire.InternalError, panicText)
	return true
}

// answer tells everyone of dones the same.
func (c *Conn) answer(dones []Done, err error) {
	for _, d := range dones {
		c.tell(d, Outcome{Err: err})
	}
}

func (c *Conn) tell(d Done, o Outcome) {
	defer func() { c.caught(recover()) }()
	d(o)
}

func (c *Conn) writable(h Handler) {
	defer func() { c.caught(recover()) }()
	h.OnWritable()
}

func (c *Conn) ended(e End) {
	defer func() { c.caught(recover()) }()
	c.handler.OnClose(e)
}
