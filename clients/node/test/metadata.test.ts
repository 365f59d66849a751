// What goes with every call beside its request: fixed metadata, or what a function says at that moment.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { status } from "@grpc/grpc-js";
import { type ConnectOptions, connect, InvalidArgument } from "../src/index.js";
import { type Handlers, refusal, startFakeBroker } from "./fake-broker.js";

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

describe("metadata", () => {
  test("metadata goes with every call; an error brings its metadata back", async () => {
    const tokens: unknown[] = [];
    const handlers: Handlers = {
      get(_, call) {
        tokens.push(call.metadata.get("authorization")[0]);
        throw refusal(status.NOT_FOUND, "CONNECTION_GONE", { node: "k5w2j4qzta" });
      },
    };
    await using it = await using(handlers, { metadata: { authorization: "Bearer t" } });
    const gone = { name: "ConnectionNotFound", reason: "CONNECTION_GONE", metadata: { node: "k5w2j4qzta" } };
    await assert.rejects(it.handle.get(), gone);
    await assert.rejects(it.handle.get(), gone);
    assert.deepEqual(tokens, ["Bearer t", "Bearer t"]);
  });

  test("a function is asked for the metadata of every call, and what it throws is the call's error", async () => {
    const tokens: unknown[] = [];
    const handlers: Handlers = {
      terminate(_, call) {
        tokens.push(call.metadata.get("authorization")[0]);
        return {};
      },
    };
    let calls = 0;
    const metadata = () => {
      calls++;
      if (calls > 2) throw new Error("no token today");
      return { authorization: `Bearer ${calls}` };
    };
    await using it = await using(handlers, { metadata });
    calls = 0;
    await it.handle.terminate();
    await it.handle.terminate();
    await assert.rejects(it.handle.terminate(), { message: "no token today" });
    assert.deepEqual(tokens, ["Bearer 1", "Bearer 2"]);
  });

  test("a token with the end of its line is refused, and not shown", async () => {
    await using it = await using({}, { metadata: { authorization: "Bearer secret\n" } });
    await assert.rejects(it.handle.terminate(), (error: Error) => {
      return (
        error instanceof InvalidArgument &&
        /authorization/.test(error.message) &&
        !/secret/.test(error.message)
      );
    });
  });

  test("what it throws is a watch's error and that of the sends of a sender, and ends nothing else", async () => {
    const stray: unknown[] = [];
    const listener = (reason: unknown) => stray.push(reason);
    process.on("uncaughtException", listener);
    process.on("unhandledRejection", listener);
    try {
      let works = true;
      const metadata = () => {
        if (!works) throw new Error("no token today");
        return {};
      };
      const answerAll: Handlers = {
        sendStream(peer) {
          peer.onBatch(({ batchId }) => peer.answer({ batchId }));
          peer.onEnd(() => peer.end());
        },
      };
      await using it = await using(answerAll, { metadata, timeoutMs: 1 });
      works = false;
      assert.throws(() => it.client.watch(), { message: "no token today" });
      const sender = it.client.sender({ batchSize: 1, maxPending: 2 });
      const limit = { timeoutMs: 20_000 };
      const sends = await Promise.all(Array.from({ length: 5 }, () => sender.send(id, "x", limit)));
      for (const { confirmed } of sends)
        await assert.rejects(confirmed, { name: "HoldfastError", cause: new Error("no token today") });
      works = true;
      // By now a watch that waited for its beginning, 1 ms, would be late.
      await (await sender.send(id, "x")).confirmed;
      assert.deepEqual(stray, []);
    } finally {
      process.off("uncaughtException", listener);
      process.off("unhandledRejection", listener);
    }
  });
});
