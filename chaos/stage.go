//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/holdfast-broker/holdfast/internal/reserve"
)

// stage is everything that runs as a process, and what stands between.
type stage struct {
	settings settings
	dir      string
	ledger   *ledger
	nats     [servers]*natsServer
	brokers  [brokers]*broker
	asking   []*nats.Conn // one to each server, for questions
	watching []*nats.Conn // the ledger's
	noDisk   error        // why there is no disk to be filled
}

// broker is one broker process at one set of addresses, with the network between it and NATS.
type broker struct {
	*process

	number                int
	stage                 *stage
	clients, control, ops string
	valve                 *valve
	taps                  [servers]*tap
	urls                  []string

	mu    sync.Mutex
	ready chan struct{}    // closed at the next ready line
	node  string           // present ID; empty: none yet
	fates map[string]*fate // of every node that it was
}

// fate is how the life of a node ended.
type fate struct {
	killed  time.Time
	claimed bool // it was held dead, and told so when it woke
	drained bool
}

// died: what it had not published is lost, and others closed its connections.
func (f fate) died() bool { return f.claimed || !f.killed.IsZero() }

func newStage(s settings, dir string, l *ledger) (st *stage, err error) {
	st = &stage{settings: s, dir: dir, ledger: l}
	const module = "github.com/holdfast-broker/holdfast/"
	if st.settings.broker, err = build(s.broker, dir, "broker", module+"cmd/broker"); err != nil {
		return nil, err
	}
	if st.settings.nats, err = build(s.nats, dir, "nats-server", "github.com/nats-io/nats-server/v2"); err != nil {
		return nil, err
	}
	if err := st.start(); err != nil {
		st.close()
		return nil, err
	}
	return st, nil
}

func (s *stage) start() error {
	if err := s.prepareNATS(); err != nil {
		return err
	}
	for i, n := range s.nats {
		if err := n.start(); err != nil {
			return err
		}
		nc, err := s.ledger.witness(i, n.url())
		if err != nil {
			return err
		}
		s.watching = append(s.watching, nc)
	}
	if err := s.ask(); err != nil {
		return err
	}
	addresses, err := reserve.Addresses(3 * brokers)
	if err != nil {
		return err
	}
	for i := range s.brokers {
		b := &broker{number: i, stage: s, valve: newValve(), fates: make(map[string]*fate)}
		s.brokers[i] = b
		b.clients, b.control, b.ops = addresses[3*i], addresses[3*i+1], addresses[3*i+2]
		for j, n := range s.nats {
			if b.taps[j], err = newTap(n.address, b.valve, s.ledger); err != nil {
				return err
			}
			b.urls = append(b.urls, b.taps[j].url())
		}
		if err := b.start(); err != nil {
			return err
		}
	}
	return s.healed()
}

// start starts the broker and waits until it is ready.
func (b *broker) start() (err error) {
	ready := b.expectReady()
	s := b.stage.settings
	b.process, err = spawn(b.stage.dir, fmt.Sprintf("b%d", b.number), b.line, s.broker,
		"--listen="+b.clients, "--control-listen="+b.control, "--ops-listen="+b.ops,
		"--data-dir="+filepath.Join(b.stage.dir, fmt.Sprintf("data%d", b.number)),
		"--nats-url="+strings.Join(b.urls, ","),
		fmt.Sprintf("--lease-duration=%v", s.lease), fmt.Sprintf("--lease-drop-after=%v", s.dropAfter))
	if err != nil {
		return err
	}
	return b.awaitReady(ready)
}

// expectReady answers a channel that is closed when the broker says that it is ready.
func (b *broker) expectReady() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ready = make(chan struct{})
	return b.ready
}

func (b *broker) awaitReady(ready <-chan struct{}) error {
	select {
	case <-ready:
		return nil
	case <-b.exited:
		return fmt.Errorf("broker %d ended with %d", b.number, b.code())
	case <-time.After(patience):
		return fmt.Errorf("broker %d is not ready", b.number)
	}
}

// line reads a ready line. A broker that was held dead goes on as a new node, and says so with another one.
func (b *broker) line(line []byte) {
	var ready struct {
		Ready bool   `json:"ready"`
		Node  string `json:"node"`
	}
	if json.Unmarshal(line, &ready) != nil || !ready.Ready {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if f := b.fates[b.node]; f != nil && f.killed.IsZero() && !f.drained {
		f.claimed = true
	}
	b.node, b.fates[ready.Node] = ready.Node, &fate{}
	select {
	case <-b.ready:
	default:
		close(b.ready)
	}
}

// end writes down how the present node ends.
func (b *broker) ends(how fate) (node string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	*b.fates[b.node] = how
	return b.node
}

func (b *broker) fateOf(node string) (fate, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.fates[node]
	if f == nil {
		return fate{}, false
	}
	return *f, true
}

func (b *broker) isReady() bool {
	client := http.Client{Timeout: time.Second}
	answer, err := client.Get("http://" + b.ops + "/readyz")
	if err != nil {
		return false
	}
	_ = answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

// healed waits until every broker is ready and every replica of the life stream current.
func (s *stage) healed() error {
	err := until("current replicas of the life stream", func() bool {
		_, current := s.streamLeader()
		return current == servers
	})
	for _, b := range s.brokers {
		err = errors.Join(err, until(fmt.Sprintf("ready broker %d", b.number), b.isReady))
	}
	return err
}

// stop ends everything in order, and answers what did not end so.
func (s *stage) stop() (wrong []string) {
	for _, b := range s.brokers {
		b.ends(fate{drained: true})
		if err := b.signal(syscall.SIGTERM); err != nil {
			wrong = append(wrong, err.Error())
		}
	}
	for _, b := range s.brokers {
		if err := b.await(); err != nil {
			wrong = append(wrong, err.Error())
		} else if b.code() != 0 {
			wrong = append(wrong, fmt.Sprintf("broker %d ended with exit code %d", b.number, b.code()))
		}
	}
	return wrong
}

// close ends whatever still runs.
func (s *stage) close() {
	for _, nc := range append(s.asking, s.watching...) {
		nc.Close()
	}
	for _, b := range s.brokers {
		if b == nil {
			continue
		}
		b.kill()
		for _, t := range b.taps {
			if t != nil {
				t.close()
			}
		}
	}
	for _, n := range s.nats {
		if n == nil {
			continue
		}
		n.kill()
		if n.disk != nil {
			n.disk.close()
		}
	}
}
