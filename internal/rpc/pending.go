package rpc

import (
	"context"
	"errors"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

// pendingOf tells a connection that is being admitted from other reasons why there is none.
func pendingOf(err error) (*hub.Pending, bool) {
	if err == nil {
		return nil, false
	}
	return errors.AsType[*hub.Pending](err)
}

// awaitOpen waits until a connection is open, or will never be.
func (s *service) awaitOpen(ctx context.Context, id string, p *hub.Pending) (*hub.Conn, error) {
	type opened struct {
		conn *hub.Conn
		err  error
	}
	ch := make(chan opened, 1)
	waits, err := p.Then(0, func(c *hub.Conn, err error) { ch <- opened{c, err} })
	switch {
	case err != nil:
		return nil, err
	case !waits:
		return s.lookup(ctx, id)
	}
	o, err := await(ctx, s, ch)
	if err != nil {
		return nil, err
	}
	return o.conn, o.err
}
