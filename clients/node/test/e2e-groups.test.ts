// Groups, users, everyone and nodes against the real broker.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import * as holdfast from "../src/index.js";
import { eventually } from "./deadline.js";
import { gathered } from "./gathered.js";
import { Stage } from "./stage.js";

const endpoints = `
  - path: /
  - {path: /chat, namespace: chat}
  - {path: /mute, namespace: mute, heartbeat: {interval: 30s, timeout: 10s}}
`;
const GONE = "aaaaaaaaaa-aaaaaaaaaaaaaaaa";
const all = { full: 0, gone: 0, failed: 0, pending: 0, unreachableNodes: [] };

describe("groups", () => {
  let stage: Stage;
  before(async () => {
    stage = await Stage.open(endpoints);
  });
  after(() => stage[Symbol.asyncDispose]());

  test("who joins is a member at once, who leaves is none", async () => {
    await using a = await stage.pair();
    await using b = await stage.pair();
    const group = stage.client.group("room-1");
    await a.handle.join(["room-1", "room-1b"]);
    assert.deepEqual(await group.publish("one"), { ...all, matched: 1, succeeded: 1 });
    assert.deepEqual(await group.add([a.handle.id, b.handle.id]), { succeeded: 2, failures: [] });
    assert.deepEqual(await group.publish("two"), { ...all, matched: 2, succeeded: 2 });
    assert.deepEqual((await a.handle.get()).groups, ["room-1", "room-1b"]);
    const members = await gathered(group.members({ pageSize: 1 }));
    assert.deepEqual(members.sort(), [a.handle.id, b.handle.id].sort());
    assert.deepEqual(await gathered(stage.client.groups({ prefix: "room-1" })), [
      { name: "room-1", members: 2 },
      { name: "room-1b", members: 1 },
    ]);
    await a.handle.leave("room-1");
    assert.deepEqual(await group.remove([b.handle.id]), { succeeded: 1, failures: [] });
    assert.deepEqual(await group.publish("three"), { ...all, matched: 0, succeeded: 0 });
    assert.deepEqual(await gathered(group.members()), []);
    assert.deepEqual([await a.peer.next(), await a.peer.next()], ["one", "two"]);
    assert.equal(await b.peer.next(), "two");
  });

  test("the filter of list knows groups; who ends has left them", async () => {
    const it = await stage.pair();
    await it.handle.join("room-2");
    const [found] = await gathered(stage.client.list({ namespace: "default", group: "room-2" }));
    assert.equal(found?.id, it.handle.id);
    await it[Symbol.asyncDispose]();
    const count = async () => assert.equal((await stage.client.count({ group: "room-2" })).count, 0);
    await eventually(count, "the end of the membership");
  });

  test("exceptions are not counted; bytes stay bytes; a user is all of its connections", async () => {
    await using a = await stage.pair();
    await using b = await stage.pair();
    for (const { handle } of [a, b]) await handle.update({ user: "ann" });
    const ann = stage.client.user("ann");
    const data = new Uint8Array([0, 255]);
    const options = { except: [a.handle.id], confirmation: "WRITTEN" } as const;
    assert.deepEqual(await ann.publish(data, options), { ...all, matched: 1, succeeded: 1 });
    assert.deepEqual(await b.peer.next(), Buffer.from(data));
    assert.deepEqual(await ann.close({ code: 4001, reason: "elsewhere", except: [b.handle.id] }), {
      matched: 1,
      unreachableNodes: [],
    });
    assert.deepEqual(await a.peer.end(), { code: 4001, reason: "elsewhere" });
    await b.handle.send("still here");
    assert.equal(await b.peer.next(), "still here");
  });

  test("namespaces are apart, and the connection of an event knows its own", async () => {
    await using feed = await stage.events({ namespace: "chat", kinds: ["open"] });
    await using peer = await stage.dial("/chat");
    const { connection } = await feed.next("open");
    await connection.join("room-1");
    assert.equal((await stage.client.group("room-1", { namespace: "chat" }).publish("x")).matched, 1);
    assert.equal((await stage.client.everyone({ namespace: "chat" }).publish("y")).matched, 1);
    assert.deepEqual([await peer.next(), await peer.next()], ["x", "y"]);
    assert.equal((await stage.client.group("room-1").publish("x")).matched, 0);
    await assert.rejects(stage.client.connection(connection.id).join("room-1"), holdfast.ConnectionNotFound);
    const { failures } = await stage.client.group("g").add([connection.id, GONE, connection.id]);
    assert.deepEqual(
      failures.map(({ connectionId, error }) => [connectionId, error.reason]),
      [
        [connection.id, "CONNECTION_NOT_FOUND"],
        [GONE, "CONNECTION_GONE"],
        [connection.id, "CONNECTION_NOT_FOUND"],
      ],
    );
  });

  test("a publish that waits answers at its deadline with what is known", async () => {
    await using a = await stage.pair("/mute");
    await using b = await stage.pair("/mute");
    const { _socket: tcp } = b.peer.socket as unknown as { _socket: { pause(): void } };
    tcp.pause();
    const options = { confirmation: "RECEIVED", timeoutMs: 1_000 } as const;
    // The answer has 100 ms to travel in, which a machine that stands still does not give it.
    await eventually(async () => {
      const result = await stage.client.everyone({ namespace: "mute" }).publish("x", options);
      assert.deepEqual(result, { ...all, matched: 2, succeeded: 1, pending: 1 });
    }, "the counts");
    assert.equal(await a.peer.next(), "x");
  });

  test("over NATS, with exceptions", async () => {
    await using a = await stage.pair("/chat");
    await using b = await stage.pair("/chat");
    const group = stage.client.group("nats:1", { namespace: "chat" });
    await group.add([a.handle.id, b.handle.id]);
    // When a node's interest has spread is not promised; what arrives is the proof. Behind it the order holds.
    await eventually(async () => {
      await group.publishOverNats("?");
      assert.ok(b.peer.messages.size > 0);
    }, "interest");
    await group.publishOverNats("one", { except: [b.handle.id, GONE] });
    await group.publishOverNats(new Uint8Array([255]));
    await group.publishOverNats("end");
    for (const [{ peer }, expected] of [
      [a, ["one", Buffer.from([255])]],
      [b, [Buffer.from([255])]],
    ] as const) {
      const seen: unknown[] = [];
      for (let next = await peer.next(); next !== "end"; next = await peer.next())
        if (next !== "?") seen.push(next);
      assert.deepEqual(seen, expected);
    }
  });

  test("more than 1,000 groups are TooManyGroups, and then it has joined none of them", async () => {
    await using it = await stage.pair();
    for (let i = 0; i < 10; i++)
      await it.handle.join(Array.from({ length: 100 }, (_, j) => `many-${i}-${j}`));
    await assert.rejects(it.handle.join(["many-0-0", "one-more"]), holdfast.TooManyGroups);
    assert.equal((await stage.client.group("one-more").publish("x")).matched, 0);
  });

  test("arguments that no audience accepts name their reason", async () => {
    const { client } = stage;
    const refusals: [() => Promise<unknown>, string][] = [
      [() => client.group("a b").publish("x"), "INVALID_GROUP"],
      [() => client.group("").add([GONE]), "INVALID_GROUP"],
      [() => client.group("g", { namespace: "Not One" }).publish("x"), "INVALID_NAMESPACE"],
      [() => client.user("").publish("x"), "INVALID_USER"],
      [() => client.group("g").add([]), "INVALID_BATCH"],
      [() => client.everyone().publish("x", { except: ["nonsense"] }), "INVALID_CONNECTION_ID"],
      [() => client.everyone().publish("x".repeat((1 << 20) + 1)), "MESSAGE_TOO_LARGE"],
      [() => client.everyone().close({ code: 1005 }), "INVALID_CLOSE_CODE"],
      [() => client.node("nonsense").get(), "INVALID_NODE_ID"],
      [() => client.node("").drain(), "INVALID_NODE_ID"],
    ];
    for (const [call, reason] of refusals)
      await assert.rejects(call(), (error) => {
        assert.ok(error instanceof holdfast.InvalidArgument, `${reason}: ${error}`);
        assert.equal(error.reason, reason);
        return true;
      });
  });
});

describe("nodes", () => {
  test("the one node shows itself, and drains", async () => {
    await using stage = await Stage.open(endpoints);
    const { client, broker } = stage;
    const it = await stage.pair();
    const [node] = await client.nodes();
    assert.deepEqual([node?.id, node?.state, node?.control], [broker.node, "READY", broker.control]);
    assert.deepEqual(node?.listen, [broker.url]);
    assert.ok(node?.startTime && Math.abs(Date.now() - node.startTime.getTime()) < 120_000);
    assert.equal((await client.node().get()).id, broker.node);
    await assert.rejects(client.node("aaaaaaaaaa").get(), holdfast.NodeNotFound);
    assert.deepEqual(await client.node(broker.node).drain(), { connections: 1 });
    assert.equal((await it.peer.end()).code, 1012);
    assert.equal(await broker.stop(), 0, "it has ended by itself");
  });
});
