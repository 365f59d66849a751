// Several control addresses: who gets a call, what is made again elsewhere, and what never is.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { status } from "@grpc/grpc-js";
import type { SendRequest } from "../src/gen/holdfast/v1/connection_service_pb.js";
import { type Client, connect, DeadlineExceeded, NotConfirmed, Unavailable } from "../src/index.js";
import { type FakeCluster, startFakeCluster, startFakeNode } from "./cluster.js";
import { type Handlers, refusal } from "./fake-broker.js";
import { gathered } from "./gathered.js";

const id = "k5w2j4qzta-7m3c5z6q2n4x6p7a";

/** Every unary call of the client, by the handler that answers it. */
const calls: Record<string, (client: Client) => Promise<unknown>> = {
  get: (client) => client.connection(id).get(),
  list: (client) => gathered(client.list()),
  count: (client) => client.count(),
  send: (client) => client.connection(id).send("x"),
  sendMany: (client) => client.sendMany([id], "x"),
  close: (client) => client.connection(id).close(),
  terminate: (client) => client.connection(id).terminate(),
  pause: (client) => client.connection(id).pause(),
  resume: (client) => client.connection(id).resume(),
  ping: (client) => client.connection(id).ping(),
  pong: (client) => client.connection(id).pong(),
  update: (client) => client.connection(id).update({ user: "ann" }),
  "group.addMembers": (client) => client.group("g").add([id]),
  "group.removeMembers": (client) => client.group("g").remove([id]),
  "group.listMembers": (client) => gathered(client.group("g").members()),
  "group.listGroups": (client) => gathered(client.groups()),
  "group.publish": (client) => client.everyone().publish("x"),
  "group.close": (client) => client.user("ann").close(),
  "node.listNodes": (client) => client.nodes(),
  "node.getNode": (client) => client.node().get(),
  "node.drainNode": (client) => client.node("k5w2j4qzta").drain(),
};
/** What must not happen twice. */
const ONCE = ["sendMany", "ping", "pong", "group.publish", "group.close"];
const REPEATED = Object.keys(calls).filter((name) => !ONCE.includes(name));

const answers: Record<string, object> = {
  get: { connection: {} },
  update: { connection: {} },
  getNode: { node: {} },
};

/** Handlers for every call, which first ask `before`. */
function handlers(before: () => void | Promise<void>): Handlers {
  const all: Record<string, Record<string, unknown>> = { "": {}, group: {}, node: {} };
  for (const path of Object.keys(calls)) {
    const [name = "", service = ""] = path.split(".").reverse();
    (all[service] as Record<string, unknown>)[name] = async () => {
      await before();
      return answers[name] ?? {};
    };
  }
  return { ...all[""], group: all.group, node: all.node };
}

/** Two nodes; the first call fails as `fail` does it, wherever it comes. */
function failingOnce(fail: (stop: () => void) => void | Promise<void>, options = {}): Promise<FakeCluster> {
  let armed = false;
  return startFakeCluster(
    2,
    (_, stop) =>
      handlers(() => {
        const first = armed;
        armed = false;
        return first ? fail(stop) : undefined;
      }),
    { timeoutMs: 5_000, ...options },
  ).then((cluster) => {
    armed = true;
    return cluster;
  });
}

const stopping = () => {
  throw refusal(status.UNAVAILABLE, "NODE_STOPPING");
};
const unreachable = () => {
  throw refusal(status.UNAVAILABLE, "NODE_UNREACHABLE");
};
/** The node dies with the call in its hands: whether it was done is not known. */
const dying = async (stop: () => void) => {
  stop();
  await new Promise(() => {});
};

describe("failover", () => {
  test("the table names every unary call, so that a new one must be decided", async () => {
    await using it = await failingOnce(() => {});
    for (const call of Object.values(calls)) await call(it.client);
    assert.deepEqual(it.calls().toSorted(), Object.keys(calls).toSorted());
  });

  for (const [name, call] of Object.entries(calls))
    test(`${name}: what says that nothing was done is made again elsewhere`, async () => {
      await using it = await failingOnce(stopping);
      await call(it.client);
      assert.deepEqual(
        it.nodes.map((node) => node.calls),
        [[name], [name]],
      );
    });

  for (const name of REPEATED)
    test(`${name}: is made again when its node has died in the middle`, async () => {
      await using it = await failingOnce(dying);
      await calls[name]?.(it.client);
      assert.deepEqual(it.calls(), [name, name]);
    });

  for (const name of ONCE)
    for (const [what, fail] of Object.entries({ dying, unreachable }))
      test(`${name}: is not made again when nobody knows what became of it (${what})`, async () => {
        await using it = await failingOnce(fail);
        await assert.rejects(calls[name]?.(it.client) ?? Promise.resolve(), Unavailable);
        assert.deepEqual(it.calls(), [name]);
      });

  test("what the broker has decided is not asked again", async () => {
    await using it = await failingOnce(() => {
      throw refusal(status.NOT_FOUND, "CONNECTION_GONE");
    });
    await assert.rejects(it.client.connection(id).get(), { reason: "CONNECTION_GONE" });
    assert.deepEqual(it.calls(), ["get"]);
  });

  test("what can be repeated is, when half of its time was not enough, because its node may hang", async () => {
    const hanging = async (name: string) => {
      await using it = await failingOnce(() => new Promise(() => {}), { timeoutMs: 4_000 });
      await calls[name]?.(it.client);
      assert.deepEqual(it.calls(), [name, name]);
    };
    await Promise.all(REPEATED.map(hanging));
  });

  test("what must not be repeated has all of its time, once", async () => {
    const hanging = async (name: string) => {
      await using it = await failingOnce(() => new Promise(() => {}), { timeoutMs: 2_000 });
      await assert.rejects(calls[name]?.(it.client) ?? Promise.resolve(), DeadlineExceeded);
      assert.deepEqual(it.calls(), [name]);
    };
    await Promise.all(ONCE.map(hanging));
  });

  test("what says before its time is over that it was not confirmed is not made again", async () => {
    await using it = await failingOnce(() => {
      throw refusal(status.DEADLINE_EXCEEDED, "NOT_CONFIRMED");
    });
    await assert.rejects(it.client.connection(id).send("x", { confirmation: "RECEIVED" }), NotConfirmed);
    assert.deepEqual(it.calls(), ["send"]);
  });

  test("maxAttempts: 1 repeats nothing, and gives no send an ID", async () => {
    await using it = await failingOnce(stopping, { maxAttempts: 1 });
    await assert.rejects(it.client.everyone().publish("x"), { reason: "NODE_STOPPING" });
    assert.deepEqual(it.calls(), ["group.publish"]);
  });
});

describe("sends that are made again", () => {
  /** Two nodes that are unreachable until so many sends were seen. */
  async function failingSends(failures: number, options = {}) {
    const seen: SendRequest[] = [];
    const send = (request: SendRequest) => {
      seen.push(request);
      if (seen.length <= failures) unreachable();
      return { fragmentId: request.message?.more ? "f" : "" };
    };
    const cluster = await startFakeCluster(2, () => ({ send }), options);
    return { seen, connection: cluster.client.connection(id), stop: () => cluster[Symbol.asyncDispose]() };
  }

  test("keep their request ID, made or given, so that the broker recognizes them", async () => {
    const it = await failingSends(2);
    await it.connection.send("one");
    await it.connection.send("two");
    await it.connection.send("three", { requestId: "mine" });
    const ids = it.seen.map(({ requestId }) => requestId);
    assert.equal(ids.length, 5);
    assert.equal(new Set(ids.slice(0, 3)).size, 1);
    assert.equal(new Set(ids).size, 3);
    assert.equal(ids.at(-1), "mine");
    for (const each of ids) assert.ok(each.length > 0 && each.length <= 64, each);
    await it.stop();
  });

  test("a fragment too: each has its own ID", async () => {
    const it = await failingSends(1);
    const message = it.connection.message();
    await message.write("a");
    await message.end("b");
    const [first, again, second] = it.seen.map(({ requestId }) => requestId);
    assert.equal(first, again);
    assert.ok(second && second !== first);
    await it.stop();
  });

  test("with maxAttempts 1, or with one address, have only the ID that the caller gives", async () => {
    const it = await failingSends(0, { maxAttempts: 1 });
    await it.connection.send("x");
    const send = (request: SendRequest) => {
      it.seen.push(request);
      return {};
    };
    const alone = await startFakeNode(() => ({ send }));
    const client = await connect({ control: alone.broker.address });
    await client.connection(id).send("x");
    await client.connection(id).send("x", { requestId: "mine" });
    assert.deepEqual(
      it.seen.map(({ requestId }) => requestId),
      ["", "", "mine"],
    );
    await client.close();
    alone.broker.stop();
    await it.stop();
  });
});
