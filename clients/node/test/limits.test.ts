import assert from "node:assert/strict";
import { createServer } from "node:net";
import { describe, test } from "node:test";
import { status } from "@grpc/grpc-js";
import {
  Cancelled,
  type ConnectOptions,
  connect,
  DeadlineExceeded,
  NotConfirmed,
  Unavailable,
} from "../src/index.js";
import { type CallFacts, type Handlers, refusal, startFakeBroker } from "./fake-broker.js";

async function using(handlers: Handlers, options: ConnectOptions = {}) {
  const broker = await startFakeBroker(handlers);
  const client = await connect({ control: broker.address, ...options });
  const stop = async () => {
    await client.close();
    broker.stop();
  };
  return { client, handle: client.connection("c"), broker, [Symbol.asyncDispose]: stop };
}

/** A handler that answers when its caller has gone, and shows the call. */
function hanging() {
  let began: (call: CallFacts) => void = () => {};
  const call = new Promise<CallFacts>((resolve) => {
    began = resolve;
  });
  const handler = async (_: object, facts: CallFacts) => {
    began(facts);
    await facts.cancelled;
    return {};
  };
  return { call, handler };
}

describe("deadlines and cancellation", () => {
  test("timeoutMs is the broker's deadline too, and ends the call", async () => {
    const { call, handler } = hanging();
    await using it = await using({ get: handler });
    const failed = assert.rejects(it.handle.get({ timeoutMs: 2_000 }), (error) => {
      assert.equal((error as Error).constructor, DeadlineExceeded);
      return (error as DeadlineExceeded).reason === undefined;
    });
    const { deadline, began, cancelled } = await call;
    assert.ok(deadline - began <= 2_010, `the broker has ${deadline - began} ms`);
    await failed;
    await cancelled;
  });

  test("a call that waits for a confirmation ends as NotConfirmed", async () => {
    const { handler } = hanging();
    await using it = await using({ send: handler, ping: handler, close: handler });
    const limit = { timeoutMs: 300 };
    await assert.rejects(it.handle.ping(limit), NotConfirmed);
    await assert.rejects(it.handle.close(limit), NotConfirmed);
    await assert.rejects(it.handle.send("x", { ...limit, confirmation: "WRITTEN" }), NotConfirmed);
    await assert.rejects(it.handle.send("x", limit), { name: "DeadlineExceeded" });
  });

  test("the client's own limit holds where a call names none, and 0 is none", async () => {
    const { handler } = hanging();
    const deadlines: number[] = [];
    const count = (_: object, call: CallFacts) => {
      deadlines.push(call.deadline);
      return {};
    };
    await using it = await using({ get: handler, count }, { timeoutMs: 40 });
    await assert.rejects(it.handle.get(), DeadlineExceeded);
    await it.client.count({}, { timeoutMs: 0 });
    assert.deepEqual(deadlines, [Number.POSITIVE_INFINITY]);
  });

  test("aborting ends the call here and at the broker, with the signal's reason as cause", async () => {
    const { call, handler } = hanging();
    await using it = await using({ terminate: handler });
    const abort = new AbortController();
    const failed = assert.rejects(it.handle.terminate({ signal: abort.signal, timeoutMs: 0 }), (error) => {
      assert.ok(error instanceof Cancelled);
      return error.cause === "enough";
    });
    const { cancelled } = await call;
    abort.abort("enough");
    await failed;
    await cancelled;
    await assert.rejects(it.handle.terminate({ signal: abort.signal }), Cancelled);
  });

  test("a signal that outlives many calls keeps no listener of them", async () => {
    await using it = await using({ count: () => ({}) });
    const abort = new AbortController();
    let listeners = 0;
    const { addEventListener, removeEventListener } = abort.signal;
    abort.signal.addEventListener = (...args: Parameters<typeof addEventListener>) => {
      listeners++;
      addEventListener.apply(abort.signal, args);
    };
    abort.signal.removeEventListener = (...args: Parameters<typeof removeEventListener>) => {
      listeners--;
      removeEventListener.apply(abort.signal, args);
    };
    for (let i = 0; i < 20; i++) await it.client.count({}, { signal: abort.signal });
    assert.equal(listeners, 0);
  });
});

describe("a broker that is not there", () => {
  test("connect says so within its limit, and obeys a signal", async () => {
    const server = createServer((socket) => socket.unref()).listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const address = server.address();
    assert.ok(address !== null && typeof address === "object");
    const control = `127.0.0.1:${address.port}`;
    await assert.rejects(connect({ control, connectTimeoutMs: 60 }), (error) => {
      assert.ok(error instanceof Unavailable);
      return error.message.includes(control);
    });
    await assert.rejects(connect({ control, signal: AbortSignal.abort("no") }), Cancelled);
    server.close();
  });

  test("connect says why: here, that nobody listens", async () => {
    await assert.rejects(connect({ control: "127.0.0.1:1", connectTimeoutMs: 1_500 }), (error) => {
      assert.ok(error instanceof Unavailable && error.cause instanceof Unavailable);
      return error.cause.message.includes("ECONNREFUSED");
    });
  });

  test("connect says so of NATS, and keeps nothing open that would hold the process", async () => {
    const broker = await startFakeBroker({});
    const nats = "nats://127.0.0.1:1";
    const options = { control: broker.address, nats };
    await assert.rejects(connect({ ...options, connectTimeoutMs: 2_000 }), (error) => {
      assert.ok(error instanceof Unavailable);
      return error.message.includes("NATS") && error.cause !== undefined;
    });
    await assert.rejects(connect({ ...options, signal: AbortSignal.timeout(50) }), Cancelled);
    broker.stop();
  });

  test("a send is never repeated: one refusal is one failure", async () => {
    let calls = 0;
    await using it = await using({
      send() {
        calls++;
        throw refusal(status.UNAVAILABLE, "NODE_UNREACHABLE");
      },
    });
    await assert.rejects(it.handle.send("x"), { name: "Unavailable", reason: "NODE_UNREACHABLE" });
    assert.equal(calls, 1);
  });

  test("calls fail at once while the broker is away", async () => {
    await using it = await using({ count: () => ({ count: 1n }) });
    await it.client.count();
    it.broker.stop();
    await assert.rejects(it.client.count({}, { timeoutMs: 0 }), Unavailable);
  });

  test("closing twice is closing once; afterwards nothing new begins", async () => {
    await using it = await using({});
    const first = it.client.close();
    assert.equal(it.client.close(), first);
    await first;
    assert.throws(() => it.client.sender(), { code: "FAILED_PRECONDITION" });
    assert.throws(() => it.client.watch(), { code: "FAILED_PRECONDITION" });
    await assert.rejects(it.handle.get(), (error) => error instanceof Error && error.name !== "TypeError");
  });

  test("events without nats says what to do", async () => {
    await using it = await using({});
    assert.throws(() => it.client.events(), { code: "FAILED_PRECONDITION", message: /nats/ });
  });
});
