package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// maxReply is the largest payload that a reply or a fragment may have.
const maxReply = 1 << 20

// backend echoes: a stock NATS client that responds to the message event with what it got. A message above maxReply
// goes back through the control API in fragments, for no reply may be that large.
type backend struct {
	nc      *nats.Conn
	cc      *grpc.ClientConn
	control holdfastv1.ConnectionServiceClient

	mu      sync.Mutex
	awaited map[string]chan struct{} // by payload
	failure error                    // the first
}

func startBackend(natsURL, control string) (*backend, error) {
	b := &backend{awaited: map[string]chan struct{}{}}
	cc, err := grpc.NewClient(control, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	b.cc, b.control = cc, holdfastv1.NewConnectionServiceClient(cc)
	if b.nc, err = nats.Connect(natsURL, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		b.failed(err)
	})); err != nil {
		return nil, errors.Join(err, cc.Close())
	}
	sub, err := b.nc.Subscribe("holdfast.*.message.*", b.message)
	if err == nil {
		err = errors.Join(sub.SetPendingLimits(-1, -1), b.nc.Flush())
	}
	if err != nil {
		return nil, errors.Join(err, b.stop())
	}
	return b, nil
}

// stop answers the first thing that went wrong.
func (b *backend) stop() error {
	b.nc.Close()
	b.mu.Lock()
	defer b.mu.Unlock()
	return errors.Join(b.failure, b.cc.Close())
}

func (b *backend) failed(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failure == nil && err != nil {
		b.failure = fmt.Errorf("backend: %w", err)
	}
}

// await answers a channel that is closed when a message with that payload comes.
func (b *backend) await(payload []byte) <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	came := make(chan struct{})
	b.awaited[string(payload)] = came
	return came
}

func (b *backend) message(m *nats.Msg) {
	b.mu.Lock()
	if came, ok := b.awaited[string(m.Data)]; ok {
		close(came)
		delete(b.awaited, string(m.Data))
	}
	b.mu.Unlock()
	if len(m.Data) <= maxReply {
		b.failed(m.Respond(m.Data))
		return
	}
	id := m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]
	b.failed(b.echoInFragments(id, m.Data, m.Header.Get("Holdfast-Opcode") == "text"))
}

// echoInFragments sends a message that is longer than a reply can be.
func (b *backend) echoInFragments(id string, payload []byte, isText bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var fragment string
	for len(payload) > 0 {
		part := payload[:min(len(payload), maxReply)]
		if isText && len(part) < len(payload) {
			part = part[:wholeRunes(payload, len(part))]
		}
		payload = payload[len(part):]
		message := &holdfastv1.Message{More: len(payload) > 0, FragmentId: fragment}
		if isText {
			message.Payload = &holdfastv1.Message_Text{Text: string(part)}
		} else {
			message.Payload = &holdfastv1.Message_Binary{Binary: part}
		}
		resp, err := b.control.Send(ctx, &holdfastv1.SendRequest{ConnectionId: id, Message: message})
		if err != nil {
			return fmt.Errorf("send a fragment: %w", err)
		}
		fragment = resp.GetFragmentId()
	}
	return nil
}

// wholeRunes is the largest length up to n at which text can be cut.
func wholeRunes(text []byte, n int) int {
	for n > 0 && n < len(text) && !utf8.RuneStart(text[n]) {
		n--
	}
	return n
}
