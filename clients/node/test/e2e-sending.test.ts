// Confirmations, back-pressure, fragments and batches, on real connections.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import * as holdfast from "../src/index.js";
import type { Peer } from "./peer.js";
import { Stage } from "./stage.js";

const endpoints = `
  - path: /
  - {path: /small, namespace: small, limits: {send_queue: 64KiB}}
`;

/** The TCP socket under a client, to stop and go on reading. */
const tcpOf = (peer: Peer) =>
  (peer.socket as unknown as { _socket: { pause(): void; resume(): void } })._socket;

/** Sends messages of 30,000 bytes until the queue of 64 KiB has no room for one; answers how many were taken. */
async function fill(handle: holdfast.ConnectionHandle): Promise<number> {
  for (let taken = 0; ; taken++) {
    try {
      await handle.send("x".repeat(30_000));
    } catch (error) {
      assert.ok(error instanceof holdfast.QueueFull, String(error));
      return taken;
    }
  }
}

describe("sending", () => {
  let stage: Stage;
  before(async () => {
    stage = await Stage.open(endpoints);
  });
  after(() => stage[Symbol.asyncDispose]());

  test("each confirmation answers, and only RECEIVED has a round trip", async () => {
    await using it = await stage.pair();
    for (const confirmation of ["QUEUED", "WRITTEN", "RECEIVED"] as const) {
      const { bufferedAmount, rttMs } = await it.handle.send(confirmation, { confirmation });
      assert.equal(await it.peer.next(), confirmation);
      assert.equal(bufferedAmount, 0);
      assert.equal(rttMs !== undefined, confirmation === "RECEIVED");
    }
  });

  test("a request ID makes a repeat harmless", async () => {
    await using it = await stage.pair();
    for (let i = 0; i < 3; i++) await it.handle.send("once", { requestId: "r1" });
    await it.handle.send("twice", { requestId: "r2" });
    assert.deepEqual([await it.peer.next(), await it.peer.next()], ["once", "twice"]);
  });

  test("while paused the client's bufferedAmount grows; after resume all arrives in order", async () => {
    await using feed = await stage.events({ kinds: ["message"] });
    await using it = await stage.pair();
    const resumesAt = await it.handle.pause({ resumeAfterMs: 60_000 });
    assert.ok(Math.abs(resumesAt.getTime() - Date.now() - 60_000) < 5_000);
    assert.equal((await it.handle.get()).paused, true);
    await assert.rejects(it.handle.ping(), holdfast.ConnectionPaused);
    await assert.rejects(it.handle.send("x", { confirmation: "RECEIVED" }), holdfast.ConnectionPaused);
    let sent = 0;
    // Until the kernels' buffers are full and the client itself must hold a MiB.
    while (it.peer.socket.bufferedAmount < 1 << 20) {
      it.peer.socket.send(`${sent++} ${"x".repeat(60_000)}`);
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.equal((await it.handle.get()).messagesIn, 0);
    await it.handle.send("sending still works");
    await it.handle.resume();
    for (let i = 0; i < sent; i++) {
      const { data, seq } = await feed.next("message");
      assert.equal(Number.parseInt(String(data), 10), i);
      assert.equal(seq, i + 2);
    }
    await it.handle.ping();
    assert.equal(it.peer.socket.bufferedAmount, 0);
    assert.equal(await it.peer.next(), "sending still works");
  });

  test("a pause ends by itself", async () => {
    await using feed = await stage.events({ kinds: ["message"] });
    await using it = await stage.pair();
    await it.handle.pause({ resumeAfterMs: 100 });
    it.peer.socket.send("late");
    assert.equal((await feed.next("message")).data, "late");
    assert.equal((await it.handle.get()).paused, false);
  });

  test("a full queue refuses, `writable` says when it is empty, and nothing is lost", async () => {
    await using feed = await stage.events({ namespace: "small", kinds: ["writable"] });
    await using it = await stage.pair("/small");
    tcpOf(it.peer).pause();
    const taken = await fill(it.handle);
    await assert.rejects(it.handle.send("y".repeat(40_000)), (error) => {
      assert.ok(error instanceof holdfast.QueueFull);
      return Number(error.metadata.buffered_amount) > 0;
    });
    tcpOf(it.peer).resume();
    const { bufferedAmount, connection } = await feed.next("writable");
    assert.deepEqual([bufferedAmount, connection.id], [0, it.handle.id]);
    await it.handle.send("end", { confirmation: "RECEIVED" });
    for (let i = 0; i < taken; i++) assert.equal(String(await it.peer.next()).length, 30_000);
    assert.equal(await it.peer.next(), "end");
  });

  test("a message that waits too long expires and is not sent", async () => {
    await using it = await stage.pair("/small");
    tcpOf(it.peer).pause();
    const taken = await fill(it.handle);
    const expired = it.handle.send("stale", {
      expireAfterMs: 100,
      confirmation: "WRITTEN",
      timeoutMs: 10_000,
    });
    await assert.rejects(expired, holdfast.MessageExpired);
    tcpOf(it.peer).resume();
    for (let i = 0; i < taken; i++) await it.peer.next();
    await it.handle.send("fresh");
    assert.equal(await it.peer.next(), "fresh");
  });

  test("a message in fragments arrives as one; others wait behind it, pings pass", async () => {
    await using it = await stage.pair();
    const message = it.handle.message({ confirmation: "RECEIVED" });
    await message.write("one ");
    const behind = it.handle.send("behind", { confirmation: "WRITTEN" });
    assert.ok((await it.handle.ping()) > 0);
    await message.write("two ");
    await message.end("three");
    await behind;
    assert.deepEqual([await it.peer.next(), await it.peer.next()], ["one two three", "behind"]);
    const binary = it.handle.message();
    await binary.write(new Uint8Array([1]));
    await binary.end();
    assert.deepEqual(await it.peer.next(), Buffer.from([1]));
  });

  test("fragments of another kind than the first are refused", async () => {
    await using it = await stage.pair();
    const message = it.handle.message();
    await message.write("text");
    await assert.rejects(message.write(new Uint8Array([1])), {
      name: "InvalidArgument",
      reason: "INVALID_FRAGMENT",
    });
  });

  test("sendMany counts, and names who did not get it", async () => {
    await using a = await stage.pair();
    await using b = await stage.pair();
    const unknown = `${stage.broker.node}-aaaaaaaaaaaaaaaa`;
    const { succeeded, failures } = await stage.client.sendMany([a.handle.id, unknown, b.handle.id], "all", {
      confirmation: "RECEIVED",
    });
    assert.equal(succeeded, 2);
    assert.deepEqual(
      failures.map(({ connectionId }) => connectionId),
      [unknown],
    );
    assert.ok(failures[0]?.error instanceof holdfast.ConnectionNotFound);
    assert.deepEqual([await a.peer.next(), await b.peer.next()], ["all", "all"]);
  });

  test("batched sends keep the order of each connection and fail one by one", async () => {
    await using a = await stage.pair();
    await using b = await stage.pair();
    const unknown = `${stage.broker.node}-aaaaaaaaaaaaaaaa`;
    const failures: string[] = [];
    {
      await using sender = stage.client.sender({
        onFailure: ({ connectionId, error }) => failures.push(`${connectionId} ${error.reason}`),
      });
      for (let i = 0; i < 2000; i++) await sender.send((i % 2 ? a : b).handle.id, `${i}`);
      const [first, second] = [await sender.send(unknown, "x"), await sender.send(unknown, "y")];
      await assert.rejects(first.confirmed, holdfast.ConnectionNotFound);
      await assert.rejects(second.confirmed, holdfast.SkippedAfterFailure);
      await (await sender.send(a.handle.id, "seen", { confirmation: "RECEIVED" })).confirmed;
    }
    assert.deepEqual(failures, [`${unknown} CONNECTION_NOT_FOUND`, `${unknown} SKIPPED_AFTER_FAILURE`]);
    for (let i = 0; i < 2000; i++) assert.equal(await (i % 2 ? a : b).peer.next(), `${i}`);
    assert.equal(await a.peer.next(), "seen");
  });
});
