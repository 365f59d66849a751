// Package life keeps the record by which exactly one close event follows each open event, also when the
// node that held the connection is killed, stopped or cut off.
//
// Every node is the only writer of one subject of a log. It appends what opens and what ends before it
// publishes either event, and says with each append which sequence it expects to be the last. A node that
// appends nothing for a lease is dead to the others, and one of them appends a claim to its subject: from
// then on the log refuses the owner, whose next append would expect another sequence. That is the only fence
// that holds for a process that was stopped for an hour and goes on in the middle of an instruction. The
// claimer reads the subject and publishes the closes that the owner could not.
//
// The owner counts its lease from before it sent an append, the others from after they saw it, so the
// owner knows first. While its lease is over it is frozen: it publishes nothing, and nobody can tell it to
// do anything; its sockets stay. An accepted append ends that.
//
// What a claimer publishes follows from the record alone, so two claimers, one after the other or both at
// once, publish the same bytes.
package life

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

// Message is one entry of a node's subject.
type Message struct {
	Seq  uint64
	Time time.Time // when the log stored it
	Data []byte
}

// ErrNone means that there is no such message.
var ErrNone = errors.New("no such message in the record")

// Conflict is the error of an Append to a subject whose last sequence is another than was expected.
type Conflict struct{ Last uint64 }

func (c *Conflict) Error() string {
	return fmt.Sprintf("the last sequence of the record is %d, another than expected", c.Last)
}

// Log stores the records. What Append has taken survives the loss of a minority of its servers. Reading
// may be late by a moment: it never decides anything that an Append does not decide again.
type Log interface {
	// Append appends to the subject of a node if its last sequence is after (0: it has none) and answers
	// the new one. An error that is a *Conflict is certain; any other leaves open whether it was taken.
	Append(ctx context.Context, node hub.NodeID, after uint64, data []byte) (seq uint64, err error)
	// MaxMessage is how many bytes Append takes.
	MaxMessage() int
	// Last answers the last message of the node's subject, or ErrNone.
	Last(ctx context.Context, node hub.NodeID) (Message, error)
	// Get answers the message of that sequence, or ErrNone.
	Get(ctx context.Context, node hub.NodeID, seq uint64) (Message, error)
	// Read visits the messages of the node's subject up to the sequence given, in their order.
	Read(ctx context.Context, node hub.NodeID, upTo uint64, visit func(Message) error) error
	// Purge forgets the messages of the node's subject below that sequence.
	Purge(ctx context.Context, node hub.NodeID, below uint64) error
	// Nodes answers every node that has messages.
	Nodes(ctx context.Context) ([]hub.NodeID, error)
	// Epoch changes whenever the log may have come back with an older state than it had shown: what was read
	// before says nothing any more of how long something has not changed.
	Epoch() uint64
	// Lost reports, once, that the log was lost with all that was in it, and begins anew.
	Lost(ctx context.Context) (bool, error)
}

// Defaults of Config.
const (
	DefaultLease     = 10 * time.Second
	DefaultRenew     = 2 * time.Second
	DefaultDropAfter = time.Minute
)

// attempt bounds one call of the Log.
const attempt = 2 * time.Second

// Config of a Record and a Watcher.
type Config struct {
	Node hub.NodeID
	// Instance is what outlives the process and can belong to one process at a time, such as a locked data
	// directory; empty: nothing does. Who finds the record of another node with its own instance knows
	// that that node is dead.
	Instance string
	// Lease is how long a node may append nothing before others claim it; the same on every node.
	// 0: DefaultLease.
	Lease time.Duration
	// Renew is how often a node appends when there is nothing to say; well below Lease. 0: DefaultRenew.
	Renew time.Duration
	// Frozen is told when the lease runs out and when it is renewed. It must not block. May be nil.
	Frozen func(frozen bool)
	// Claimed is told, once, that others hold the node dead: nothing can be published by it any more.
	// It must not block. May be nil.
	Claimed func()
	// Healthy reports whether another node was heard of just now and said that it is not frozen: then its
	// record need not be looked at. Nil: none is.
	Healthy func(hub.NodeID) bool
	// Gone is told of another node that is claimed. It must not block. May be nil.
	Gone func(hub.NodeID)
	// Logger; nil: slog.Default().
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.Lease == 0 {
		c.Lease = DefaultLease
	}
	if c.Renew == 0 {
		c.Renew = DefaultRenew
	}
	if c.Frozen == nil {
		c.Frozen = func(bool) {}
	}
	if c.Claimed == nil {
		c.Claimed = func() {}
	}
	if c.Healthy == nil {
		c.Healthy = func(hub.NodeID) bool { return false }
	}
	if c.Gone == nil {
		c.Gone = func(hub.NodeID) {}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

// since is the time between two instants by whichever clock went further: the monotonic one stands still
// while the machine sleeps, the wall clock may be set.
func since(then, now time.Time) time.Duration {
	return max(now.Sub(then), now.Round(0).Sub(then.Round(0)))
}
