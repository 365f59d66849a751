// Each verb of the control API on a real connection, and each error that a caller can meet.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import * as holdfast from "../src/index.js";
import { deadline } from "./deadline.js";
import { Stage } from "./stage.js";

const endpoints = `
  - path: /
  - {path: /user, namespace: user, event_attributes: [room, Two%20]}
  - {path: /mute, namespace: mute, heartbeat: {interval: 30s, timeout: 300ms}}
`;

/** An ID of a living node that no connection has, and one of a node that never was. */
const unknownOn = (node: string) => `${node}-aaaaaaaaaaaaaaaa`;
const GONE = "aaaaaaaaaa-aaaaaaaaaaaaaaaa";

describe("verbs", () => {
  let stage: Stage;
  before(async () => {
    stage = await Stage.open(endpoints);
  });
  after(() => stage[Symbol.asyncDispose]());

  test("get tells what passed; a connection that has ended is not found", async () => {
    await using it = await stage.pair("/?x=1");
    await using feed = await stage.events({ kinds: ["message"] });
    it.peer.socket.send("12345");
    await feed.next("message");
    await it.handle.send("123", { confirmation: "RECEIVED" });
    const facts = await it.handle.get();
    assert.deepEqual(
      [facts.id, facts.state, facts.url, facts.paused],
      [it.handle.id, "OPEN", "/?x=1", false],
    );
    assert.deepEqual([facts.messagesIn, facts.bytesIn, facts.messagesOut, facts.bytesOut], [1, 5, 1, 3]);
    assert.equal(facts.seq, 2);
    assert.ok(facts.rttMs !== undefined && facts.rttMs > 0);
    assert.ok(Math.abs(Date.now() - facts.openTime.getTime()) < 60_000);
    await it.handle.terminate();
    assert.equal((await it.peer.end()).code, 1006);
    await assert.rejects(it.handle.get(), holdfast.ConnectionNotFound);
  });

  test("every verb says that a connection does not exist", async () => {
    for (const [id, reason] of [
      [unknownOn(stage.broker.node), "CONNECTION_NOT_FOUND"],
      [GONE, "CONNECTION_GONE"],
    ] as const) {
      const handle = stage.client.connection(id);
      const calls = [
        () => handle.send("x"),
        () => handle.message().write("x"),
        () => handle.close(),
        () => handle.terminate(),
        () => handle.pause(),
        () => handle.resume(),
        () => handle.ping(),
        () => handle.pong(),
        () => handle.get(),
        () => handle.update({ user: "x" }),
      ];
      for (const call of calls)
        await assert.rejects(call(), (error) => {
          assert.ok(error instanceof holdfast.ConnectionNotFound, String(error));
          assert.deepEqual([error.code, error.reason], ["NOT_FOUND", reason]);
          return error.metadata.connection_id === id;
        });
    }
  });

  test("arguments that no connection accepts name their field", async () => {
    await using it = await stage.pair();
    const { handle } = it;
    const refusals: [() => Promise<unknown>, string, string][] = [
      [() => stage.client.connection("nonsense").get(), "INVALID_CONNECTION_ID", "connection_id"],
      [() => handle.close({ code: 1005 }), "INVALID_CLOSE_CODE", "code"],
      [() => handle.close({ code: 0 }), "INVALID_CLOSE_CODE", "code"],
      [() => handle.close({ reason: "é".repeat(62) }), "REASON_TOO_LONG", "reason"],
      [() => handle.ping({ payload: "x".repeat(126) }), "CONTROL_PAYLOAD_TOO_LONG", "payload"],
      [() => handle.pong({ payload: "x".repeat(126) }), "CONTROL_PAYLOAD_TOO_LONG", "payload"],
      [() => handle.send("x".repeat((1 << 20) + 1)), "MESSAGE_TOO_LARGE", "message.text"],
      [() => handle.send("x", { expireAfterMs: 0 }), "INVALID_DURATION", "expire_after"],
      [() => handle.send("x", { requestId: "r".repeat(65) }), "INVALID_REQUEST_ID", "request_id"],
      [() => handle.pause({ resumeAfterMs: 3_600_000 }), "INVALID_DURATION", "resume_after"],
      [() => handle.update({ attributes: { "": "x" } }), "INVALID_ATTRIBUTES", "set_attributes"],
      [() => handle.update({ user: "a\nb" }), "INVALID_USER", "user"],
      [() => handle.update({ expireTime: new Date(0) }), "INVALID_EXPIRE_TIME", "expire_time"],
      [() => stage.client.count({ namespace: "Not One" }), "INVALID_NAMESPACE", "filter.namespace"],
      [() => stage.client.count({ group: "a b" }), "INVALID_GROUP", "filter.group"],
      [() => stage.client.count({ node: "x" }), "INVALID_FILTER", "filter.node"],
      [() => stage.client.sendMany([], "x"), "INVALID_BATCH", "connection_ids"],
      [() => stage.client.watch({ namespace: "Not One" }).ready, "INVALID_NAMESPACE", "namespace"],
    ];
    for (const [call, reason, field] of refusals)
      await assert.rejects(call(), (error) => {
        assert.ok(error instanceof holdfast.InvalidArgument, `${reason}: ${error}`);
        assert.deepEqual([error.code, error.reason], ["INVALID_ARGUMENT", reason]);
        assert.equal(error.metadata.field, field, reason);
        return error.metadata.allowed !== undefined;
      });
  });

  test("update attaches what later events carry", async () => {
    await using feed = await stage.events({ namespace: "user" });
    await using it = await stage.pair("/user");
    await feed.next("open");
    const attributes = { room: "café 7", "Two%20": "50%", quiet: "1" };
    const updated = await it.handle.update({ user: "Jürgen %1", attributes });
    assert.deepEqual([updated.user, { ...updated.attributes }], ["Jürgen %1", attributes]);
    it.peer.socket.send("x");
    const message = await feed.next("message");
    assert.equal(message.user, "Jürgen %1");
    assert.deepEqual({ ...message.attributes }, { room: "café 7", "Two%20": "50%" });
    const { attributes: left } = await it.handle.update({ attributes: { quiet: null, room: "8" } });
    assert.deepEqual({ ...left }, { room: "8", "Two%20": "50%" });
    const byUser = await stage.client.count({ user: "Jürgen %1", attributes: { room: "8" } });
    assert.deepEqual(byUser, { count: 1, unreachableNodes: [] });
  });

  test("a connection that expires is closed with 4401", async () => {
    await using it = await stage.pair();
    const expireTime = new Date(Date.now() + 3_600_000);
    assert.deepEqual((await it.handle.update({ expireTime })).expireTime, expireTime);
    assert.equal((await it.handle.update({ expireTime: null })).expireTime, undefined);
    await it.handle.update({ expireTime: new Date(Date.now() + 3_000) });
    assert.equal((await it.peer.end()).code, 4401);
  });

  test("ping measures, pong is sent unasked", async () => {
    await using it = await stage.pair();
    const rtt = await it.handle.ping({ payload: "p" });
    assert.ok(rtt > 0 && rtt < 5000, `${rtt}`);
    assert.equal(await it.peer.pings.next(), "p");
    assert.equal(await it.handle.ping({ confirmation: "WRITTEN" }), undefined);
    await it.handle.pong({ payload: new Uint8Array([112, 33]), confirmation: "WRITTEN" });
    assert.equal(await it.peer.pongs.next(), "p!");
  });

  test("a client that answers no ping: NotConfirmed, by the broker or by the caller's limit", async () => {
    await using it = await stage.pair("/mute");
    const { _socket: tcp } = it.peer.socket as unknown as { _socket: { pause(): void } };
    tcp.pause();
    await assert.rejects(it.handle.ping({ timeoutMs: 200 }), holdfast.NotConfirmed);
    await assert.rejects(it.handle.send("x", { confirmation: "RECEIVED", timeoutMs: 0 }), (error) => {
      assert.ok(error instanceof holdfast.NotConfirmed, String(error));
      return error.reason === "NOT_CONFIRMED";
    });
  });

  test("more than 32 unanswered pings are RateLimited", async () => {
    await using it = await stage.pair();
    const { _socket: tcp } = it.peer.socket as unknown as { _socket: { pause(): void } };
    tcp.pause();
    const pings = Array.from({ length: 33 }, () => it.handle.ping({ timeoutMs: 30_000 }));
    await assert.rejects(deadline(Promise.all(pings), "the 33rd"), holdfast.RateLimited);
  });

  test("close waits for the client; meanwhile nothing more can be sent", async () => {
    await using it = await stage.pair();
    const { _socket: tcp } = it.peer.socket as unknown as { _socket: { pause(): void; resume(): void } };
    tcp.pause();
    await assert.rejects(it.handle.close({ code: 4000, timeoutMs: 2_000 }), holdfast.NotConfirmed);
    const closing = it.handle.close({ timeoutMs: 10_000 });
    await assert.rejects(it.handle.send("x"), holdfast.ConnectionClosing);
    await assert.rejects(it.handle.pause(), holdfast.ConnectionClosing);
    assert.equal((await it.handle.get()).state, "CLOSING");
    assert.deepEqual(await it.handle.close({ confirmation: "QUEUED" }), {
      code: 0,
      reason: "",
      wasClean: false,
    });
    tcp.resume();
    assert.deepEqual(await closing, { code: 4000, reason: "", wasClean: true });
  });

  test("list and count see the open connections of a namespace, page by page", async () => {
    const pairs = [];
    for (let i = 0; i < 7; i++) pairs.push(await stage.pair("/mute"));
    const ids = pairs.map(({ handle }) => handle.id);
    const listed: string[] = [];
    const listing = stage.client.list({ namespace: "mute" }, { pageSize: 3 });
    for await (const connection of listing) listed.push(connection.id);
    assert.deepEqual(listed.sort(), ids.sort());
    assert.deepEqual(listing.unreachableNodes, []);
    assert.equal((await stage.client.count({ namespace: "mute" })).count, 7);
    for (const pair of pairs) await pair[Symbol.asyncDispose]();
  });

  test("a cancelled call ends here and leaves the connection as it was", async () => {
    await using it = await stage.pair();
    const abort = new AbortController();
    const { _socket: tcp } = it.peer.socket as unknown as { _socket: { pause(): void; resume(): void } };
    tcp.pause();
    const ping = it.handle.ping({ signal: abort.signal, timeoutMs: 0 });
    abort.abort("changed my mind");
    await assert.rejects(deadline(ping, "cancelling"), { name: "Cancelled", cause: "changed my mind" });
    tcp.resume();
    await it.handle.send("still here");
    assert.equal(await it.peer.next(), "still here");
  });
});
