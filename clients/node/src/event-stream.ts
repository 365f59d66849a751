import { cancelledBy, errorOf } from "./error-of.js";
import type { EventKind, EventOf, HoldfastEvent } from "./events.js";
import { deferred } from "./wait.js";

/** Where an {@link EventStream} gets its events from. */
export interface EventSource {
  /** Resolves when every event from now on is seen. */
  readonly ready: Promise<void>;
  /** Nodes that take no part; see {@link EventStream.unreachableNodes}. Absent: none. */
  readonly unreachableNodes?: readonly string[];
  /** Asks for no more events; resolves when those under way have been given to the stream. */
  stop(): Promise<void>;
}

/** What a source puts into a stream. */
export interface EventSink {
  /** One event; `bytes` is what it weighs in the buffer. */
  push(event: HoldfastEvent, bytes: number): void;
  /** No more events, because of an error. */
  fail(error: Error): void;
  /** No more events. */
  end(): void;
}

/** What an event weighs besides its payload: the objects that carry it. */
const EVENT_OVERHEAD_BYTES = 512;

/**
 * Events in the order in which they came, for one `for await` loop. It is in effect as soon as {@link ready}
 * resolves, so await that before doing what the events answer. Leaving the loop closes the stream.
 */
export class EventStream<K extends EventKind = EventKind> implements AsyncIterableIterator<EventOf<K>> {
  /**
   * Resolves when the stream is in effect: every event from now on is in it. Rejects when it cannot be; then
   * the loop throws the same error.
   */
  readonly ready: Promise<void>;
  readonly #source: EventSource;
  readonly #maxBytes: number;
  readonly #closed: () => void;
  #events: { event: EventOf<K>; bytes: number }[] = [];
  #head = 0;
  #bytes = 0;
  #end: { error: Error | undefined } | undefined;
  #wake: (() => void) | undefined;
  #closing: Promise<void> | undefined;

  /** Made by {@link Client.events} and {@link Client.watch}. */
  constructor(
    maxBytes: number,
    open: (sink: EventSink) => EventSource,
    signal?: AbortSignal,
    closed: (stream: EventStream<K>) => void = () => {},
  ) {
    this.#maxBytes = maxBytes;
    const abort = () => this.#abort(signal as AbortSignal);
    this.#closed = () => {
      signal?.removeEventListener("abort", abort);
      closed(this);
    };
    this.#source = open({
      push: (event, bytes) => this.#push(event as EventOf<K>, bytes + EVENT_OVERHEAD_BYTES),
      fail: (error) => this.#finish(error),
      end: () => this.#finish(undefined),
    });
    this.ready = this.#source.ready;
    // Whoever does not await `ready` learns of the failure from the loop.
    this.ready.catch((error: Error) => this.#finish(error));
    signal?.addEventListener("abort", abort, { once: true });
  }

  /**
   * Nodes that were silent when a watch began, known once it is {@link ready}: their events are missing until they
   * answer again. Empty: the stream is in effect everywhere. Always empty over NATS.
   */
  get unreachableNodes(): readonly string[] {
    return this.#source.unreachableNodes ?? [];
  }

  /** The next event; done when the stream was closed, or was ended in order. */
  async next(): Promise<IteratorResult<EventOf<K>, undefined>> {
    for (;;) {
      const entry = this.#events[this.#head];
      if (entry !== undefined) {
        this.#shift(entry.bytes);
        return { done: false, value: entry.event };
      }
      if (this.#end !== undefined) {
        if (this.#end.error !== undefined) throw this.#end.error;
        return { done: true, value: undefined };
      }
      const { promise, resolve } = deferred();
      this.#wake = resolve;
      await promise;
    }
  }

  /** Ends the loop at once; events not yet taken are dropped. Called by `break`. */
  async return(): Promise<IteratorResult<EventOf<K>, undefined>> {
    this.#events = [];
    this.#head = 0;
    this.#finish(undefined);
    await this.close();
    return { done: true, value: undefined };
  }

  /** Asks for no more events. The loop still gets what has arrived, and then ends. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#source.stop().finally(() => {
      this.#finish(undefined);
      this.#closed();
    });
    return this.#closing;
  }

  /** The stream itself: one loop takes from it. */
  [Symbol.asyncIterator](): this {
    return this;
  }

  /** As {@link close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #abort(signal: AbortSignal): void {
    this.#events = [];
    this.#head = 0;
    this.#finish(cancelledBy(signal));
  }

  #push(event: EventOf<K>, bytes: number): void {
    if (this.#end !== undefined) return;
    if (this.#bytes + bytes > this.#maxBytes && this.#bytes > 0) {
      const message = `more than ${this.#maxBytes} bytes of events wait for the loop`;
      this.#finish(errorOf(message, { code: "RESOURCE_EXHAUSTED", reason: "EVENTS_LAGGED" }));
      return;
    }
    this.#events.push({ event, bytes });
    this.#bytes += bytes;
    this.#wake?.();
  }

  #shift(bytes: number): void {
    this.#bytes -= bytes;
    this.#head++;
    if (this.#head < 1024 && this.#head < this.#events.length) return;
    this.#events.splice(0, this.#head);
    this.#head = 0;
  }

  /**
   * Ends the loop. The source ends with it: a subscription that stayed would take events of its queue group from
   * those who still listen.
   */
  #finish(error: Error | undefined): void {
    this.#end ??= { error };
    this.#wake?.();
    void this.close();
  }
}
