//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// play is one run.
type play struct {
	settings settings
	steps    []step
	out      io.Writer
	begin    time.Time
	dir      string
	ownDir   bool

	ledger  *ledger
	stage   *stage
	crowd   *crowd
	backend *backend

	excuses []excuse
	kills   []killing
	skipped []string
	wrong   []string // what a fault saw
	ctx     context.Context
}

// excuse is a time in which the clients of a broker may lose their connections.
type excuse struct {
	broker   int
	from, to time.Time
}

// killing is what became of the connections of a killed broker.
type killing struct {
	connections int
	soon        bool            // the stream had a leader, and others were there to claim
	after       []time.Duration // of each close that a subscriber saw
}

func newPlay(ctx context.Context, s settings, steps []step, out io.Writer) (p *play, err error) {
	p = &play{settings: s, steps: steps, out: out, ctx: ctx, dir: s.dir, ledger: newLedger(), begin: time.Now()}
	if p.dir == "" {
		p.ownDir = true
		if p.dir, err = os.MkdirTemp("", "holdfast-chaos"); err != nil {
			return nil, err
		}
	} else if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return nil, err
	}
	if p.stage, err = newStage(s, p.dir, p.ledger); err != nil {
		return nil, fmt.Errorf("%w; logs are in %s", err, p.dir)
	}
	var control, clients [brokers]string
	for i, b := range p.stage.brokers {
		control[i], clients[i] = b.control, b.clients
	}
	p.crowd = newCrowd(clients, s.every)
	if p.backend, err = newBackend(p.ledger, control); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *play) close() {
	p.backend.close()
	p.stage.close()
}

// perform brings the clients in, plays every fault, and lets everything come to rest before it is judged.
func (p *play) perform(ctx context.Context) (*verdict, error) {
	clients, dismiss := context.WithCancel(ctx)
	defer p.crowd.wg.Wait()
	defer dismiss()
	p.crowd.start(clients, p.settings.clients, time.Duration(p.settings.clients)*time.Millisecond)
	if err := p.everybody(); err != nil {
		return nil, err
	}
	sending, enough := context.WithCancel(ctx)
	defer enough()
	p.backend.start(sending, p.settings.sends)
	for i, st := range p.steps {
		p.say("fault %d of %d: %s", i+1, len(p.steps), st)
		if err := p.fault(st); err != nil {
			return nil, fmt.Errorf("fault %d: %w; logs are in %s", i+1, err, p.dir)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	enough()
	p.backend.wg.Wait()
	return p.settle(ctx, dismiss)
}

// fault plays one and waits until all is well again.
func (p *play) fault(st step) error {
	phases := []func() error{func() error { return st.fault.play(p, st) }, p.stage.healed, p.everybody}
	var took [3]float64
	for i, phase := range phases {
		begin := time.Now()
		if err := phase(); err != nil {
			return err
		}
		took[i] = time.Since(begin).Seconds()
	}
	p.say("  took %.1f s, brokers and NATS were well %.1f s later, all clients connected %.1f s later", took[0], took[1], took[2])
	p.hold(p.settings.pause)
	return nil
}

// everybody waits until every client is connected.
func (p *play) everybody() error {
	if err := until("connection of every client", func() bool { return p.crowd.away.Load() == 0 }); err != nil {
		return fmt.Errorf("%w: %d are away", err, p.crowd.away.Load())
	}
	return nil
}

// settle stops the traffic, lets every event arrive, pings everybody, and stops the brokers.
func (p *play) settle(ctx context.Context, dismiss func()) (*verdict, error) {
	close(p.crowd.calm)
	p.say("settling")
	if err := p.rest(p.settings.clients); err != nil {
		return nil, err
	}
	// On a busy machine NATS may be without a leader for a lease also without a fault. Whom the brokers cannot tell of
	// their last closes while they stop, the next start would tell; but there is none.
	if err := p.stage.healed(); err != nil {
		return nil, err
	}
	j := &judge{play: p, end: time.Now()}
	j.roll(ctx)
	visits, _, _ := p.crowd.snapshot()
	j.visits = visits
	p.wrong = append(p.wrong, p.stage.leaks()...)
	p.wrong = append(p.wrong, p.stage.stop()...)
	if err := p.rest(0); err != nil {
		p.wrong = append(p.wrong, err.Error())
	}
	dismiss()
	p.crowd.wg.Wait()
	v := j.judge()
	if p.ownDir && len(v.Broken) == 0 {
		return v, os.RemoveAll(p.dir) //nolint:gosec // made by us
	}
	p.say("logs are in %s", p.dir)
	return v, nil
}

// calmness is how long nobody may see anything before all has arrived.
const calmness = 3 * time.Second

// rest waits until so many connections are open and nothing more arrives.
func (p *play) rest(open int) error {
	err := until("rest", func() bool {
		since, n := p.ledger.quiet()
		return since > calmness && n == open
	})
	if err != nil {
		_, n := p.ledger.quiet()
		return fmt.Errorf("%w: %d connections are open in the ledger, want %d", err, n, open)
	}
	return nil
}

// roll pings every connection that the ledger calls open.
func (j *judge) roll(ctx context.Context) {
	open := j.play.ledger.open("")
	var mu sync.Mutex
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() {
			for i := worker; i < len(open); i += workers {
				if err := j.play.backend.ping(ctx, open[i].id); err != nil {
					mu.Lock()
					j.silent = append(j.silent, fmt.Sprintf("%s is open and answers no ping: %v", open[i].id, err))
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	j.pinged = len(open)
}

// excuse begins a time in which the clients of a broker may lose their connections; the answer ends it.
func (p *play) excuse(b *broker) (end func()) {
	i := len(p.excuses)
	p.excuses = append(p.excuses, excuse{broker: b.number, from: time.Now()})
	return func() { p.excuses[i].to = time.Now().Add(time.Second) }
}

// hold is the time that a fault lasts.
func (p *play) hold(d time.Duration) { wait(p.ctx, d) }

func (p *play) say(format string, args ...any) {
	fmt.Fprintf(p.out, "%7.1f s  %s\n", time.Since(p.begin).Seconds(), fmt.Sprintf(format, args...))
}
