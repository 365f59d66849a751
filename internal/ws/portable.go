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
	gone   chan struct{} // closed when the writer has left, for the end to wait; else nil; guarded by Conn.writeMu
	failed atomic.Pointer[failedWrite]
}

// failedWrite is a writer whose stream has failed, and who leaves when the reading goroutine has come to the end.
type failedWrite struct {
	batch *batch
	err   error
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
			if err := p.write(b.bytes()[b.written:]); err != nil {
				p.leave(&failedWrite{b, err})
				return
			}
		}
		c.wrote(b)
	}
	c.wroteAll(b)
}

// leave ends the connection of a writer whose stream has failed. Of a peer that hung up everything may be there to be read:
// then that comes first, and who reads it ends the connection.
func (p *portable) leave(f *failedWrite) {
	p.failed.Store(f)
	if p.conn.over.Load() || !p.hungUp() {
		p.endWriter()
		return
	}
	p.wake()
}

// endWriter answers whether there was a failed writer, who has left now.
func (p *portable) endWriter() bool {
	f := p.failed.Swap(nil)
	if f == nil {
		return false
	}
	p.conn.writeFailed(f.batch, f.err)
	p.conn.wroteAll(f.batch)
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
