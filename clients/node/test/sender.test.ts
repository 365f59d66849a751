import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { status } from "@grpc/grpc-js";
import type { SendStreamRequest } from "../src/gen/holdfast/v1/connection_service_pb.js";
import { ErrorReason } from "../src/gen/holdfast/v1/error_reason_pb.js";
import {
  connect,
  QueueFull,
  type SenderOptions,
  SendFailures,
  SkippedAfterFailure,
  Unavailable,
} from "../src/index.js";
import { deadline } from "./deadline.js";
import { refusal, type SendStreamPeer, startFakeBroker } from "./fake-broker.js";

/** A sender, and the broker's end of its streams. */
async function using(options: SenderOptions = {}) {
  const streams: SendStreamPeer[] = [];
  const batches: SendStreamRequest[] = [];
  let wake = () => {};
  let onBatch = (_batch: SendStreamRequest, _peer: SendStreamPeer) => {};
  const broker = await startFakeBroker({
    sendStream(peer) {
      streams.push(peer);
      peer.onBatch((batch) => {
        batches.push(batch);
        onBatch(batch, peer);
        wake();
      });
      peer.onEnd(() => peer.end());
    },
  });
  const client = await connect({ control: broker.address, timeoutMs: 2000 });
  return {
    sender: client.sender(options),
    client,
    streams,
    batches,
    /** Answers every batch as it comes, from the first. */
    answerAll(answer = (batch: SendStreamRequest) => ({ batchId: batch.batchId })) {
      for (const batch of batches) streams.at(-1)?.answer(answer(batch));
      onBatch = (batch, peer) => peer.answer(answer(batch));
    },
    async batchCount(count: number) {
      while (batches.length < count) {
        await deadline(
          new Promise<void>((resolve) => {
            wake = resolve;
          }),
          `${count} batches`,
        );
      }
    },
    async [Symbol.asyncDispose]() {
      await client.close();
      broker.stop();
    },
  };
}

const texts = (batch: SendStreamRequest | undefined) =>
  (batch?.sends ?? []).map((send) => `${send.connectionId}:${send.message?.payload.value}`);

describe("sender", () => {
  test("what is sent together travels together, in order", async () => {
    await using it = await using();
    it.answerAll();
    const sent = [];
    for (let i = 0; i < 5; i++) sent.push(await it.sender.send(i % 2 ? "a" : "b", `${i}`));
    await deadline(Promise.all(sent.map((one) => one.confirmed)), "confirmed");
    assert.deepEqual(it.batches.map(texts), [["b:0", "a:1", "b:2", "a:3", "b:4"]]);
    await it.sender.flush();
  });

  test("a batch is complete at its size, or at 1 MiB", async () => {
    await using it = await using({ batchSize: 3 });
    it.answerAll();
    for (let i = 0; i < 7; i++) await it.sender.send("a", `${i}`);
    await it.sender.flush();
    assert.deepEqual(
      it.batches.map((batch) => batch.sends.length),
      [3, 3, 1],
    );
    it.batches.length = 0;
    for (let i = 0; i < 4; i++) await it.sender.send("a", new Uint8Array(600 * 1024));
    await it.sender.flush();
    assert.deepEqual(
      it.batches.map((batch) => batch.sends.length),
      [2, 2],
    );
  });

  test("each failure reaches its own send, and onFailure", async () => {
    const failures: string[] = [];
    await using it = await using({
      onFailure: ({ connectionId, error }) => failures.push(`${connectionId} ${error.reason}`),
    });
    it.answerAll((batch) => ({
      batchId: batch.batchId,
      failures: [
        { index: 1, code: 8, reason: ErrorReason.SEND_QUEUE_FULL, message: "full" },
        { index: 2, code: 10, reason: ErrorReason.SKIPPED_AFTER_FAILURE, message: "skipped" },
      ],
    }));
    const [first, second, third] = [
      await it.sender.send("a", "0"),
      await it.sender.send("b", "1"),
      await it.sender.send("b", "2"),
    ];
    await first.confirmed;
    await assert.rejects(second.confirmed, QueueFull);
    await assert.rejects(third.confirmed, SkippedAfterFailure);
    assert.deepEqual(failures, ["b SEND_QUEUE_FULL", "b SKIPPED_AFTER_FAILURE"]);
    await it.sender.flush();
  });

  test("a full window makes send wait, in order, until answers come", async () => {
    await using it = await using({ maxPending: 2 });
    await it.sender.send("a", "0");
    await it.sender.send("a", "1");
    const waiting = [it.sender.send("a", "2"), it.sender.send("a", "3")];
    await it.batchCount(1);
    await assert.rejects(it.sender.send("a", "late", { timeoutMs: 20 }), { name: "DeadlineExceeded" });
    await assert.rejects(it.sender.send("a", "gone", { signal: AbortSignal.timeout(10) }), {
      name: "Cancelled",
    });
    assert.equal(it.batches.length, 1);
    it.answerAll();
    await deadline(Promise.all(waiting), "room");
    await it.sender.send("a", "4");
    await it.sender.flush();
    assert.deepEqual(it.batches.flatMap(texts), ["a:0", "a:1", "a:2", "a:3", "a:4"]);
  });

  test("bytes are bounded too, but one message always fits", async () => {
    await using it = await using({ maxPendingBytes: 10 });
    await it.sender.send("a", "much longer than ten");
    await it.batchCount(1);
    await assert.rejects(it.sender.send("a", "x", { timeoutMs: 20 }), { name: "DeadlineExceeded" });
    it.answerAll();
    await it.sender.flush();
    await it.sender.send("a", "x");
  });

  test("many open batches wait here, and then travel in bigger ones", async () => {
    await using it = await using({ batchSize: 1, maxPending: 100 });
    for (let i = 0; i < 40; i++) await it.sender.send("a", `${i}`);
    await it.batchCount(32);
    assert.equal(it.batches.length, 32);
    it.answerAll();
    await it.sender.flush();
    assert.deepEqual(
      it.batches.flatMap(texts),
      Array.from({ length: 40 }, (_, i) => `a:${i}`),
    );
  });

  test("a broken stream fails what has no answer, repeats nothing, and the next send begins anew", async () => {
    await using it = await using();
    const lost = await it.sender.send("a", "0");
    await it.batchCount(1);
    it.streams[0]?.fail(refusal(status.UNAVAILABLE, "NODE_STOPPING"));
    await assert.rejects(lost.confirmed, (error) => {
      assert.ok(error instanceof Unavailable);
      return error.reason === "NODE_STOPPING";
    });
    const next = await it.sender.send("a", "1");
    await it.batchCount(2);
    assert.equal(it.streams.length, 2);
    it.streams[1]?.answer({ batchId: it.batches[1]?.batchId });
    await next.confirmed;
    assert.deepEqual(it.batches.map(texts), [["a:0"], ["a:1"]]);
  });

  test("a stream that the broker ends early fails what has no answer", async () => {
    await using it = await using();
    const lost = await it.sender.send("a", "0");
    await it.batchCount(1);
    it.streams[0]?.end();
    await assert.rejects(lost.confirmed, Unavailable);
  });

  test("closing waits for the answers and is idempotent; later sends are refused", async () => {
    await using it = await using();
    const sent = await it.sender.send("a", "0");
    await it.batchCount(1);
    const closing = it.sender.close();
    assert.equal(it.sender.close(), closing);
    await assert.rejects(it.sender.send("a", "1"), { code: "FAILED_PRECONDITION" });
    it.answerAll();
    await closing;
    await sent.confirmed;
  });

  test("closing that runs out of time fails what has no answer", async () => {
    await using it = await using({ maxPending: 1 });
    const sent = await it.sender.send("a", "0");
    const waiting = it.sender.send("a", "1");
    const refused = assert.rejects(waiting, { name: "Cancelled" });
    await it.batchCount(1);
    const failed = assert.rejects(sent.confirmed, { name: "Cancelled" });
    await it.sender.close({ timeoutMs: 20 });
    await failed;
    await refused;
    assert.equal(it.streams.length, 1);
  });

  test("a failure that nobody asks for is thrown by flush, once, and is no unhandled rejection", async () => {
    const unhandled: unknown[] = [];
    const listener = (reason: unknown) => unhandled.push(reason);
    process.on("unhandledRejection", listener);
    {
      await using it = await using();
      await it.sender.send("a", "0");
      await it.sender.send("b", "1");
      void (await it.sender.send("c", "2")).confirmed.catch(() => {});
      await it.batchCount(1);
      it.streams[0]?.fail(refusal(status.UNAVAILABLE, "NODE_STOPPING"));
      await assert.rejects(it.sender.flush(), (error) => {
        assert.ok(error instanceof SendFailures);
        assert.deepEqual([error.count, error.code, error.reason], [2, "UNAVAILABLE", "NODE_STOPPING"]);
        return error.failures.map(({ connectionId }) => connectionId).join() === "a,b";
      });
      await it.sender.flush();
    }
    await new Promise((resolve) => setImmediate(resolve));
    process.off("unhandledRejection", listener);
    assert.deepEqual(unhandled, []);
  });
});
