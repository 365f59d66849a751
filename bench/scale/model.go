package main

import "math"

// figure is a number that the arithmetic begins with, and where it comes from.
type figure struct {
	name   string
	value  float64
	unit   string
	source string
}

const (
	measuredHere = "[performance.md](performance.md)"
	measuredNATS = "nats-server 2.15.2 on 2 cores, 128-byte messages"
	measuredSubs = "nats-server 2.15.2, 200,000 subscriptions to groups through one of two servers"
	inTheCode    = "the code"
	assumed      = "assumed"
)

// What is measured, fixed, and assumed. Change one, run the program, and put its tables into docs/scale.md.
var (
	perConnection = figure{"memory of a connection, with the kernel's", 8.5e3, "B", measuredHere + ", rounded, and 5 KB for the socket"}
	perHandshake  = figure{"a handshake with its open event, at the broker", 130, "µs", measuredHere + ", rounded"}
	perTLS        = figure{"a TLS handshake, more", 1000, "µs", assumed + ": RSA, 2,048 bits"}
	perEvent      = figure{"a message of a client, at the broker", 10, "µs", measuredHere + ": inbound, 1,000 × 1, rounded"}
	perEventNATS  = figure{"the same, at the NATS server", 5.5, "µs", measuredHere + ": the same row"}
	perHop        = figure{"a message in a stream of many, at each NATS server that passes it", 0.74, "µs", measuredNATS}
	perAppend     = figure{"a write of JetStream, at the leader", 4.90, "µs", measuredNATS + ", file, one copy"}
	appendsMost   = figure{"writes of one stream", 201897, "/s", measuredNATS + ", file, one copy"}
	perHeard      = figure{"a message of another node, at a node", 1.50, "µs", measuredNATS + ": a subscriber, five headers"}
	perSubscribed = figure{"a subscription, at the server of its client", 1.19e3, "B", measuredSubs}
	perInterest   = figure{"the same, at every other server of the cluster", 0.71e3, "B", measuredSubs}
	perOpenEntry  = figure{"an open in the life record", 60, "B", inTheCode + ", with a short user"}
	perCloseEntry = figure{"a close in the life record", 450, "B", inTheCode + ": the whole event"}
	announceEvery = figure{"a node says that it is there, every", 0.5, "s", inTheCode}
	renewEvery    = figure{"an idle node writes its record, every", 2, "s", inTheCode}
	nodesMost     = figure{"nodes in the table", 4096, "", inTheCode}
	drainRate     = figure{"connections that a drain closes at first", 1000, "/s", inTheCode}
	drainTime     = figure{"time over which a drain spreads them at most", 20, "s", inTheCode + ": four fifths of `drain.timeout`"}
	perNode       = figure{"connections of a node", 200_000, "", assumed + ": 2 GB, 8 cores"}
	coresOfNode   = figure{"cores of a node, and of a NATS server", 8, "", assumed}
	messageEvery  = figure{"a client sends a message, every", 60, "s", assumed}
	lifetime      = figure{"a connection lives", 1800, "s", assumed}
	publishEvery  = figure{"a `Publish` to a group, for each connection, every", 600, "s", assumed}
	groupsOfEach  = figure{"groups of a connection", 2, "", assumed}
	groupSize     = figure{"members of a group", 50, "", assumed}
	oneWrite      = figure{"a write of JetStream takes, with three copies", 0.002, "s", assumed}
	firstRetry    = figure{"clients come back at random within the first", 2, "s", assumed}
	figures       = []figure{perConnection, perHandshake, perTLS, perEvent, perEventNATS, perHop, perAppend, appendsMost, perHeard, perSubscribed, perInterest, perOpenEntry, perCloseEntry, announceEvery, renewEvery, nodesMost, drainRate, drainTime, perNode, coresOfNode, messageEvery, lifetime, publishEvery, groupsOfEach, groupSize, oneWrite, firstRetry}
	connections   = []float64{10e3, 100e3, 1e6, 10e6, 100e6}
)

const (
	coresUsable    = 0.6 // of a machine, before queues grow
	microsecond    = 1e-6
	copiesOfRecord = 3.0
	// A message to another node is heard there, and answered.
	callAndAnswer = 2.0
)

// load is what a broker of so many connections has to do.
type load struct {
	connections, nodes float64
}

func loadOf(connections float64) load {
	const fewest = 3 // so that one may be away
	return load{connections, max(fewest, math.Ceil(connections/perNode.value))}
}

func (l load) each() float64   { return l.connections / l.nodes }
func (l load) memory() float64 { return l.each() * perConnection.value }

// Messages.

func (l load) events() float64      { return l.connections / messageEvery.value }
func (l load) brokerCores() float64 { return l.events() * perEvent.value * microsecond }

// natsCores: each event enters at one server, and passes a route to the server of its subscriber.
func (l load) natsCores() float64 {
	return l.events() * (perEventNATS.value + perHop.value) * microsecond
}

// serversFor is how many NATS servers so many cores need, at least three.
func serversFor(cores float64) float64 {
	const fewest = 3
	return max(fewest, math.Ceil(cores/(coresOfNode.value*coresUsable)))
}

// Groups.

func (l load) publishes() float64 { return l.connections / publishEvery.value }

// heard is what all nodes hear of Publish: each one everything, and each answers.
func (l load) heard() float64 { return l.publishes() * l.nodes * callAndAnswer }

// publishCores are NATS's: a message for each node and one for each answer.
func (l load) publishCores() float64 { return l.heard() * perHop.value * microsecond }

// publishShare is what a node does for it: it hears everything, and answers; and hears the answers to what it
// publishes itself.
func (l load) publishShare() float64 {
	return (l.publishes() + l.heard()/l.nodes) * perHeard.value * microsecond
}

// pairs of a group and a node that has members of it.
func (l load) pairs() float64 {
	groups := l.connections * groupsOfEach.value / groupSize.value
	return groups * l.spread()
}

// spread is on how many nodes the members of a group are, when they connect anywhere.
func (l load) spread() float64 {
	return l.nodes * (1 - math.Pow(1-1/l.nodes, groupSize.value))
}

// interestMemory of one NATS server, which knows of every pair: those of its own clients, and of all others.
func (l load) interestMemory() float64 {
	own := 1 / serversFor(l.natsCores())
	return l.pairs() * (own*perSubscribed.value + (1-own)*perInterest.value)
}

// viaSubject is NATS's work when groups are published to by their subject: only nodes with members hear it.
func (l load) viaSubject() float64 {
	return l.publishes() * (1 + l.spread()) * perHop.value * microsecond
}

// The table of nodes.

func (l load) announcements() float64 { return l.nodes * l.nodes / announceEvery.value }

func (l load) announceShare() float64 {
	return l.nodes / announceEvery.value * perHeard.value * microsecond
}

// The life record.

func (l load) opens() float64 { return l.connections / lifetime.value }

// appends: a busy node writes as often as the answer allows, but no more than there is to say.
func (l load) appends() float64 {
	changes := 2 * l.opens() / l.nodes
	return l.nodes * min(max(changes, 1/renewEvery.value), 1/oneWrite.value)
}

func (l load) recordBytes() float64 {
	return l.opens() * (perOpenEntry.value + perCloseEntry.value)
}

// leaderShare is the part of what one stream can write, if three copies cost as much as one each.
func (l load) leaderShare() float64 { return l.appends() * copiesOfRecord / appendsMost.value }

func (l load) recordSize() float64 { return l.connections * perOpenEntry.value }

// Reconnect storms.

// after is how long it takes until 99 % of so many clients for each node are back, and how many attempts that takes for
// each. A node that has no processor time left for a handshake answers late; its client gives up after a while and
// waits twice as long as before.
func after(clients, handshake float64) (seconds, attempts float64) {
	const (
		tick     = 0.1
		patience = 10.0 // of a client, for the answer
		longest  = 64.0
		most     = 0.99
	)
	perTick := coresOfNode.value * coresUsable / (handshake * microsecond) * tick
	// waiting[d] are the clients that come at random within the next pauses[d].
	type wave struct{ left, perTick, pause float64 }
	waves := []wave{{clients, clients / (firstRetry.value / tick), firstRetry.value}}
	var back, queue, tried float64
	for now := 0.0; ; now += tick {
		for i := range waves {
			come := min(waves[i].left, waves[i].perTick)
			waves[i].left -= come
			queue += come
			tried += come
		}
		served := min(queue, perTick)
		queue -= served
		back += served
		// Who would wait for longer than its patience comes again later.
		if late := queue - perTick*patience/tick; late > 0 {
			queue -= late
			pause := min(2*waves[len(waves)-1].pause, longest)
			waves = append(waves, wave{late, late / (pause / tick), pause})
		}
		if back >= most*clients {
			return now + tick, tried / clients
		}
	}
}

// lostNode: the clients of one node go to the others.
func (l load) lostNode() (seconds, attempts float64) {
	return after(l.each()/(l.nodes-1), perHandshake.value)
}

// allLost: everybody comes back at once.
func (l load) allLost() (seconds, attempts float64) { return after(l.each(), perHandshake.value) }

// allLostTLS: the same, when the nodes speak TLS themselves.
func (l load) allLostTLS() (seconds, attempts float64) {
	return after(l.each(), perHandshake.value+perTLS.value)
}

// closesOfANode is how long the claimer of a full node needs: the record is read, and each 500 closes are confirmed and
// noted.
func (l load) closesOfANode() float64 {
	const step = 500
	return l.each()*(perHeard.value+perEventNATS.value)*microsecond + l.each()/step*2*oneWrite.value
}
