package wire

import "math"

// DefaultFragmentLimit is the number of fragments that a message may have when the configuration does not say.
const DefaultFragmentLimit = 65536

// ReaderConfig is what all connections of an endpoint share. It must not change while a Reader uses it. The zero
// value reads as a server, without a limit on the size of messages.
type ReaderConfig struct {
	// MessageLimit is the size in bytes that the payload of an assembled message may have. 0 or less: no limit.
	MessageLimit int64
	// CompressedLimit is the same for a compressed message, before it is inflated: what does not compress grows, so it
	// is above the limit that whoever inflates holds it to. 0 or less: MessageLimit.
	CompressedLimit int64
	// FrameLimit is the size in bytes that the payload of one data frame may have, as it stands on the wire. 0 or less:
	// as much as the message may.
	FrameLimit int64
	// FragmentLimit is the number of fragments that a message may have, empty ones included. 0 or less:
	// DefaultFragmentLimit.
	FragmentLimit int
	// RSV1: an extension was negotiated that marks messages with RSV1 (permessage-deflate, RFC 7692). A marked
	// message becomes an Event with Compressed set, and its text is not checked: that is up to who inflates it.
	RSV1 bool
	// Client: the Reader belongs to a client, so frames must come unmasked. Otherwise they must be masked.
	Client bool
	// Buffers lends memory for what does not lie whole in one chunk. nil: the Go heap.
	Buffers Buffers
}

// Buffers lends memory. A Reader gives every buffer back, at the latest in Discard, and never one that it did not get,
// unless Get broke its promise.
type Buffers interface {
	// Get returns a buffer of length 0 with room for size bytes or more. size never exceeds twice the bytes that
	// have arrived of a message, nor what the message can still become; or it is MaxControlPayload.
	Get(size int) []byte
	// Put takes back a buffer, whatever its length now is.
	Put(buf []byte)
}

// messageLimit returns the greatest size that a message may have: also without a limit it must fit in memory.
func (c *ReaderConfig) messageLimit(compressed bool) int {
	limit := c.MessageLimit
	if compressed && c.CompressedLimit > 0 {
		limit = c.CompressedLimit
	}
	if limit <= 0 || limit > math.MaxInt {
		return math.MaxInt
	}
	return int(limit)
}

// frameTooLong reports whether a data frame of that length is over the limit.
func (c *ReaderConfig) frameTooLong(length uint64) bool {
	return c.FrameLimit > 0 && length > uint64(c.FrameLimit)
}

func (c *ReaderConfig) fragmentLimit() int {
	if c.FragmentLimit <= 0 {
		return DefaultFragmentLimit
	}
	return c.FragmentLimit
}

func (c *ReaderConfig) get(size int) []byte {
	if c.Buffers == nil {
		return make([]byte, 0, size)
	}
	return c.Buffers.Get(size)
}

func (c *ReaderConfig) put(buf []byte) {
	if c.Buffers != nil && buf != nil {
		c.Buffers.Put(buf)
	}
}
