import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type StatusObject, status } from "@grpc/grpc-js";
import type { SendRequest } from "../src/gen/holdfast/v1/connection_service_pb.js";
import { Confirmation } from "../src/gen/holdfast/v1/message_pb.js";
import { connect, type MessageWriterOptions } from "../src/index.js";
import { refusal, startFakeBroker } from "./fake-broker.js";

/** A writer whose second call is refused when `refuse` says how. */
async function using(options: MessageWriterOptions = {}, refuse?: Partial<StatusObject>) {
  const seen: SendRequest[] = [];
  const broker = await startFakeBroker({
    send(request) {
      seen.push(request);
      if (seen.length === 2 && refuse !== undefined) throw refuse;
      return { fragmentId: request.message?.more ? "f1" : "" };
    },
  });
  const client = await connect({ control: broker.address });
  const stop = async () => {
    await client.close();
    broker.stop();
  };
  return { writer: client.connection("c").message(options), seen, [Symbol.asyncDispose]: stop };
}

const facts = ({ message }: SendRequest) => [message?.payload.value, message?.more, message?.fragmentId];

describe("a message in fragments", () => {
  test("the first call names it, later ones continue it, the last ends it", async () => {
    await using it = await using({ compress: true, expireAfterMs: 1000, confirmation: "RECEIVED" });
    await it.writer.write("a");
    await it.writer.write("b");
    await it.writer.end("c");
    assert.deepEqual(it.seen.map(facts), [
      ["a", true, ""],
      ["b", true, "f1"],
      ["c", false, "f1"],
    ]);
    assert.deepEqual(
      it.seen.map((request) => request.confirmation),
      [Confirmation.WRITTEN, Confirmation.WRITTEN, Confirmation.RECEIVED],
    );
    assert.deepEqual(
      it.seen.map((request) => request.message?.compress),
      [true, undefined, undefined],
    );
    assert.deepEqual(
      it.seen.map((request) => request.expireAfter !== undefined),
      [true, false, false],
    );
  });

  test("writes that are not awaited keep their order", async () => {
    await using it = await using();
    await Promise.all([it.writer.write("a"), it.writer.write("b"), it.writer.end()]);
    assert.deepEqual(it.seen.map(facts), [
      ["a", true, ""],
      ["b", true, "f1"],
      ["", false, "f1"],
    ]);
  });

  test("an empty end has the kind of the message", async () => {
    await using it = await using();
    await it.writer.write(new Uint8Array([1]));
    await it.writer.end();
    assert.equal(it.seen[1]?.message?.payload.case, "binary");
    await assert.rejects(it.writer.write("x"), { code: "FAILED_PRECONDITION", message: /ended/ });
  });

  test("disposing of an unfinished message does not end it", async () => {
    await using it = await using();
    {
      await using writer = it.writer;
      await writer.write("half");
    }
    assert.deepEqual(it.seen.map(facts), [["half", true, ""]]);
    await assert.rejects(it.writer.end(), { code: "FAILED_PRECONDITION", message: /abandoned/ });
  });

  test("after QueueFull the fragment can be written again; what was written behind it is not sent", async () => {
    await using it = await using({}, refusal(status.RESOURCE_EXHAUSTED, "SEND_QUEUE_FULL"));
    const { writer } = it;
    const outcomes = await Promise.allSettled([writer.write("a"), writer.write("b"), writer.end("c")]);
    assert.deepEqual(
      outcomes.map((outcome) => outcome.status),
      ["fulfilled", "rejected", "rejected"],
    );
    await writer.write("b");
    await writer.end("c");
    assert.deepEqual(
      it.seen.map(({ message }) => message?.payload.value),
      ["a", "b", "b", "c"],
    );
  });

  test("after another failure the message is over", async () => {
    await using it = await using({}, refusal(status.UNAVAILABLE, "NODE_UNREACHABLE"));
    await it.writer.write("a");
    await assert.rejects(it.writer.write("b"), { name: "Unavailable" });
    await assert.rejects(it.writer.end("c"), { message: /failed/ });
    assert.equal(it.seen.length, 2);
  });
});
