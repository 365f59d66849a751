package ws

import (
	"errors"
	"io"
)

// portable drives a connection from a goroutine of its own, which waits for input without a buffer where the stream
// can. Another one exists while the stream is full.
type portable struct {
	conn Conn
	stream
	gone chan struct{} // closed when the writer has left, for the end to wait; else nil; guarded by Conn.writeMu
}

func (p *portable) start()            { p.conn.cfg.engine.running.Go(p.serve) }
func (p *portable) abandon()          { p.close(false) }
func (p *portable) handOver(b *batch) { p.conn.cfg.engine.running.Go(func() { p.flush(b) }) }

// serve is the life of the reading goroutine.
func (p *portable) serve() {
	if p.readUntilEnd() { // a Handler panicked
		p.conn.deafen()
		p.readUntilEnd()
	}
	p.conn.stop()
	p.awaitWriter()
	p.conn.conclude()
}

func (p *portable) readUntilEnd() (panicked bool) {
	defer func() { panicked = p.conn.caught(recover()) }()
	for p.awaitInput() {
		if err := p.read(p.conn.take); err != nil {
			if errors.Is(err, io.EOF) {
				p.awaitReadable() // no event reaches a Handler that holds
			}
			p.conn.streamEnded(err)
			break
		}
	}
	return false
}

// awaitInput waits while the connection is held, gives the Handler what was kept, and answers whether
// to read on.
func (p *portable) awaitInput() bool {
	for {
		p.awaitReadable()
		if p.conn.over.Load() {
			return false
		}
		if more, decided := p.conn.replay(); decided {
			return more
		}
	}
}

// awaitReadable waits until the connection may be read or is over. A stream that fails meanwhile ends
// it: nothing more will come that could be read.
func (p *portable) awaitReadable() {
	for !p.conn.readable() {
		if err := p.watch(p.conn.readable); err != nil {
			p.conn.streamFailed(err)
		}
	}
}

// flush is the writer that may wait for the stream, until nothing is left.
func (p *portable) flush(b *batch) {
	c := &p.conn
	defer c.wroteAll(b)
	for more := true; more && c.compress(b); more = c.next(b) {
		c.announce(b)
		if b.n > 0 {
			if err := p.write(b.bytes()[b.written:]); err != nil {
				c.writeFailed(b, err)
				return
			}
		}
		c.wrote(b)
	}
}

// awaitWriter waits until nobody writes.
func (p *portable) awaitWriter() {
	c := &p.conn
	var gone chan struct{}
	c.writeMu.Lock()
	if c.writing {
		gone = make(chan struct{})
		p.gone = gone
	}
	c.writeMu.Unlock()
	if gone != nil {
		<-gone
	}
}

func (p *portable) writerLeft() {
	p.conn.writeMu.Lock()
	defer p.conn.writeMu.Unlock()
	if p.gone != nil {
		close(p.gone)
		p.gone = nil
	}
}
