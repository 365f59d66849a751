package deflate

import (
	"runtime"
	"sync"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// DefaultCeiling is the memory of a Pool for which the configuration does not say: enough for sixty compressors, or for
// a thousand connections that take over contexts in both directions.
const DefaultCeiling = 64 << 20

// DefaultLevel is the cheapest: a message of 1 KiB costs it four fifths of what level 6 takes, one of 16 KiB half, and
// comes out 6 % and 20 % larger. A broker has many messages and few processors.
const DefaultLevel = 1

// Pool lends compressors and inflaters to connections, and accounts for the contexts they keep.
type Pool struct {
	ceiling   int64
	keep      int            // idle compressors of one kind that are kept for later
	inflaters chan *inflater // idle ones

	mu      sync.Mutex
	memory  int64 // of compressors and contexts; inflaters are set aside
	made    int   // inflaters, of at most cap(inflaters)
	idle    map[Kind][]*compressor
	refused Refused
}

// Refused counts what the ceiling kept from being compressed.
type Refused struct {
	Connections uint64 // whose contexts found no room
	Messages    uint64 // and fragments, for which no compressor found room
}

// NewPool makes a pool that takes at most ceiling bytes, or DefaultCeiling for 0. Inflaters are part of that, but are
// made also if the ceiling is too low for them.
func NewPool(ceiling int64) *Pool {
	if ceiling == 0 {
		ceiling = DefaultCeiling
	}
	processors := runtime.GOMAXPROCS(0)
	return &Pool{
		ceiling:   max(0, ceiling-int64(processors)*inflaterSize),
		keep:      processors,
		inflaters: make(chan *inflater, processors),
		idle:      make(map[Kind][]*compressor),
	}
}

// Memory is what the pool takes now, in bytes: an upper bound, since contexts count in full from their start.
func (p *Pool) Memory() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.memory + int64(p.made)*inflaterSize
}

// Refused is what the ceiling has kept from being compressed so far.
func (p *Pool) Refused() Refused {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refused
}

// Open begins the Session of a connection that agreed on params; level is 1 to 9, or DefaultLevel for 0. It returns
// false when the contexts that it would keep find no room: then the connection is not to agree on compression.
func (p *Pool) Open(params wire.DeflateParams, level int) (*Session, bool) {
	s := &Session{pool: p, kind: kindOf(params.ServerMaxWindowBits, level)}
	if !params.ServerNoContextTakeover {
		s.sent.size = 1 << params.ServerMaxWindowBits
	}
	if !params.ClientNoContextTakeover {
		s.received.size = 1 << max(params.ClientMaxWindowBits, leastClientBits)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reserveLocked(s.memory()) {
		p.refused.Connections++
		return nil, false
	}
	return s, true
}

// leastClientBits: zlib cannot compress with a window of 8 bits, and takes 9 in silence where it is told to. Whoever
// agreed on 8 with its users must look further back than that.
const leastClientBits = 9

// reserveLocked accounts for memory that is going to be held; false if it would exceed the ceiling, even when
// compressors that lie idle are given up for it.
func (p *Pool) reserveLocked(size int64) bool {
	for k, idle := range p.idle {
		if p.memory+size <= p.ceiling {
			break
		}
		p.memory -= int64(len(idle)) * k.memory()
		delete(p.idle, k)
	}
	if p.memory+size > p.ceiling {
		return false
	}
	p.memory += size
	return true
}

func (p *Pool) release(size int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.memory -= size
}

// compressor lends a compressor; nil if there is no room for one.
func (p *Pool) compressor(k Kind) *compressor {
	c, room := p.idleCompressor(k)
	if c == nil && room {
		c = newCompressor(k)
	}
	return c
}

// idleCompressor lends one that lies idle, or else says whether there is room for another, which then is accounted for.
func (p *Pool) idleCompressor(k Kind) (c *compressor, room bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if idle := p.idle[k]; len(idle) > 0 {
		last := len(idle) - 1
		c, idle[last] = idle[last], nil
		p.idle[k] = idle[:last]
		return c, true
	}
	if !p.reserveLocked(k.memory()) {
		p.refused.Messages++
		return nil, false
	}
	return nil, true
}

// takeBack keeps a compressor for later, or leaves it to the collector.
func (p *Pool) takeBack(k Kind, c *compressor) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle[k]) < p.keep {
		p.idle[k] = append(p.idle[k], c)
		return
	}
	p.memory -= k.memory()
}

// inflater lends an inflater. It may wait, but only for goroutines that compute.
func (p *Pool) inflater() *inflater {
	select {
	case i := <-p.inflaters:
		return i
	default:
	}
	p.mu.Lock()
	more := p.made < cap(p.inflaters)
	if more {
		p.made++
	}
	p.mu.Unlock()
	if more {
		return newInflater()
	}
	return <-p.inflaters
}
