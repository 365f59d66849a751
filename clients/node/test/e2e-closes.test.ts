// One close for each open, as a backend hears of it when a broker is killed.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import {
  type Client,
  type Closed,
  type Connection,
  connect,
  type EventStream,
  type HoldfastEvent,
  Unavailable,
} from "../src/index.js";
import { type Broker, startBroker } from "./broker.js";
import { ByHand } from "./by-hand.js";
import { deadline, eventually } from "./deadline.js";
import { gathered } from "./gathered.js";
import { Peer } from "./peer.js";

/** A broker that will be killed, and one that goes on, to which the client is connected. */
interface Pair extends AsyncDisposable {
  readonly dying: Broker;
  readonly survivor: Broker;
  readonly client: Client;
}

async function startPair(lease: string): Promise<Pair> {
  const survivor = await startBroker(undefined, { lease });
  const dying = await startBroker(undefined, { lease, natsUrl: survivor.nats });
  const client = await connect({ control: survivor.control, nats: survivor.nats });
  return {
    dying,
    survivor,
    client,
    async [Symbol.asyncDispose]() {
      await client.close();
      await dying.kill();
      await survivor.stop();
    },
  };
}

/** Connections of a broker, and their ends. */
interface Crowd extends AsyncDisposable {
  readonly peers: readonly Peer[];
  readonly opened: readonly Connection[];
}

/** So many clients of a broker, each opened when the open event of the one before has come. */
async function crowdOf(count: number, broker: Broker, stream: EventStream): Promise<Crowd> {
  const peers: Peer[] = [];
  const opened: Connection[] = [];
  for (let i = 0; i < count; i++) {
    peers.push(await Peer.open(broker.url));
    const event = await next(stream);
    assert.ok(event.kind === "open", event.kind);
    opened.push(event.opened);
  }
  const end = async () => {
    for (const peer of peers) await peer[Symbol.asyncDispose]();
  };
  return { peers, opened, [Symbol.asyncDispose]: end };
}

async function next(stream: EventStream): Promise<HoldfastEvent> {
  const { value } = await deadline(stream.next(), "an event");
  assert.ok(value);
  return value;
}

async function eventsOf(client: Client): Promise<EventStream> {
  const stream = client.events();
  await stream.ready;
  return stream;
}

/** Checks that these are one close for each connection, saying what is known when its node was killed. */
function assertLost(events: readonly HoldfastEvent[], opened: readonly Connection[]): void {
  assert.deepEqual(events.map(({ connection }) => connection.id).sort(), opened.map(({ id }) => id).sort());
  for (const event of events) {
    assert.ok(event.kind === "close", event.kind);
    assert.deepEqual([event.seq, event.user, event.namespace], [undefined, "", "default"]);
    const { closeTime, detail, ...closed } = event.closed;
    const { id, node, openTime } = opened.find((it) => it.id === closed.id) ?? assert.fail(closed.id);
    assert.deepEqual(closed, {
      id,
      node,
      openTime,
      namespace: "default",
      endpoint: "/",
      user: "", // that of the open
      attributes: {},
      code: 1006,
      reason: "",
      sentCode: 0,
      sentReason: "",
      wasClean: false,
      cause: "NODE_LOST",
      fault: undefined,
      messagesIn: 0,
      bytesIn: 0,
      messagesOut: 0,
      bytesOut: 0,
    } satisfies Omit<Closed, "closeTime" | "detail">);
    assert.ok(closeTime !== undefined && closeTime > openTime, detail);
  }
}

const ids = (events: readonly HoldfastEvent[]) => events.map(({ connection }) => connection.id).sort();

describe("a broker that is killed", () => {
  test("each of its connections has one close that says what is known; the others go on", async () => {
    await using pair = await startPair("1s");
    const { dying, survivor, client } = pair;
    await using stream = await eventsOf(client);
    await using crowd = await crowdOf(20, dying, stream);
    await using others = await crowdOf(1, survivor, stream);
    await client.connection(crowd.opened[0]?.id ?? "").update({ user: "ann", attributes: { room: "7" } });
    crowd.peers[0]?.socket.send("hello");
    assert.deepEqual([(await next(stream)).user], ["ann"]);
    await dying.kill();
    const closes: HoldfastEvent[] = [];
    for (const _ of crowd.peers) closes.push(await next(stream));
    assertLost(closes, crowd.opened);
    others.peers[0]?.socket.send("still here");
    assert.equal((await next(stream)).kind, "message");
  });

  test("closes that come again are left out, and so is what follows a close", async () => {
    await using pair = await startPair("1s");
    const { dying, survivor, client } = pair;
    await using byHand = await ByHand.at(survivor.nats);
    const nextClose = await byHand.closes();
    await using stream = await eventsOf(client);
    await using crowd = await crowdOf(3, dying, stream);
    await dying.kill();
    const closes: HoldfastEvent[] = [];
    for (const _ of crowd.peers) closes.push(await next(stream));
    const messages = [await nextClose(), await nextClose(), await nextClose()];
    for (const message of messages) {
      assert.equal(message.headers?.has("Holdfast-Seq"), false);
      byHand.again(message);
    }
    for (const { id } of crowd.opened) {
      byHand.publish("open", id, 1);
      byHand.publish("message", id, 2);
    }
    assert.deepEqual(await byHand.eventsBefore("mark", stream), []);

    // To a stream that knows nothing of them they are closes without an open.
    await using late = await eventsOf(client);
    for (const message of [...messages, ...messages]) byHand.again(message);
    assert.deepEqual(ids(await byHand.eventsBefore("mark", late)), ids(closes));
  });

  test("a watch does not have the closes and ends; a new one and a list lack nobody", async () => {
    await using pair = await startPair("4s"); // that it is silent is noticed after 2 s
    const { dying, survivor, client } = pair;
    const watch = client.watch();
    await watch.ready;
    await using crowd = await crowdOf(3, dying, watch);
    await using others = await crowdOf(1, survivor, watch);
    await dying.kill();
    await assert.rejects(deadline(watch.next(), "the end of the watch"), (error) => {
      assert.ok(error instanceof Unavailable, String(error));
      assert.deepEqual([error.reason, error.metadata.node], ["NODE_UNREACHABLE", dying.node]);
      return true;
    });
    assert.ok(crowd.opened.every(({ node }) => node === dying.node));
    await eventually(async () => {
      assert.deepEqual((await client.count()).unreachableNodes, []);
    }, "that the dead node is claimed");
    await using anew = client.watch();
    await anew.ready;
    const there = await gathered(client.list());
    assert.deepEqual(
      there.map(({ id }) => id),
      others.opened.map(({ id }) => id),
    );
  });

  test("alone, it publishes the closes of its former self when it comes back", async () => {
    const folder = mkdtempSync(join(tmpdir(), "holdfast-test-"));
    try {
      await comesBack(folder);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

async function comesBack(folder: string): Promise<void> {
  const first = await startBroker(undefined, { folder, lease: "4s" });
  await using client = await connect({ control: first.control, nats: first.nats, timeoutMs: 5_000 });
  await using stream = await eventsOf(client);
  {
    await using byHand = await ByHand.at(first.nats);
    await byHand.storeCloses();
  }
  await using crowd = await crowdOf(10, first, stream);
  crowd.peers[0]?.socket.close(4000);
  const closed = await next(stream);
  assert.ok(closed.kind === "close");
  assert.deepEqual([closed.closed.cause, closed.connection.id], ["PEER_CLOSE", crowd.opened[0]?.id]);
  await first.kill();

  await using second = await startBroker(undefined, { folder, lease: "4s", nats: first.nats });
  await eventually(async () => {
    // Over the same connection to NATS: then the server knows of `stream` again.
    await using probe = client.events();
    await probe.ready;
  }, "the connection to NATS");
  await using byHand = await ByHand.at(second.nats);
  const stored = await byHand.storedCloses(crowd.opened.length);
  assert.deepEqual(
    stored.map(({ subject }) => subject.split(".").at(-1)).sort(),
    crowd.opened.map(({ id }) => id).sort(),
  );
  // As if they came late, or again: nobody knows how soon the client was back.
  for (const message of stored) byHand.again(message);
  assertLost(await byHand.eventsBefore("mark", stream), crowd.opened.slice(1));
}
