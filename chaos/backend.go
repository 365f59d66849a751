//go:build linux

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// backend sends numbered messages to connections that the ledger knows, through any node, and writes down what it was
// told of them.
type backend struct {
	ledger *ledger
	conns  [brokers]*grpc.ClientConn
	wg     sync.WaitGroup

	mu    sync.Mutex
	next  int
	sends []send
	nodes map[codes.Code]int // answers
}

// send is one message and what became of it.
type send struct {
	number       int
	id           string
	confirmation holdfastv1.Confirmation
	code         codes.Code
	attempts     int
	end          time.Time
}

// How often a send of unknown outcome is tried, and how long each attempt may take.
const (
	attempts    = 6
	attemptTime = 4 * time.Second
)

func newBackend(l *ledger, addresses [brokers]string) (*backend, error) {
	b := &backend{ledger: l, nodes: make(map[codes.Code]int)}
	for i, address := range addresses {
		var err error
		b.conns[i], err = grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff: backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.5, MaxDelay: time.Second}, MinConnectTimeout: time.Second,
			}))
		if err != nil {
			return nil, err
		}
	}
	return b, nil
}

// Workers of the backend: a send to a connection whose node is stopped takes seconds.
const workers = 64

// start sends so many messages per second until ctx ends.
func (b *backend) start(ctx context.Context, perSecond int) {
	for range workers {
		b.wg.Go(func() {
			r := rand.New(rand.NewPCG(rand.Uint64(), 0))
			for wait(ctx, time.Duration((0.5+r.Float64())*float64(time.Second)*workers/float64(perSecond))) {
				if id, some := b.ledger.any(r); some {
					b.send(id, r)
				}
			}
		})
	}
}

var confirmations = []holdfastv1.Confirmation{
	holdfastv1.Confirmation_QUEUED, holdfastv1.Confirmation_WRITTEN, holdfastv1.Confirmation_RECEIVED,
}

// send repeats with the same request_id what may not have been done: it must not arrive twice.
func (b *backend) send(id string, r *rand.Rand) {
	s := send{id: id, number: b.number(), confirmation: confirmations[r.IntN(len(confirmations))]}
	request := &holdfastv1.SendRequest{
		ConnectionId: id, Confirmation: s.confirmation, RequestId: strconv.Itoa(s.number),
		Message: &holdfastv1.Message{Payload: &holdfastv1.Message_Text{Text: fmt.Sprintf("%s %d", id, s.number)}},
	}
	for s.attempts < attempts {
		s.attempts++
		ctx, cancel := context.WithTimeout(context.Background(), attemptTime)
		_, err := holdfastv1.NewConnectionServiceClient(b.conns[r.IntN(brokers)]).Send(ctx, request)
		cancel()
		s.code = status.Code(err)
		if s.code != codes.Unavailable && s.code != codes.DeadlineExceeded {
			break
		}
		wait(context.Background(), time.Duration(s.attempts)*50*time.Millisecond)
	}
	s.end = time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sends = append(b.sends, s)
	b.nodes[s.code]++
}

func (b *backend) number() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next++
	return b.next
}

// ping asks a connection for a sign of life.
func (b *backend) ping(ctx context.Context, id string) error {
	client := holdfastv1.NewConnectionServiceClient(b.conns[rand.IntN(brokers)])
	ctx, cancel := context.WithTimeout(ctx, 4*attemptTime)
	defer cancel()
	_, err := client.Ping(ctx, &holdfastv1.PingRequest{ConnectionId: id, Payload: []byte("chaos")})
	return err
}

// drain asks a node to stop, through another one.
func (b *backend) drain(broker int, node string) error {
	client := holdfastv1.NewNodeServiceClient(b.conns[(broker+1)%brokers])
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := client.DrainNode(ctx, &holdfastv1.DrainNodeRequest{Node: node})
	return err
}

func (b *backend) close() {
	for _, cc := range b.conns {
		if cc != nil {
			_ = cc.Close()
		}
	}
}
