package ws

import (
	"time"

	"github.com/holdfast-broker/holdfast/internal/ws/deflate"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// Defaults of Config.
const (
	DefaultMessageSize       = 1 << 20
	DefaultSendQueueBytes    = 1 << 20
	DefaultSendQueueMessages = 4096
	DefaultHeartbeatInterval = 30 * time.Second
	DefaultHeartbeatTimeout  = 10 * time.Second
	DefaultCloseTimeout      = 30 * time.Second
	DefaultFragmentTimeout   = 10 * time.Second
)

// Bounds of what a connection keeps track of.
const (
	// MaxPings is how many pings of one connection may be unanswered, beside the heartbeat's. A peer
	// that was busy reads them all at once, and Node ws ends itself when more than 60 pongs are due.
	MaxPings = 32
	// MaxReceipts is how many sends of one connection may wait for a receipt.
	MaxReceipts = 4096
)

// lingerTimeout bounds how long a connection that broke the protocol is drained, so that the peer can
// read the close frame instead of a reset.
const lingerTimeout = 5 * time.Second

// QueuePolicy says what happens to a message for which the send queue has no room.
type QueuePolicy uint8

const (
	// QueueReject refuses it with ErrQueueFull.
	QueueReject QueuePolicy = iota
	// QueueClose closes the connection with 1013 and refuses it with ErrClosing.
	QueueClose
	// QueueDropOldest drops the oldest messages of which nothing was written, as many as it takes.
	QueueDropOldest
)

// Config is what the connections of one endpoint share. It must not change once in use.
type Config struct {
	// MessageSize is the largest message accepted, in bytes after assembly. 0: DefaultMessageSize.
	MessageSize int64
	// FrameSize is the largest data frame accepted, in bytes on the wire. 0: as large as a message.
	FrameSize int64
	// Fragments is how many fragments a message may have. 0: wire.DefaultFragmentLimit.
	Fragments int
	// SendQueueBytes bounds the payload that waits to be written. 0: DefaultSendQueueBytes.
	SendQueueBytes int
	// SendQueueMessages bounds the messages that wait. 0: DefaultSendQueueMessages.
	SendQueueMessages int
	// SendQueuePolicy: zero is QueueReject.
	SendQueuePolicy QueuePolicy
	// HeartbeatInterval is the time between pings. 0: DefaultHeartbeatInterval; negative: no heartbeat.
	HeartbeatInterval time.Duration
	// HeartbeatTimeout is how long after a ping a sign of life must come, and how long a receipt is
	// waited for. 0: DefaultHeartbeatTimeout.
	HeartbeatTimeout time.Duration
	// CloseTimeout bounds the closing handshake, with the flush before it. 0: DefaultCloseTimeout.
	CloseTimeout time.Duration
	// FragmentTimeout is how long a message that was begun with More waits for its next fragment.
	// 0: DefaultFragmentTimeout.
	FragmentTimeout time.Duration
	// IdleTimeout closes a connection with 1001 on which no message was received or written for so long;
	// it stands still while the connection is held. 0: never.
	IdleTimeout time.Duration
	// Lifetime closes a connection with ExpiredCode so long after Start, or up to a tenth earlier, so
	// that connections which came together do not go together. What is queued is written before. 0: never.
	Lifetime time.Duration
	// Rates bound what the peer may send.
	Rates Rates
	// Compression: zero is off.
	Compression Compression

	engine     *Engine
	reader     wire.ReaderConfig
	compressed wire.ReaderConfig // of connections that agreed to compress
}

// prepared fills in the defaults.
func (c Config) prepared(e *Engine) *Config {
	setDefault(&c.MessageSize, DefaultMessageSize)
	setDefault(&c.SendQueueBytes, DefaultSendQueueBytes)
	setDefault(&c.SendQueueMessages, DefaultSendQueueMessages)
	setDefault(&c.HeartbeatInterval, DefaultHeartbeatInterval)
	setDefault(&c.HeartbeatTimeout, DefaultHeartbeatTimeout)
	setDefault(&c.CloseTimeout, DefaultCloseTimeout)
	setDefault(&c.FragmentTimeout, DefaultFragmentTimeout)
	c.engine = e
	c.reader = wire.ReaderConfig{MessageLimit: c.MessageSize, FrameLimit: c.FrameSize, FragmentLimit: c.Fragments, Buffers: e.buffers}
	c.Compression = c.Compression.prepared()
	c.compressed = c.reader
	c.compressed.RSV1, c.compressed.CompressedLimit = true, deflate.Bound(c.MessageSize)
	return &c
}

func setDefault[T int | int64 | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}
