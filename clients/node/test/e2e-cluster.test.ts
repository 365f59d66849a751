// Two real brokers with one NATS between them, and a client that knows both.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type Client, connect } from "../src/index.js";
import { type Broker, startBroker } from "./broker.js";
import { deadline, eventually } from "./deadline.js";
import { gathered } from "./gathered.js";
import { Peer } from "./peer.js";

/** Two brokers, and a client that knows both. */
interface Pair extends AsyncDisposable {
  readonly first: Broker;
  /** Uses the NATS server of the first. */
  readonly second: Broker;
  readonly client: Client;
}

/** Starts them, and returns when they know each other. */
async function startPair(): Promise<Pair> {
  const first = await startBroker();
  const second = await startBroker(undefined, { natsUrl: first.nats });
  const client = await connect({ control: [first.control, second.control] });
  const end = async () => {
    await client.close();
    await second.stop();
    await first.stop();
  };
  try {
    await eventually(() => acquainted(client, [first, second]), "two nodes that know each other");
  } catch (error) {
    await end();
    throw error;
  }
  return { first, second, client, [Symbol.asyncDispose]: end };
}

/** Either may answer a call, and each learns of the other in its own time. */
async function acquainted(client: Client, brokers: readonly Broker[]): Promise<void> {
  for (let i = 0; i < 4; i++) {
    const nodes = await client.nodes();
    const ready = nodes.filter(({ state }) => state === "READY").map(({ id }) => id);
    for (const { node } of brokers) assert.ok(ready.includes(node));
  }
}

/** A WebSocket client of a broker, and the ID of its connection. */
async function dial(client: Client, broker: Broker): Promise<{ peer: Peer; id: string } & AsyncDisposable> {
  await using opens = client.watch({ kinds: ["open"] });
  await opens.ready;
  const peer = await Peer.open(broker.url);
  const { value } = await deadline(opens.next(), "the open event");
  assert.ok(value);
  return { peer, id: value.connection.id, [Symbol.asyncDispose]: () => peer[Symbol.asyncDispose]() };
}

describe("two brokers", () => {
  test("any address acts on any connection, in order, and audiences span both", async () => {
    await using both = await startPair();
    const { first, second, client } = both;
    await using a = await dial(client, first);
    await using b = await dial(client, second);
    for (let i = 0; i < 20; i++) for (const { id } of [a, b]) await client.connection(id).send(`${i}`);
    for (let i = 0; i < 20; i++) for (const { peer } of [a, b]) assert.equal(await peer.next(), `${i}`);
    const ids = [a.id, b.id].sort();
    assert.deepEqual((await gathered(client.list())).map(({ id }) => id).sort(), ids);
    const room = client.group("room");
    assert.equal((await room.add(ids)).succeeded, 2);
    assert.deepEqual((await gathered(room.members())).sort(), ids);
    for (let i = 0; i < 4; i++) {
      const { matched, succeeded, unreachableNodes } = await room.publish(`all ${i}`);
      assert.deepEqual([matched, succeeded, unreachableNodes], [2, 2, []]);
    }
    for (let i = 0; i < 4; i++) for (const { peer } of [a, b]) assert.equal(await peer.next(), `all ${i}`);
  });

  test("a node that is killed under sends costs none of them, and doubles none", async () => {
    await using both = await startPair();
    const { first, second, client } = both;
    await using a = await dial(client, first);
    const connection = client.connection(a.id);
    let end: Promise<void> | undefined;
    for (let i = 0; i < 300; i++) {
      if (i === 100) end = second.kill();
      await connection.send(`${i}`);
    }
    await end;
    for (let i = 0; i < 300; i++) assert.equal(await a.peer.next(), `${i}`);
  });

  test("a node that drains costs no call", async () => {
    await using both = await startPair();
    const { first, second, client } = both;
    await using a = await dial(client, first);
    await using b = await dial(client, second);
    assert.deepEqual(await client.node(second.node).drain(), { connections: 1 });
    let ended = false;
    const end = b.peer.end().then(({ code }) => {
      ended = true;
      return code;
    });
    let sent = 0;
    for (; !ended || sent < 100; sent++) await client.connection(a.id).send(`${sent}`);
    assert.equal(await end, 1012);
    assert.equal(await second.stop(), 0);
    for (let i = 0; i < sent; i++) assert.equal(await a.peer.next(), `${i}`);
  });
});
