import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { status } from "@grpc/grpc-js";
import type { SendRequest, WatchRequest } from "../src/gen/holdfast/v1/connection_service_pb.js";
import { Event_Kind, Opcode } from "../src/gen/holdfast/v1/event_pb.js";
import { connect, type HoldfastEvent, SlowConsumer, Unavailable } from "../src/index.js";
import { deadline } from "./deadline.js";
import { refusal, startFakeBroker, type WatchPeer } from "./fake-broker.js";

async function using(begin: (stream: WatchPeer, request: WatchRequest) => void) {
  const sends: SendRequest[] = [];
  const broker = await startFakeBroker({
    watch: (request, stream) => begin(stream, request),
    send(request) {
      sends.push(request);
      return {};
    },
  });
  const client = await connect({ control: broker.address });
  const stop = async () => {
    await client.close();
    broker.stop();
  };
  return { client, sends, [Symbol.asyncDispose]: stop };
}

const started = { item: { case: "started" as const, value: { node: "n", unreachableNodes: ["m"] } } };
const event = (value: object) => ({
  item: { case: "event" as const, value: { connectionId: "c", ...value } },
});

describe("watch", () => {
  test("asks for what it is told, is ready at `started`, and shows every kind", async () => {
    const requests: WatchRequest[] = [];
    await using it = await using((stream, request) => {
      requests.push(request);
      stream.send(started);
      const base = { namespace: "chat", user: "ann", seq: 1n };
      stream.send(event({ ...base, kind: Event_Kind.OPEN, connection: { id: "c", subprotocol: "v1" } }));
      stream.send(
        event({ kind: Event_Kind.MESSAGE, seq: 2n, opcode: Opcode.TEXT, payload: Buffer.from("hé") }),
      );
      stream.send(
        event({ kind: Event_Kind.MESSAGE, seq: 3n, opcode: Opcode.BINARY, payload: Buffer.from([1]) }),
      );
      stream.send(event({ kind: Event_Kind.PING, payload: Buffer.from("p") }));
      stream.send(event({ kind: 99 as Event_Kind }));
      stream.send(event({ kind: Event_Kind.WRITABLE }));
      stream.send(event({ kind: Event_Kind.CLOSE, seq: 4n, closed: { code: 1000, cause: 1 } }));
      stream.end();
    });
    const stream = it.client.watch({
      namespace: "chat",
      user: "ann",
      connectionId: "c",
      kinds: ["open", "close"],
    });
    await stream.ready;
    assert.deepEqual(stream.unreachableNodes, ["m"]);
    const seen: HoldfastEvent[] = [];
    for await (const one of stream) seen.push(one);
    assert.equal(seen[0]?.connection.namespace, "chat");
    assert.deepEqual(
      seen.map((one) => one.kind),
      ["open", "message", "message", "ping", "writable", "close"],
    );
    const [open, text, binary, , , close] = seen;
    assert.ok(
      open?.kind === "open" &&
        text?.kind === "message" &&
        binary?.kind === "message" &&
        close?.kind === "close",
    );
    assert.deepEqual(
      [open.opened.subprotocol, open.namespace, open.user, open.seq],
      ["v1", "chat", "ann", 1],
    );
    assert.deepEqual(
      [text.data, text.opcode, binary.opcode, [...(binary.data as Uint8Array)]],
      ["hé", "text", "binary", [1]],
    );
    assert.deepEqual([close.closed.code, close.closed.cause, close.seq], [1000, "PEER_CLOSE", 4]);
    await text.reply("back");
    assert.deepEqual([it.sends[0]?.connectionId, it.sends[0]?.message?.payload.value], ["c", "back"]);
    const [request] = requests;
    assert.deepEqual([request?.namespace, request?.user, request?.connectionId], ["chat", "ann", "c"]);
    assert.deepEqual(request?.kinds, [Event_Kind.OPEN, Event_Kind.CLOSE]);
  });

  test("a refused watch fails ready and the loop", async () => {
    await using it = await using((stream) =>
      stream.fail(refusal(status.INVALID_ARGUMENT, "INVALID_NAMESPACE")),
    );
    const stream = it.client.watch({ namespace: "NO" });
    await assert.rejects(stream.ready, { reason: "INVALID_NAMESPACE" });
    await assert.rejects(stream.next(), { reason: "INVALID_NAMESPACE" });
  });

  test("a watch that lags or is lost ends the loop with the reason, after what came before", async () => {
    for (const [code, reason, Class] of [
      [status.RESOURCE_EXHAUSTED, "WATCH_LAGGED", SlowConsumer],
      [status.UNAVAILABLE, "NODE_STOPPING", Unavailable],
    ] as const) {
      await using it = await using((stream) => {
        stream.send(started);
        stream.send(event({ kind: Event_Kind.WRITABLE }));
        stream.fail(refusal(code, reason));
      });
      const stream = it.client.watch();
      assert.equal((await stream.next()).value?.kind, "writable");
      await assert.rejects(stream.next(), (error) => error instanceof Class && error.reason === reason);
    }
  });

  test("leaving the loop, closing and closing the client cancel the call", async () => {
    const peers: WatchPeer[] = [];
    await using it = await using((stream) => {
      peers.push(stream);
      stream.send(started);
      stream.send(event({ kind: Event_Kind.WRITABLE }));
    });
    const gone = (index: number) => deadline(peers[index]?.cancelled ?? Promise.reject(), `cancel ${index}`);
    for await (const _ of it.client.watch()) break;
    await gone(0);
    const closed = it.client.watch();
    await closed.ready;
    await closed.close();
    await gone(1);
    const open = it.client.watch();
    await open.ready;
    await it.client.close();
    await gone(2);
    for await (const _ of open);
  });
});
