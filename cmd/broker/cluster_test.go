package main_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
)

// restarts of each kind: each takes seconds, because JetStream elects a leader. "make soak" asks for ten.
func restarts(t *testing.T) int {
	text := os.Getenv("HOLDFAST_RESTARTS")
	if text == "" {
		return 2
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// vault is a stream with a copy on every broker of a cluster, and what must be in it.
type vault struct {
	t    *testing.T
	c    *brokertest.Cluster
	sent int
}

// through runs something over one broker's NATS server, until it works: a leader may have to be elected.
func (v *vault) through(broker int, do func(context.Context, jetstream.JetStream) error) {
	v.t.Helper()
	nc, err := nats.Connect(v.c.Brokers[broker].NATS, nats.NoReconnect(), nats.Timeout(brokertest.Patience))
	if err != nil {
		v.t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		v.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(v.t.Context(), 2*brokertest.Patience)
	defer cancel()
	for {
		short, cancel := context.WithTimeout(ctx, time.Second)
		err := do(short, js)
		cancel()
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			v.t.Fatalf("broker %d: %v", broker, err)
		}
		<-short.Done() // an error may come at once
	}
}

func (v *vault) create() {
	v.t.Helper()
	v.through(0, func(ctx context.Context, js jetstream.JetStream) error {
		_, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "VAULT", Subjects: []string{"vault"}, Replicas: len(v.c.Brokers)})
		return err
	})
}

// write stores a message once, however often it is tried.
func (v *vault) write(broker int) {
	v.t.Helper()
	v.sent++
	v.through(broker, func(ctx context.Context, js jetstream.JetStream) error {
		_, err := js.Publish(ctx, "vault", []byte("x"), jetstream.WithMsgID(strconv.Itoa(v.sent)))
		return err
	})
}

// check reads through a broker that everything is there.
func (v *vault) check(broker int) {
	v.t.Helper()
	v.through(broker, func(ctx context.Context, js jetstream.JetStream) error {
		s, err := js.Stream(ctx, "VAULT")
		if err != nil {
			return err
		}
		if n := s.CachedInfo().State.Msgs; n != uint64(v.sent) {
			return fmt.Errorf("%d of %d messages", n, v.sent)
		}
		return nil
	})
}

// TestClusterComesBackFromEveryRestart restarts three brokers one by one and all at once, with and without
// an order, and each time they are ready again, with all that JetStream holds.
func TestClusterComesBackFromEveryRestart(t *testing.T) {
	t.Parallel() // it waits most of the time
	c := brokertest.NewCluster(t, 3)
	took := func(what string, begin time.Time) { t.Logf("%-28s %5.1f s", what, time.Since(begin).Seconds()) }
	begin := time.Now()
	c.Start(0, 1, 2)
	took("first start", begin)
	v := &vault{t: t, c: c}
	v.create()
	for round := range restarts(t) {
		begin := time.Now()
		for i := range c.Brokers {
			c.Stop(i)
			v.write((i + 1) % 3) // a majority is there, and nobody waits for an operator
			c.Start(i)
			v.write(i)
			v.check((i + 2) % 3)
		}
		took(fmt.Sprintf("rolling restart %d", round+1), begin)
	}
	for round := range restarts(t) {
		end, how := c.Stop, "in order"
		if round%2 == 1 {
			end, how = c.Kill, "killed"
		}
		end(0, 1, 2)
		begin := time.Now()
		c.Start(0, 1, 2)
		took(fmt.Sprintf("full restart %d, %s", round+1, how), begin)
		v.check(round % 3)
		v.write((round + 1) % 3)
	}
	eventsCross(t, c)
}

// eventsCross: what happens on one broker is heard through another one's NATS server.
func eventsCross(t *testing.T, c *brokertest.Cluster) {
	t.Helper()
	heard := make(chan struct{}, 1)
	bustest.RecordFunc(t, c.Brokers[1].NATS, "holdfast.default.message.>", func(*nats.Msg) {
		select {
		case heard <- struct{}{}:
		default:
		}
	})
	peer := wstest.Dial(t, c.Brokers[0].URL("/"), nil)
	deadline := time.After(brokertest.Patience)
	for { // what is sent before interest has spread is not heard there
		peer.Send(wstest.Text("hello"))
		select {
		case <-heard:
			return
		case <-time.After(50 * time.Millisecond):
		case <-deadline:
			t.Fatal("no event of broker 0 is heard on broker 1")
		}
	}
}
