package bus

import "sync"

// notices calls the application back on one goroutine: its callbacks come to Publish again, and the
// publisher must not wait for them.
type notices struct {
	mu      sync.Mutex
	some    sync.Cond
	queue   []func()
	stopped bool
	done    chan struct{}
}

func newNotices() *notices {
	n := &notices{done: make(chan struct{})}
	n.some.L = &n.mu
	go n.run()
	return n
}

// add queues a call; nobody adds after stop.
func (n *notices) add(f func()) {
	n.mu.Lock()
	n.queue = append(n.queue, f)
	n.mu.Unlock()
	n.some.Signal()
}

func (n *notices) run() {
	defer close(n.done)
	for {
		n.mu.Lock()
		for len(n.queue) == 0 && !n.stopped {
			n.some.Wait()
		}
		queue := n.queue
		n.queue = nil
		n.mu.Unlock()
		if len(queue) == 0 {
			return
		}
		for _, f := range queue {
			f()
		}
	}
}

// stop waits until everything queued was called.
func (n *notices) stop() {
	n.mu.Lock()
	n.stopped = true
	n.mu.Unlock()
	n.some.Signal()
	<-n.done
}
