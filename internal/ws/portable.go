package ws

import (
	"errors"
	"io"
	"sync/atomic"
)

// portable drives a connection from a goroutine of its own, which waits for input without a buffer where the stream
// can. Another one exists while the stream is full.
type portable struct {
	conn Conn
	stream
	gone   chan struct{}         // closed when the writer has left, for the end to wait; else nil; guarded by Conn.writeMu
	failed atomic.Pointer[batch] // of a writer whose stream has failed, until who reads has come to the end
}

func (p *portable) start()   { p.conn.cfg.engine.running.Go(p.serve) }
func (p *portable) abandon() { p.close(false) }

func (p *portable) handOver(b *batch) {
	if b.failed != nil {
		p.leave(b)
		return
	}
	p.conn.cfg.engine.running.Go(func() { p.flush(b) })
}

// serve is the life of the reading goroutine.
func (p *portable) serve() {
	if p.readUntilEnd() { // a Handler panicked
		p.conn.deafen()
		p.readUntilEnd()
	}
	p.conn.stop()
	p.endWriter()
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
		if p.endWriter() {
			return
		}
		if err := p.watch(p.stirs); err != nil {
			p.conn.streamFailed(err)
		}
	}
}

// stirs: there is something to do for who waits until the connection may be read.
func (p *portable) stirs() bool { return p.failed.Load() != nil || p.conn.readable() }

// flush is the writer that may wait for the stream, until nothing is left.
func (p *portable) flush(b *batch) {
	c := &p.conn
	for more := true; more && c.compress(b); more = c.next(b) {
		c.announce(b)
		if b.n > 0 {
			if b.failed = p.write(b.bytes()[b.written:]); b.failed != nil {
				p.leave(b)
				return
			}
		}
		c.wrote(b)
	}
	c.wroteAll(b)
}

func (p *portable) leave(b *batch) {
	p.failed.Store(b)
	if p.conn.over.Load() || !p.hungUp() {
		p.endWriter()
		return
	}
	p.wake()
}

// endWriter answers whether there was a writer whose stream had failed. He has left now.
func (p *portable) endWriter() bool {
	b := p.failed.Swap(nil)
	if b == nil {
		return false
	}
	p.conn.writeFailed(b)
	p.conn.wroteAll(b)
	return true
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
