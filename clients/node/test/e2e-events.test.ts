// Events over NATS and by watch, and what can be done from them.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { ConnectionClosing, connect, type HoldfastEvent, SlowConsumer, Unavailable } from "../src/index.js";
import { startBroker } from "./broker.js";
import { deadline, eventually } from "./deadline.js";
import { Peer } from "./peer.js";
import { feedOf, Stage } from "./stage.js";

const endpoints = `
  - path: /
  - {path: /other, namespace: other}
`;

describe("events", () => {
  let stage: Stage;
  before(async () => {
    stage = await Stage.open(endpoints);
  });
  after(() => stage[Symbol.asyncDispose]());

  test("reply answers the socket the message came from, as text or binary", async () => {
    await using feed = await stage.events({ kinds: ["message"] });
    await using a = await stage.dial();
    await using b = await stage.dial();
    a.socket.send("from a");
    await (await feed.next("message")).reply("to a");
    b.socket.send(Buffer.from("from b"));
    const message = await feed.next("message");
    await message.reply("text to b");
    await message.reply(Buffer.from([1, 2]), { confirm: false });
    assert.equal(await a.next(), "to a");
    assert.equal(await b.next(), "text to b");
    assert.deepEqual(await b.next(), Buffer.from([1, 2]));
  });

  test("a reply that cannot be sent says why", async () => {
    await using feed = await stage.events({ kinds: ["message", "close"] });
    const peer = await stage.dial();
    peer.socket.send("hello");
    const message = await feed.next("message");
    await assert.rejects(message.reply("x".repeat((1 << 20) + 1)), { reason: "MESSAGE_TOO_LARGE" });
    // What NATS itself does not take, 8 MiB here, says the same, and ends nothing.
    const large = new Uint8Array(8 << 20);
    const tooLarge = { name: "InvalidArgument", reason: "MESSAGE_TOO_LARGE" };
    await assert.rejects(message.reply(large), tooLarge);
    await assert.rejects(message.reply(large, { confirm: false }), tooLarge);
    await assert.rejects(stage.client.group("room").publishOverNats(large), tooLarge);
    await assert.rejects(message.reply("\ud800"), { reason: "INVALID_MESSAGE" });
    await assert.rejects(message.reply("x", { signal: AbortSignal.abort("no") }), { name: "Cancelled" });
    (peer.socket as unknown as { _socket: { pause(): void } })._socket.pause();
    await message.connection.close({ confirmation: "WRITTEN" });
    await assert.rejects(message.reply("late"), ConnectionClosing);
    peer.socket.terminate();
    await feed.next("close");
    await assert.rejects(message.reply("later"), { name: "ConnectionNotFound" });
  });

  test("a NATS connection that ends for good is an error of the loop, and no end in order", async () => {
    const broker = await startBroker();
    const client = await connect({
      control: broker.control,
      nats: { servers: broker.nats, reconnect: false },
    });
    const events = client.events();
    await events.ready;
    const loop = assert.rejects(events.next(), Unavailable);
    await broker.kill();
    await deadline(loop, "the end of the loop");
    await client.close();
  });

  test("a queue group gives each event to one worker; without one, everybody gets it", async () => {
    const seen: [string, number][] = [];
    const everything = await stage.events({ kinds: ["message"] });
    const workers = ["first", "second"].map((name) => {
      const stream = stage.client.events({ kinds: ["message"], queue: "workers" });
      const done = (async () => {
        for await (const { seq } of stream) seen.push([name, seq ?? 0]);
      })();
      return { stream, done };
    });
    for (const { stream } of workers) await stream.ready;
    await using peer = await stage.dial();
    for (let i = 0; i < 200; i++) peer.socket.send(`${i}`);
    for (let i = 0; i < 200; i++) await everything.next("message");
    for (const { stream, done } of workers) {
      await stream.close();
      await deadline(done, "the end of a worker");
    }
    assert.deepEqual(
      seen.map(([, seq]) => seq).sort((x, y) => x - y),
      Array.from({ length: 200 }, (_, i) => i + 2),
    );
    assert.equal(new Set(seen.map(([name]) => name)).size, 2, "both had work");
    await everything[Symbol.asyncDispose]();
  });

  test("namespaces are apart, and `*` is all of them", async () => {
    await using other = await stage.events({ namespace: "other", kinds: ["open"] });
    await using all = await stage.events({ namespace: "*", kinds: ["open"] });
    await using a = await stage.dial("/");
    await using b = await stage.dial("/other");
    assert.equal((await other.next("open")).namespace, "other");
    assert.deepEqual([(await all.next("open")).namespace, (await all.next("open")).namespace].sort(), [
      "default",
      "other",
    ]);
    assert.ok(a && b);
  });

  test("a watch shows the same events as NATS", async () => {
    await using nats = await stage.events({ namespace: "other" });
    const watch = stage.client.watch({ namespace: "other" });
    await watch.ready;
    await using watched = feedOf(watch);
    const peer = await stage.dial("/other?q=1");
    peer.socket.send("text é");
    peer.socket.send(Buffer.from([0, 255]));
    peer.socket.close(4000, "bye");
    for (const kind of ["open", "message", "message", "close"] as const) {
      const [one, two] = [await nats.next(kind), await watched.next(kind)];
      assert.deepEqual(comparable(one), comparable(two));
    }
  });

  test("a watch sees only what its filter says, and can reply", async () => {
    await using it = await stage.pair();
    await using another = await stage.dial();
    const watch = stage.client.watch({ connectionId: it.handle.id, kinds: ["message"] });
    await watch.ready;
    await using feed = feedOf(watch);
    another.socket.send("not this");
    it.peer.socket.send("this");
    const message = await feed.next("message");
    assert.deepEqual([message.data, message.seq], ["this", 2]);
    await message.reply("answer");
    assert.equal(await it.peer.next(), "answer");
  });

  test("a loop that is too slow ends with an error, not with a gap", async () => {
    const stream = stage.client.events({ kinds: ["message"], maxBufferedBytes: 4096 });
    await stream.ready;
    await using everything = await stage.events({ kinds: ["message"] });
    await using peer = await stage.dial();
    for (let i = 0; i < 20; i++) peer.socket.send("x".repeat(512));
    for (let i = 0; i < 20; i++) await everything.next("message");
    const seqs: number[] = [];
    const loop = async () => {
      for await (const { seq } of stream) seqs.push(seq ?? 0);
    };
    await assert.rejects(deadline(loop(), "the end of the loop"), SlowConsumer);
    assert.deepEqual(seqs, [2, 3, 4, 5]);
  });
});

describe("a broker that stops", () => {
  test("clients get 1012, their close events arrive, the watch ends with NODE_STOPPING", async () => {
    const broker = await startBroker(endpoints);
    const client = await connect({ control: broker.control });
    const watch = client.watch();
    await watch.ready;
    const peer = await Peer.open(`${broker.url}/`);
    const feed = feedOf(watch);
    await feed.next("open");
    const stopped = broker.stop();
    const { closed } = await feed.next("close");
    assert.deepEqual([closed.cause, closed.sentCode], ["NODE_DRAIN", 1012]);
    assert.equal((await peer.end()).code, 1012);
    await assert.rejects(deadline(watch.next(), "the end of the watch"), (error) => {
      assert.ok(error instanceof Unavailable, String(error));
      return error.reason === "NODE_STOPPING";
    });
    assert.equal(await stopped, 0);
    await assert.rejects(client.count(), Unavailable);
    await client.close();
  });

  test("a client finds the broker that comes back: calls, events and replies go on", async () => {
    const first = await startBroker();
    const client = await connect({ control: first.control, nats: first.nats });
    const events = client.events({ kinds: ["message"] });
    await events.ready;
    await first.kill();
    await assert.rejects(client.count(), Unavailable);
    await using second = await startBroker(undefined, first);
    await eventually(() => client.count(), "the control API");
    const arrived = events.next();
    let answered = false;
    void arrived.then(() => {
      answered = true;
    });
    await using peer = await Peer.open(second.url);
    await eventually(async () => {
      if (!answered) peer.socket.send("are you back");
      assert.ok(answered);
    }, "an event");
    const { value } = await arrived;
    await value?.reply("yes");
    assert.equal(await peer.next(), "yes");
    await client.close();
  });

  test("a client closes in order while its broker is dead", async () => {
    const broker = await startBroker();
    const client = await connect({ control: broker.control, nats: broker.nats, timeoutMs: 3_000 });
    const events = client.events();
    await events.ready;
    const sender = client.sender();
    await broker.kill();
    const sent = await sender.send("aaaaaaaaaa-aaaaaaaaaaaaaaaa", "x");
    await assert.rejects(sent.confirmed, Unavailable);
    await deadline(client.close(), "closing");
    assert.deepEqual(await events.next(), { done: true, value: undefined });
  });
});

/** An event without what differs between its ways: handles and functions. */
function comparable(event: HoldfastEvent): object {
  const { connection, ...rest } = event;
  const data = "data" in rest && typeof rest.data !== "string" ? [...rest.data] : undefined;
  return JSON.parse(JSON.stringify({ ...rest, ...(data && { data }), id: connection.id, reply: undefined }));
}
