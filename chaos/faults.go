//go:build linux

package main

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

// kill takes a broker away for good; the others publish its closes.
func (p *play) kill(st step) error {
	v, err := p.slay(st.target)
	if err != nil {
		return err
	}
	p.hold(st.hold)
	return p.mourn(true, v)
}

// both kills a broker and the leader of the life stream: nobody can claim before another one leads.
func (p *play) both(st step) error {
	number, _ := p.stage.streamLeader()
	if number < 0 {
		return errNoLeader
	}
	n := p.stage.nats[number]
	if err := n.end(syscall.SIGKILL); err != nil {
		return err
	}
	v, err := p.slay(st.target)
	if err != nil {
		return err
	}
	p.hold(st.hold)
	return errors.Join(n.start(), p.mourn(false, v))
}

// chain kills a broker, and when its lease is over another one, which may be in the middle of its claim.
func (p *play) chain(st step) error {
	first, err := p.slay(st.target)
	if err != nil {
		return err
	}
	p.hold(p.settings.lease + st.hold/8)
	second, err := p.slay((st.target + 1) % brokers)
	if err != nil {
		return err
	}
	return p.mourn(false, first, second)
}

// all kills every broker: nobody is left to claim before they are started again.
func (p *play) all(st step) error {
	var victims []*victim
	for i := range brokers {
		v, err := p.slay(i)
		if err != nil {
			return err
		}
		victims = append(victims, v)
	}
	p.hold(st.hold)
	return p.mourn(false, victims...)
}

// victim is a killed broker.
type victim struct {
	broker *broker
	at     time.Time
	open   []*account
	excuse func()
}

func (p *play) slay(number int) (*victim, error) {
	v := &victim{broker: p.stage.brokers[number]}
	v.excuse = p.excuse(v.broker)
	node := v.broker.ends(fate{killed: time.Now()})
	if err := v.broker.end(syscall.SIGKILL); err != nil {
		return nil, err
	}
	v.at, v.open = time.Now(), p.ledger.open(node)
	return v, nil
}

// mourn starts brokers again and waits for the closes of those they were; soon: these must come in time.
func (p *play) mourn(soon bool, victims ...*victim) error {
	for _, v := range victims {
		if err := v.broker.start(); err != nil {
			return err
		}
	}
	for _, v := range victims {
		_ = until("closes of the killed broker", func() bool { return len(p.ledger.ended(v.open)) == len(v.open) })
		k := killing{connections: len(v.open), soon: soon}
		for _, t := range p.ledger.ended(v.open) {
			k.after = append(k.after, t.Sub(v.at))
		}
		p.kills = append(p.kills, k)
		v.excuse()
	}
	return nil
}

var errNoLeader = errors.New("the life stream has no leader")

// stop lets others hold a broker dead, which it learns when it wakes.
func (p *play) stop(st step) error {
	b := p.stage.brokers[st.target]
	defer p.excuse(b)()
	again := b.expectReady()
	if err := b.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	p.hold(st.hold)
	if err := b.signal(syscall.SIGCONT); err != nil {
		return err
	}
	return b.awaitReady(again)
}

// doze is over before others notice: no client loses its connection.
func (p *play) doze(st step) error {
	b := p.stage.brokers[st.target]
	if err := b.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	p.hold(st.hold)
	return b.signal(syscall.SIGCONT)
}

// cut: the broker lives and serves its clients until it notices; the others hold it dead.
func (p *play) cut(st step) error {
	b := p.stage.brokers[st.target]
	defer p.excuse(b)()
	again := b.expectReady()
	b.valve.close()
	p.hold(st.hold)
	b.valve.open(st.sharp)
	return b.awaitReady(again)
}

// exile: the broker lets its clients go while it is still cut off, so that they find another one.
func (p *play) exile(st step) error {
	b := p.stage.brokers[st.target]
	defer p.excuse(b)()
	again := b.expectReady()
	b.valve.close()
	err := until("client that has left the exiled broker", func() bool { return p.crowd.at(st.target) == 0 })
	if err == nil {
		err = p.everybody()
	}
	b.valve.open(st.sharp)
	return errors.Join(err, b.awaitReady(again))
}

// flicker is over before others notice.
func (p *play) flicker(st step) error {
	b := p.stage.brokers[st.target]
	b.valve.close()
	p.hold(st.hold)
	b.valve.open(st.sharp)
	return nil
}

// leader makes the stream elect another one, which takes seconds: no broker can record anything meanwhile.
func (p *play) leader(st step) error {
	number, _ := p.stage.streamLeader()
	if number < 0 {
		return errNoLeader
	}
	n := p.stage.nats[number]
	if err := n.end(syscall.SIGKILL); err != nil {
		return err
	}
	p.hold(st.hold)
	return n.start()
}

// outage: NATS is there and says nothing.
func (p *play) outage(st step) error {
	for _, n := range p.stage.nats {
		if err := n.signal(syscall.SIGSTOP); err != nil {
			return err
		}
	}
	p.hold(st.hold)
	for _, n := range p.stage.nats {
		if err := n.signal(syscall.SIGCONT); err != nil {
			return err
		}
	}
	return nil
}

// blackout: NATS is not there.
func (p *play) blackout(st step) error {
	for _, n := range p.stage.nats {
		if err := n.signal(syscall.SIGTERM); err != nil {
			return err
		}
	}
	for _, n := range p.stage.nats {
		if err := n.await(); err != nil {
			return err
		}
	}
	p.hold(st.hold)
	for _, n := range p.stage.nats {
		if err := n.start(); err != nil {
			return err
		}
	}
	return nil
}

// disk: a NATS server that cannot write goes on without JetStream until it is started again.
func (p *play) disk(st step) error {
	n := p.stage.nats[servers-1]
	if n.disk == nil {
		p.skipped = append(p.skipped, fmt.Sprintf("disk: %v", p.stage.noDisk))
		return nil
	}
	if err := n.disk.fill(); err != nil {
		return err
	}
	p.hold(st.hold)
	if err := n.disk.makeRoom(); err != nil {
		return err
	}
	if err := n.end(syscall.SIGTERM); err != nil {
		return err
	}
	return n.start()
}

// rolling restarts every broker in order.
func (p *play) rolling(st step) error {
	for i := range brokers {
		b := p.stage.brokers[(st.target+i)%brokers]
		if err := p.restart(b, (i%2 == 0) == st.sharp); err != nil {
			return err
		}
	}
	return nil
}

func (p *play) restart(b *broker, byCall bool) error {
	defer p.excuse(b)()
	node := b.ends(fate{drained: true})
	if byCall {
		if err := p.backend.drain(b.number, node); err != nil {
			return fmt.Errorf("DrainNode: %w", err)
		}
	} else if err := b.signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := b.await(); err != nil {
		return err
	}
	if b.code() != 0 {
		p.wrong = append(p.wrong, fmt.Sprintf("broker %d ended its drain with exit code %d", b.number, b.code()))
	}
	return b.start()
}
