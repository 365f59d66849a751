package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/holdfast-broker/holdfast/internal/bus/life"
	"github.com/holdfast-broker/holdfast/internal/hub"
)

// LifeStream is the JetStream stream of the life records.
const LifeStream = "HOLDFAST_LIFE"

const (
	lifePrefix = "_HOLDFAST.life."
	// lifeReplicas in a cluster of servers; alone one.
	lifeReplicas = 3
)

// Codes of JetStream's errors that mean something to us.
const (
	codeWrongLastSequence = 10071
	codeNoPeers           = 10005 // also 10074: not enough servers for the replicas
	codeReplicas          = 10074
)

// ErrNoJetStream means that the NATS server, or our account on it, has no JetStream.
var ErrNoJetStream = errors.New("nats: no JetStream")

// lifeLog is a life.Log in JetStream, on a connection of its own: a flood of replies must not cost a node its
// lease.
type lifeLog struct {
	link   link
	js     jetstream.JetStream
	stream jetstream.Stream
	// created is when the stream was made, by which a new one of the name is known.
	mu      sync.Mutex
	created time.Time
}

var _ life.Log = (*lifeLog)(nil)

// openLifeLog connects and sees to it that there is the stream. It tries until ctx ends, and fails at once with
// ErrNoJetStream.
func openLifeLog(ctx context.Context, c Config) (*lifeLog, error) {
	l := &lifeLog{}
	if err := l.link.connect(c, "the life record"); err != nil {
		return nil, err
	}
	var err error
	if l.js, err = jetstream.New(l.link.nc); err != nil {
		l.link.close()
		return nil, fmt.Errorf("nats: %w", err)
	}
	silent := 0 // attempts that nobody answered, one after the other
	for attempt := 1; ; attempt++ {
		if err = l.ensure(ctx); err == nil {
			return l, nil
		}
		if silent++; !errors.Is(err, nats.ErrNoResponders) && !errors.Is(err, ErrNoJetStream) {
			silent = 0
		}
		if silent == lifeSilent {
			err = ErrNoJetStream
		}
		if l.link.denied.Load() > 0 {
			l.link.close()
			return nil, fmt.Errorf("nats: the server's permissions keep us from the stream %s: see docs/cluster.md#permissions", LifeStream)
		}
		if attempt%lifeLogEvery == 0 {
			c.Logger.Warn("nats: waiting for JetStream: the life record cannot be opened yet", "error", err)
		}
		if silent == lifeSilent || !sleep(ctx, lifeRetry) {
			l.link.close()
			return nil, err
		}
	}
}

// The wait for JetStream; every how many attempts it is logged; after how many without anybody who answers there
// is none: servers that have JetStream answer, or keep silent while they have no leader.
const (
	lifeRetry    = 250 * time.Millisecond
	lifeLogEvery = 20
	lifeSilent   = 8
)

// ensure makes or finds the stream. Replicas are what the cluster can give: they are raised later, never lowered.
func (l *lifeLog) ensure(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	stream, err := l.js.Stream(ctx, LifeStream)
	switch {
	case err == nil:
		l.found(stream)
		return nil
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return ErrNoJetStream
	case !errors.Is(err, jetstream.ErrStreamNotFound):
		return fmt.Errorf("nats: stream %s: %w", LifeStream, err)
	}
	if stream, err = l.create(ctx); err != nil {
		return err
	}
	l.found(stream)
	return nil
}

// found keeps the stream, and when it was made if it is the first.
func (l *lifeLog) found(stream jetstream.Stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stream = stream
	if l.created.IsZero() {
		l.created = stream.CachedInfo().Created
	}
}

// Lost implements life.Log.
func (l *lifeLog) Lost(ctx context.Context) (bool, error) {
	if err := l.ensure(ctx); err != nil {
		return false, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	made := l.stream.CachedInfo().Created
	lost := !made.Equal(l.created)
	l.created = made
	return lost, nil
}

func (l *lifeLog) current() jetstream.Stream {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stream
}

func (l *lifeLog) create(ctx context.Context) (jetstream.Stream, error) {
	config := jetstream.StreamConfig{
		Name: LifeStream, Subjects: []string{lifePrefix + "*"}, Storage: jetstream.FileStorage,
		Description: "what connections every node holds; private to the broker, do not touch",
		Replicas:    l.replicas(),
	}
	stream, err := l.js.CreateStream(ctx, config)
	if code := errorCode(err); code == codeNoPeers || code == codeReplicas {
		config.Replicas = 1
		stream, err = l.js.CreateStream(ctx, config)
	}
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another node was quicker
		stream, err = l.js.Stream(ctx, LifeStream)
	}
	if err != nil {
		return nil, fmt.Errorf("nats: create stream %s: %w", LifeStream, err)
	}
	return stream, nil
}

func (l *lifeLog) replicas() int {
	if l.link.nc.ConnectedClusterName() == "" {
		return 1
	}
	return lifeReplicas
}

// raise gives the stream the replicas that it could not have when it was made.
func (l *lifeLog) raise(ctx context.Context, logger *slog.Logger) {
	config := l.current().CachedInfo().Config
	if config.Replicas >= l.replicas() {
		return
	}
	config.Replicas = l.replicas()
	stream, err := l.js.UpdateStream(ctx, config)
	if err != nil {
		logger.Debug("nats: the life record has one replica until there are enough servers", "error", err)
		return
	}
	l.found(stream)
	logger.Info("nats: the life record is replicated", "replicas", config.Replicas)
}

func errorCode(err error) jetstream.ErrorCode {
	var api jetstream.JetStreamError
	if errors.As(err, &api) && api.APIError() != nil {
		return api.APIError().ErrorCode
	}
	return 0
}

func lifeSubject(node hub.NodeID) string { return lifePrefix + string(node) }

// Append implements life.Log.
func (l *lifeLog) Append(ctx context.Context, node hub.NodeID, after uint64, data []byte) (uint64, error) {
	ack, err := l.js.PublishMsg(ctx, &nats.Msg{Subject: lifeSubject(node), Data: data},
		jetstream.WithExpectLastSequencePerSubject(after), jetstream.WithRetryAttempts(0))
	switch {
	case err == nil:
		return ack.Sequence, nil
	case errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, nats.ErrNoResponders):
		_ = l.ensure(ctx) // the stream is gone, or JetStream is away: the next attempt will tell
	}
	return 0, conflictOf(err)
}

// lifeHeaders is more than the headers of an Append take.
const lifeHeaders = 1 << 10

// MaxMessage implements life.Log.
func (l *lifeLog) MaxMessage() int { return int(l.link.nc.MaxPayload()) - lifeHeaders }

// conflictOf finds the sequence that the server names in its refusal: "wrong last sequence: 7". A refusal without one
// means that another message of the subject is under way.
func conflictOf(err error) error {
	if errorCode(err) != codeWrongLastSequence {
		return err
	}
	text := err.Error()
	last, parsed := strconv.ParseUint(text[strings.LastIndexByte(text, ' ')+1:], 10, 64)
	if parsed != nil {
		return err
	}
	return &life.Conflict{Last: last}
}

// Last implements life.Log.
func (l *lifeLog) Last(ctx context.Context, node hub.NodeID) (life.Message, error) {
	m, err := l.current().GetLastMsgForSubject(ctx, lifeSubject(node))
	if err != nil {
		return life.Message{}, noneOf(err)
	}
	return life.Message{Seq: m.Sequence, Time: m.Time, Data: m.Data}, nil
}

// Epoch implements life.Log. A stream with copies does not forget what it has confirmed. One without can when its
// server starts again, which no connection survives.
func (l *lifeLog) Epoch() uint64 {
	if l.current().CachedInfo().Config.Replicas > 1 {
		return 0
	}
	return 1 + l.link.nc.Stats().Reconnects
}

// Get implements life.Log.
func (l *lifeLog) Get(ctx context.Context, node hub.NodeID, seq uint64) (life.Message, error) {
	m, err := l.current().GetMsg(ctx, seq)
	if err != nil {
		return life.Message{}, noneOf(err)
	}
	if m.Subject != lifeSubject(node) {
		return life.Message{}, life.ErrNone
	}
	return life.Message{Seq: m.Sequence, Time: m.Time, Data: m.Data}, nil
}

func noneOf(err error) error {
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return life.ErrNone
	}
	return err
}

// lifeReadTimeout is how long one message may take to come.
const lifeReadTimeout = 5 * time.Second

// Read implements life.Log.
func (l *lifeLog) Read(ctx context.Context, node hub.NodeID, upTo uint64, visit func(life.Message) error) error {
	consumer, err := l.current().OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{lifeSubject(node)}, DeliverPolicy: jetstream.DeliverAllPolicy,
		MaxResetAttempts: 1, // the caller tries again, or stops
	})
	if err != nil {
		return err
	}
	messages, err := consumer.Messages()
	if err != nil {
		return err
	}
	defer messages.Stop()
	for {
		m, err := nextOf(ctx, messages)
		if err != nil {
			return fmt.Errorf("nats: read stream %s: %w", LifeStream, err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		if err := visit(life.Message{Seq: meta.Sequence.Stream, Time: meta.Timestamp, Data: m.Data()}); err != nil {
			return err
		}
		if meta.Sequence.Stream >= upTo {
			return nil
		}
	}
}

func nextOf(ctx context.Context, messages jetstream.MessagesContext) (jetstream.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, lifeReadTimeout)
	defer cancel()
	return messages.Next(jetstream.NextContext(ctx))
}

// Purge implements life.Log.
func (l *lifeLog) Purge(ctx context.Context, node hub.NodeID, below uint64) error {
	return l.current().Purge(ctx, jetstream.WithPurgeSubject(lifeSubject(node)), jetstream.WithPurgeSequence(below))
}

// Nodes implements life.Log.
func (l *lifeLog) Nodes(ctx context.Context) ([]hub.NodeID, error) {
	info, err := l.current().Info(ctx, jetstream.WithSubjectFilter(lifePrefix+"*"))
	if err != nil {
		return nil, err
	}
	nodes := make([]hub.NodeID, 0, len(info.State.Subjects))
	for subject := range info.State.Subjects {
		nodes = append(nodes, hub.NodeID(strings.TrimPrefix(subject, lifePrefix)))
	}
	slices.Sort(nodes)
	return nodes, nil
}
