package bus

// The two readers of an outbox are goroutines of one session, that is of one NATS connection: the
// publisher, who asks for the next events, and the confirmer, who asks what awaits confirmation.

// What one turn of the publisher takes at most, so that confirmation follows closely behind.
const (
	batchEvents = 64
	batchBytes  = 256 << 10
)

// rewind makes everything that is not confirmed be published again, before anything newer: a new
// connection has begun.
func (o *outbox) rewind() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sent = o.log.head
}

// next waits for events that are not yet published and copies some of their entries. It answers none
// when the session is over, or when the outbox takes no more and all is confirmed.
func (o *outbox) next(batch []entry, over func() bool) (first uint64, _ []entry) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for !o.publishableLocked() {
		if over() || o.stopping && o.leftLocked() == 0 {
			return 0, nil
		}
		o.toPublish.Wait()
	}
	if over() {
		return 0, nil
	}
	bytes := 0
	for i := o.sent; len(batch) < batchEvents && bytes < batchBytes; i++ {
		var en *entry
		switch {
		case i < o.log.tail: // again
			en = o.log.at(i)
		case o.mayPullLocked():
			en = o.pullLocked()
		default:
			return o.sent, batch
		}
		batch = append(batch, *en)
		bytes += en.size
	}
	return o.sent, batch
}

func (o *outbox) publishableLocked() bool {
	return !o.frozen && (o.sent < o.log.tail || o.mayPullLocked())
}

// mayPullLocked: with nothing in the log an event is published whatever its size.
func (o *outbox) mayPullLocked() bool { return o.waits > 0 && o.flying < o.window }

// published says that all events before index i are on their way to the server.
func (o *outbox) published(i uint64) {
	o.mu.Lock()
	again := min(i, max(o.sentOnce, o.sent)) - o.sent
	o.counts.republished += again
	o.counts.published += i - o.sent - again
	o.sent = i
	o.sentOnce = max(o.sentOnce, i)
	o.mu.Unlock()
	o.toConfirm.Signal()
}

// unsendable marks the event at index i as one that no retry can help.
func (o *outbox) unsendable(i uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.log.at(i).unsendable = true
}

// unconfirmed waits until something published is not confirmed. It answers the index up to which a
// barrier that begins now will confirm, or false when the session is over.
func (o *outbox) unconfirmed(over func() bool) (mark uint64, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.sent == o.log.head && !over() {
		o.toConfirm.Wait()
	}
	return o.sent, !over()
}

// crowded reports whether connections, events or Close wait for confirmations.
func (o *outbox) crowded() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.stopping || o.bytes > o.limit/2 || len(o.waiting) > 0 || o.flying > o.window/2
}

// state answers the oldest event that is not confirmed, and whether the server owes something: what a freeze
// keeps from being published it does not.
func (o *outbox) state() (head uint64, some bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.log.head, o.leftLocked() > 0 && (!o.frozen || o.sent != o.log.head)
}

// progress answers how many events were ever taken, and up to which of them all are confirmed.
func (o *outbox) progress() (taken, confirmed uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	confirmed = o.taken
	for _, q := range o.queues {
		for _, l := range [...]*lane{&q.express, &q.bulk} {
			if l.outstanding > 0 {
				confirmed = min(confirmed, l.oldest)
			}
		}
	}
	return o.taken, confirmed
}

// wake lets both readers look again at whether their session is over.
func (o *outbox) wake() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.toPublish.Broadcast()
	o.toConfirm.Broadcast()
}

// stop refuses everything from now on; next ends when all is confirmed.
func (o *outbox) stop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stopping = true
	o.toPublish.Broadcast()
}

// left is the number of events that are not confirmed.
func (o *outbox) left() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.leftLocked()
}

func (o *outbox) leftLocked() int { return o.log.len() + o.waits }
