// Several control addresses: which are connected, which is next, and for how long a call looks for one.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { status } from "@grpc/grpc-js";
import { addressesOf } from "../src/addresses.js";
import { AddressChannel, neverLeft } from "../src/channel.js";
import { GroupService } from "../src/gen/holdfast/v1/group_service_pb.js";
import {
  Cancelled,
  type Client,
  type ConnectOptions,
  connect,
  InvalidArgument,
  Unavailable,
} from "../src/index.js";
import { type NodeHandlers, startFakeCluster, startFakeNode } from "./cluster.js";
import { deadline } from "./deadline.js";
import { refusal, type WatchPeer } from "./fake-broker.js";

/** Nobody listens on port 1. */
const NOBODY = "127.0.0.1:1";
const publishing: NodeHandlers = () => ({ group: { publish: () => ({ matched: 1n, succeeded: 1n }) } });

/** Two nodes that refuse everything, each in its turn with the next reason and the last for ever. */
function refusing(reasons: string[], options?: ConnectOptions) {
  const publish = () => {
    const reason = (reasons.length > 1 ? reasons.shift() : reasons[0]) ?? "";
    throw refusal(status.UNAVAILABLE, reason);
  };
  const terminate = publish;
  return startFakeCluster(2, () => ({ terminate, group: { publish } }), options);
}

/** Returns when the client knows that nobody is there. */
async function disconnected(client: Client): Promise<void> {
  for (let known = false; !known; )
    await client
      .node()
      .get({ timeoutMs: 20 })
      .catch((error: Error) => {
        known = /none of .* is connected/.test(error.message);
      });
}

describe("addresses", () => {
  test("one, several separated by commas, or an array; each once", () => {
    assert.deepEqual(addressesOf(), ["127.0.0.1:7400"]);
    assert.deepEqual(addressesOf("a:1"), ["a:1"]);
    assert.deepEqual(addressesOf("a:1, b:2,unix:/x"), ["a:1", "b:2", "unix:/x"]);
    assert.deepEqual(addressesOf(["[::1]:7400", "b:2", "b:2"]), ["[::1]:7400", "b:2"]);
    for (const nothing of ["", "a:1,", []]) assert.throws(() => addressesOf(nothing), InvalidArgument);
  });

  test("calls go to each in turn", async () => {
    await using it = await startFakeCluster(3, publishing);
    for (let i = 0; i < 30; i++) await it.client.everyone().publish("x");
    assert.deepEqual(
      it.nodes.map(({ calls }) => calls.length),
      [10, 10, 10],
    );
  });

  test("one that cannot be reached costs nothing while another can", async () => {
    const node = await startFakeNode(() => publishing(0, () => {}));
    const client = await connect({ control: [NOBODY, node.broker.address], maxAttempts: 1 });
    for (let i = 0; i < 20; i++) await client.everyone().publish("x");
    assert.equal(node.calls.length, 20);
    await client.close();
    node.broker.stop();
  });

  test("connect names all of them when none answers", async () => {
    const connecting = connect({ control: `${NOBODY},127.0.0.1:2`, connectTimeoutMs: 60 });
    await assert.rejects(connecting, (error) => {
      assert.ok(error instanceof Unavailable && error.cause instanceof Unavailable);
      return error.message.includes(`${NOBODY}, 127.0.0.1:2`) && error.cause.message.includes("ECONNREFUSED");
    });
  });

  test("a call that finds nobody waits for the first that comes back", async () => {
    await using it = await startFakeCluster(2, publishing, { maxAttempts: 1_000 });
    for (const { broker } of it.nodes) broker.stop();
    await disconnected(it.client);
    const published = it.client.everyone().publish("x", { timeoutMs: 20_000 });
    const back = await startFakeNode(() => publishing(1, () => {}), it.nodes[1]?.broker.address);
    assert.equal((await deadline(published, "the publish", 20_000)).succeeded, 1);
    assert.deepEqual(back.calls, ["group.publish"]);
    back.broker.stop();
  });

  test("a call that finds nobody fails when its attempts or its time are over", async () => {
    for (const [maxAttempts, timeoutMs] of [
      [1_000, 100],
      [1, 0],
    ]) {
      await using it = await startFakeCluster(2, publishing, { maxAttempts });
      for (const { broker } of it.nodes) broker.stop();
      await disconnected(it.client);
      const call = it.client.everyone().publish("x", { timeoutMs });
      await assert.rejects(deadline(call, "the failure"), (error) => {
        assert.ok(error instanceof Unavailable);
        return it.nodes.every(({ broker }) => error.message.includes(broker.address));
      });
    }
  });

  test("one that is stopping is passed over, also while it is still connected", async () => {
    let stopping = -1;
    const publish = (index: number) => () => {
      if (stopping === -1) stopping = index;
      if (stopping === index) throw refusal(status.UNAVAILABLE, "NODE_STOPPING");
      return {};
    };
    await using it = await startFakeCluster(2, (index) => ({ group: { publish: publish(index) } }));
    for (let i = 0; i < 6; i++) await it.client.everyone().publish("x");
    assert.equal(it.nodes[stopping]?.calls.length, 1);
    assert.equal(it.calls().length, 7);
  });

  test("attempts are bounded by number and by time", async () => {
    await using some = await refusing(["BUS_UNAVAILABLE"]);
    const refused = { name: "Unavailable", reason: "BUS_UNAVAILABLE" };
    await assert.rejects(some.client.everyone().publish("x", { timeoutMs: 0 }), refused);
    assert.equal(some.calls().length, 5);
    await using many = await refusing(["BUS_UNAVAILABLE"], { maxAttempts: 1_000 });
    await assert.rejects(many.client.everyone().publish("x", { timeoutMs: 3_000 }), refused);
    assert.ok(many.calls().length > 2 && many.calls().length < 100, `${many.calls().length} attempts`);
    const none = connect({ control: "a:1,b:2", maxAttempts: 0 });
    await assert.rejects(none, InvalidArgument);
  });

  test("one attempt that may have taken effect, and nobody says that nothing was done", async () => {
    await using it = await refusing(["BUS_UNAVAILABLE", "NODE_UNREACHABLE", "BUS_UNAVAILABLE"]);
    await assert.rejects(it.client.connection("c").terminate(), { reason: "NODE_UNREACHABLE" });
    assert.equal(it.calls().length, 5);
  });

  test("aborting, or closing the client, ends the waiting for another attempt", async () => {
    await using it = await refusing(["BUS_UNAVAILABLE"], { maxAttempts: 1_000_000 });
    const abort = new AbortController();
    const aborted = it.client.everyone().publish("x", { timeoutMs: 0, signal: abort.signal });
    const closed = it.client.everyone().publish("x", { timeoutMs: 0 });
    const failures = Promise.all([assert.rejects(aborted, Cancelled), assert.rejects(closed, Unavailable)]);
    abort.abort();
    await it.client.close();
    await deadline(failures, "both");
  });

  test("a request has left when a connection had it, and only then", async () => {
    const { publish } = GroupService.method;
    const limits = { deadline: Date.now() + 5_000, signal: undefined, unconfirmed: false };
    const failureAt = (channel: AddressChannel) =>
      channel.unary(publish, create(publish.input), limits).then(
        () => assert.fail("it succeeded"),
        (error: unknown) => error,
      );
    const nobody = new AddressChannel(NOBODY, {});
    assert.equal(neverLeft(await failureAt(nobody)), true);
    const dying = await startFakeNode((stop) => ({
      group: {
        publish() {
          stop();
          return new Promise(() => {});
        },
      },
    }));
    const dead = new AddressChannel(dying.broker.address, {});
    assert.equal(neverLeft(await failureAt(dead)), false);
    for (const channel of [nobody, dead]) channel.close();
  });
});

describe("streams at several addresses", () => {
  test("a sender stays where it began; its next stream begins elsewhere when that one is stopping", async () => {
    const streams: number[] = [];
    await using it = await startFakeCluster(2, (index) => ({
      sendStream(peer) {
        streams.push(index);
        peer.onBatch(({ batchId, sends }) => {
          if (sends[0]?.connectionId !== "fatal") peer.answer({ batchId });
          else peer.fail(refusal(status.UNAVAILABLE, "NODE_STOPPING"));
        });
        peer.onEnd(() => peer.end());
      },
    }));
    const sender = it.client.sender();
    for (let i = 0; i < 4; i++) await (await sender.send("c", "x")).confirmed;
    assert.equal(streams.length, 1);
    const [first = -1] = streams;
    const lost = await sender.send("fatal", "x");
    await assert.rejects(lost.confirmed, { reason: "NODE_STOPPING" });
    for (let i = 0; i < 4; i++) await (await sender.send("c", "x")).confirmed;
    assert.deepEqual(streams, [first, 1 - first]);
    await sender.close();
  });

  test("a watch ends with its node, and a new one begins at another", async () => {
    const watches: number[] = [];
    await using it = await startFakeCluster(2, (index) => ({
      watch(_, peer: WatchPeer) {
        watches.push(index);
        peer.send({ item: { case: "started", value: {} } });
      },
    }));
    const watch = it.client.watch();
    await watch.ready;
    const [first = -1] = watches;
    it.nodes[first]?.broker.stop();
    await assert.rejects(deadline(watch.next(), "the end of the watch"), Unavailable);
    const next = it.client.watch();
    await next.ready;
    assert.deepEqual(watches, [first, 1 - first]);
    await next.close();
  });
});
