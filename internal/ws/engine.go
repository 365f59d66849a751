package ws

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-broker/holdfast/internal/ws/deflate"
)

// EngineConfig configures an Engine.
type EngineConfig struct {
	// Resolution of the clock that heartbeats and time limits go by. 0: 100 ms.
	Resolution time.Duration
	// Logger is told of panics. nil: slog.Default.
	Logger *slog.Logger
	// Driver of plain sockets. Zero: DriverEpoll where the system has it.
	Driver Driver
	// CompressionMemory bounds what compression takes, in bytes, of all connections together; what does not
	// fit goes uncompressed. 0: deflate.DefaultCeiling.
	CompressionMemory int64
}

// Engine owns what connections share. Close it after the last connection has ended.
type Engine struct {
	buffers *buffers
	clock   *clock
	logger  *slog.Logger
	running sync.WaitGroup // connections that were started, and goroutines that write for one
	loops   *loops         // nil: every connection has a goroutine
	panics  atomic.Uint64
	deflate *deflate.Pool

	overRate atomic.Uint64
}

// NewEngine starts an engine.
func NewEngine(c EngineConfig) *Engine {
	setDefault(&c.Resolution, 100*time.Millisecond)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	e := &Engine{
		buffers: newBuffers(), clock: newClock(c.Resolution), logger: c.Logger,
		deflate: deflate.NewPool(c.CompressionMemory),
	}
	if c.Driver != DriverPortable {
		e.loops = newLoops(c.Logger)
	}
	return e
}

// Prepare fills in defaults. A Config is prepared once and then shared by the connections of an
// endpoint, which are those of this engine.
func (e *Engine) Prepare(c Config) *Config { return c.prepared(e) }

// Panics is how many panics of Handlers were recovered. Each has closed its connection with 1011.
func (e *Engine) Panics() uint64 { return e.panics.Load() }

// OverRate is how often a peer was over one of its Rates: each time its connection was not read for a
// while, or closed.
func (e *Engine) OverRate() uint64 { return e.overRate.Load() }

// CompressionMemory is what compression takes now, in bytes.
func (e *Engine) CompressionMemory() int64 { return e.deflate.Memory() }

// Uncompressed counts what went uncompressed because EngineConfig.CompressionMemory was used up.
func (e *Engine) Uncompressed() deflate.Refused { return e.deflate.Refused() }

// Close waits for all connections, which must have been ended, to be so.
func (e *Engine) Close() {
	e.running.Wait()
	e.loops.close()
	e.clock.close()
}
