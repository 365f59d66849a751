import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { status } from "@grpc/grpc-js";
import type {
  CloseRequest,
  ListRequest,
  PauseRequest,
  SendManyRequest,
  SendRequest,
  UpdateRequest,
} from "../src/gen/holdfast/v1/connection_service_pb.js";
import { ErrorReason } from "../src/gen/holdfast/v1/error_reason_pb.js";
import { Confirmation } from "../src/gen/holdfast/v1/message_pb.js";
import { type ConnectOptions, connect, InvalidArgument, QueueFull } from "../src/index.js";
import { type Handlers, startFakeBroker } from "./fake-broker.js";

const id = "k5w2j4qzta-7m3c5z6q2n4x6p7a";

async function using(handlers: Handlers, options: ConnectOptions = {}) {
  const broker = await startFakeBroker(handlers);
  const client = await connect({ control: broker.address, ...options });
  const stop = async () => {
    await client.close();
    broker.stop();
  };
  return { client, handle: client.connection(id), [Symbol.asyncDispose]: stop };
}

describe("requests and answers", () => {
  test("send carries every option and answers plain values", async () => {
    const seen: SendRequest[] = [];
    await using it = await using({
      send(request) {
        seen.push(request);
        return { bufferedAmount: 7n, rtt: { seconds: 1n, nanos: 500_000 } };
      },
    });
    const options = {
      confirmation: "RECEIVED",
      expireAfterMs: 1500,
      compress: false,
      requestId: "r1",
    } as const;
    assert.deepEqual(await it.handle.send("hé", options), { bufferedAmount: 7, rttMs: 1000.5 });
    await it.handle.send(new Uint8Array([0, 255]));
    const [full, bare] = seen;
    assert.ok(full?.message && bare?.message);
    assert.deepEqual(full.message.payload, { case: "text", value: "hé" });
    assert.deepEqual([full.connectionId, full.message.compress, full.message.more], [id, false, false]);
    assert.deepEqual([full.confirmation, full.requestId], [Confirmation.RECEIVED, "r1"]);
    assert.deepEqual([full.expireAfter?.seconds, full.expireAfter?.nanos], [1n, 500_000_000]);
    assert.equal(bare.message.payload.case, "binary");
    assert.deepEqual([...(bare.message.payload.value as Uint8Array)], [0, 255]);
    assert.deepEqual([bare.message.compress, bare.expireAfter, bare.confirmation], [undefined, undefined, 0]);
  });

  test("text with a lone surrogate is refused before anything is sent", async () => {
    await using it = await using({});
    await assert.rejects(it.handle.send("a\ud800"), (error) => {
      assert.ok(error instanceof InvalidArgument);
      return error.reason === "INVALID_MESSAGE" && error.metadata.field === "message.text";
    });
  });

  test("close, pause, ping and pong carry what they are given, and nothing else", async () => {
    const closes: CloseRequest[] = [];
    const pauses: PauseRequest[] = [];
    const payloads: string[] = [];
    const resumeTime = new Date("2030-01-01T00:00:00.250Z");
    await using it = await using({
      close(request) {
        closes.push(request);
        return { code: 4000, reason: "bye", wasClean: true };
      },
      pause(request) {
        pauses.push(request);
        return { resumeTime: timestampFromDate(resumeTime) };
      },
      ping: (request) => {
        payloads.push(Buffer.from(request.payload).toString());
        return { rtt: { seconds: 0n, nanos: 1_250_000 } };
      },
      pong: (request) => {
        payloads.push(Buffer.from(request.payload).toString());
        return {};
      },
    });
    assert.deepEqual(await it.handle.close(), { code: 4000, reason: "bye", wasClean: true });
    await it.handle.close({ code: 0, reason: "x", confirmation: "QUEUED" });
    assert.deepEqual(
      closes.map(({ code, reason, confirmation }) => [code, reason, confirmation]),
      [
        [undefined, "", 0],
        [0, "x", Confirmation.QUEUED],
      ],
    );
    assert.deepEqual(await it.handle.pause({ resumeAfterMs: 0.5 }), resumeTime);
    assert.equal(pauses[0]?.resumeAfter?.nanos, 500_000);
    assert.equal(await it.handle.ping({ payload: "é" }), 1.25);
    await it.handle.pong({ payload: new Uint8Array([120]) });
    assert.deepEqual(payloads, ["é", "x"]);
  });

  test("update tells setting, removing and leaving apart", async () => {
    const seen: UpdateRequest[] = [];
    await using it = await using({
      update(request) {
        seen.push(request);
        return { connection: { id, seq: 3n, bufferedAmount: 9n } };
      },
    });
    const expireTime = new Date("2031-02-03T04:05:06.007Z");
    const answer = await it.handle.update({ attributes: { room: "7", old: null }, user: "", expireTime });
    assert.deepEqual(
      [answer.id, answer.seq, answer.bufferedAmount, answer.expireTime],
      [id, 3, 9, undefined],
    );
    await it.handle.update({ expireTime: null });
    const [first, second] = seen;
    assert.deepEqual({ ...first?.setAttributes }, { room: "7" });
    assert.deepEqual([first?.removeAttributes, first?.user, first?.clearExpireTime], [["old"], "", false]);
    assert.deepEqual(first?.expireTime && timestampDate(first.expireTime), expireTime);
    assert.deepEqual(
      [second?.user, second?.expireTime, second?.clearExpireTime],
      [undefined, undefined, true],
    );
  });

  test("a deadline that the broker saw first is one, and no cancellation", async () => {
    await using it = await using({
      async close(_, { deadline }) {
        await new Promise((resolve) => setTimeout(resolve, deadline - Date.now() - 50));
        throw { code: status.CANCELLED, details: "reset" };
      },
      async get(_, { deadline }) {
        await new Promise((resolve) => setTimeout(resolve, deadline - Date.now() - 50));
        throw { code: status.CANCELLED, details: "reset" };
      },
    });
    const limit = { timeoutMs: 1_000 };
    await assert.rejects(it.handle.close(limit), { name: "NotConfirmed", code: "DEADLINE_EXCEEDED" });
    await assert.rejects(it.handle.get(limit), { name: "DeadlineExceeded", code: "DEADLINE_EXCEEDED" });
    await assert.rejects(it.handle.get({ timeoutMs: 60_000, signal: AbortSignal.timeout(1) }), {
      name: "Cancelled",
    });
  });

  test("list walks the pages and says which nodes are missing", async () => {
    const seen: ListRequest[] = [];
    await using it = await using({
      list(request) {
        seen.push(request);
        if (request.pageToken === "") return { connections: [{ id: "a" }, { id: "b" }], nextPageToken: "p2" };
        return { connections: [{ id: "c" }], unreachableNodes: ["k5w2j4qzta"] };
      },
    });
    const listing = it.client.list({ user: "ann", attributes: { room: "7" } }, { pageSize: 2 });
    const ids: string[] = [];
    for await (const connection of listing) ids.push(connection.id);
    assert.deepEqual(ids, ["a", "b", "c"]);
    assert.deepEqual(listing.unreachableNodes, ["k5w2j4qzta"]);
    assert.deepEqual(
      seen.map((request) => request.pageToken),
      ["", "p2"],
    );
    assert.deepEqual([seen[1]?.filter?.user, seen[1]?.pageSize], ["ann", 2]);
    for await (const first of listing) {
      assert.equal(first.id, "a");
      break;
    }
    assert.equal(seen.length, 3, "leaving the loop fetches no further page");
  });

  test("count and sendMany answer with what is missing", async () => {
    const seen: SendManyRequest[] = [];
    await using it = await using({
      count: () => ({ count: 12n, unreachableNodes: ["n"] }),
      sendMany(request) {
        seen.push(request);
        const failure = { connectionId: "b", code: 8, reason: ErrorReason.SEND_QUEUE_FULL, message: "full" };
        return { succeeded: 1, failures: [failure] };
      },
    });
    assert.deepEqual(await it.client.count({ namespace: "chat" }), { count: 12, unreachableNodes: ["n"] });
    const { succeeded, failures } = await it.client.sendMany(["a", "b"], "x", { confirmation: "WRITTEN" });
    assert.equal(succeeded, 1);
    assert.equal(failures[0]?.connectionId, "b");
    assert.ok(failures[0]?.error instanceof QueueFull);
    assert.deepEqual(seen[0]?.connectionIds, ["a", "b"]);
    assert.equal(seen[0]?.confirmation, Confirmation.WRITTEN);
  });
});
