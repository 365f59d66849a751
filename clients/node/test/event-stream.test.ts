import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type EventSink, EventStream } from "../src/event-stream.js";
import type { HoldfastEvent } from "../src/events.js";
import { SlowConsumer } from "../src/index.js";

const event = (seq: number) => ({ kind: "writable", seq }) as HoldfastEvent;

/** A stream, its sink, and what became of its source. */
function open(maxBytes = 1 << 23, ready: Promise<void> = Promise.resolve(), signal?: AbortSignal) {
  const sinks: EventSink[] = [];
  const it = { stops: 0, closed: 0 };
  const start = (sink: EventSink) => {
    sinks.push(sink);
    const stop = async () => {
      it.stops++;
    };
    return { ready, stop };
  };
  const stream = new EventStream(maxBytes, start, signal, () => {
    it.closed++;
  });
  const [sink] = sinks;
  assert.ok(sink);
  return Object.assign(it, { stream, sink });
}

async function drain(stream: EventStream): Promise<(number | undefined)[]> {
  const seqs: (number | undefined)[] = [];
  for await (const { seq } of stream) seqs.push(seq);
  return seqs;
}

describe("event stream", () => {
  test("events that arrived before the loop are in it, and closing ends it after them", async () => {
    const it = open();
    for (let seq = 1; seq <= 3000; seq++) it.sink.push(event(seq), 0);
    await it.stream.close();
    assert.deepEqual(
      await drain(it.stream),
      Array.from({ length: 3000 }, (_, i) => i + 1),
    );
    assert.deepEqual([it.stops, it.closed], [1, 1]);
  });

  test("a loop that waits is woken by an event and by the end", async () => {
    const it = open();
    const seqs = drain(it.stream);
    it.sink.push(event(1), 0);
    await new Promise((resolve) => setImmediate(resolve));
    it.sink.push(event(2), 0);
    it.sink.end();
    assert.deepEqual(await seqs, [1, 2]);
  });

  test("leaving the loop closes the source and drops the rest", async () => {
    const it = open();
    for (let seq = 1; seq <= 5; seq++) it.sink.push(event(seq), 0);
    for await (const { seq } of it.stream) if (seq === 2) break;
    assert.deepEqual([it.stops, it.closed], [1, 1]);
    it.sink.push(event(6), 0);
    assert.deepEqual(await drain(it.stream), []);
  });

  test("too much for the buffer is an error after what fits, never a silent gap", async () => {
    const it = open(4096);
    for (let seq = 1; seq <= 10; seq++) it.sink.push(event(seq), 512);
    const seqs: (number | undefined)[] = [];
    await assert.rejects(
      async () => {
        for await (const { seq } of it.stream) seqs.push(seq);
      },
      (error) => error instanceof SlowConsumer && error.reason === "EVENTS_LAGGED",
    );
    assert.deepEqual(seqs, [1, 2, 3, 4]);
    assert.equal(it.stops, 1);
  });

  test("one event is never too big, and what was taken makes room", async () => {
    const it = open(1000);
    for (let seq = 1; seq <= 20; seq++) {
      it.sink.push(event(seq), 100_000);
      assert.equal((await it.stream.next()).value?.seq, seq);
    }
  });

  test("a source that cannot begin fails both ready and the loop", async () => {
    const it = open(1000, Promise.reject(new Error("no permission")));
    await assert.rejects(it.stream.ready, /no permission/);
    await assert.rejects(drain(it.stream), /no permission/);
  });

  test("a source that failed, or could not begin, is closed: nobody takes what it would still get", async () => {
    for (const end of [
      open(1000, Promise.reject(new Error("away"))),
      ...[new Error("unreadable"), undefined].map((error) => {
        const it = open();
        if (error) it.sink.fail(error);
        else it.sink.end();
        return it;
      }),
    ]) {
      await drain(end.stream).catch(() => {});
      await new Promise((resolve) => setImmediate(resolve));
      assert.deepEqual([end.stops, end.closed], [1, 1]);
    }
  });

  test("aborting ends the loop with Cancelled and closes the source", async () => {
    const abort = new AbortController();
    const it = open(1000, Promise.resolve(), abort.signal);
    const loop = assert.rejects(drain(it.stream), { name: "Cancelled", cause: "enough" });
    abort.abort("enough");
    await loop;
    assert.equal(it.stops, 1);
  });
});
