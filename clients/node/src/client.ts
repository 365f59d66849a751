import type { NatsConnection } from "@nats-io/transport-node";
import type { ControlChannel } from "./control.js";
import { confirmationOf, durationOf, messageOf } from "./convert.js";
import { cancelledBy, errorOf } from "./error-of.js";
import { type EventSink, type EventSource, EventStream } from "./event-stream.js";
import { EVENT_KINDS, type EventKind } from "./events.js";
import type { Filter } from "./facts.js";
import type { SendFailure } from "./failure-log.js";
import { ConnectionService } from "./gen/holdfast/v1/connection_service_pb.js";
import { ConnectionHandle } from "./handle.js";
import { Listing, type ListOptions } from "./listing.js";
import { NatsSource } from "./nats-source.js";
import type { CallOptions, MessageOptions } from "./options.js";
import { Sender, type SenderOptions } from "./sender.js";
import { errorFromFailure } from "./status.js";
import { within } from "./wait.js";
import { type WatchFilter, WatchSource } from "./watch-source.js";

/** Options of an event stream. */
export interface StreamOptions {
  /**
   * Bytes of events that may wait for the loop; beyond, the stream ends with {@link SlowConsumer}. Default 64 MiB.
   */
  readonly maxBufferedBytes?: number;
  /** Ends the loop with {@link Cancelled} when it is aborted. Absent: only closing ends it. */
  readonly signal?: AbortSignal;
}

/** Options of {@link Client.events}. */
export interface EventsOptions<K extends EventKind = EventKind> extends StreamOptions {
  /** The namespace; "*": all of them. Default "default". */
  readonly namespace?: string;
  /** Only these kinds. Absent: all. Ask for "message" only where messages are wanted: they are the bulk. */
  readonly kinds?: readonly K[];
  /**
   * Name of a NATS queue group: each event goes to one of its subscribers, so that workers share the load; the
   * events of one connection then spread over them. Absent: this stream gets every event.
   */
  readonly queue?: string;
}

/** Options of {@link Client.watch}. */
export interface WatchOptions<K extends EventKind = EventKind> extends StreamOptions, WatchFilter<K> {}

/** What {@link Client.count} answers. */
export interface Count {
  /** Connections that match. */
  readonly count: number;
  /** Nodes that did not answer in time and are not counted. Empty: the count is complete. */
  readonly unreachableNodes: readonly string[];
}

/** What {@link Client.sendMany} answers; it succeeds even when every send fails. */
export interface SendManyResult {
  /** Sends that have the confirmation asked for. */
  readonly succeeded: number;
  /** The others, in the order of the IDs. */
  readonly failures: readonly SendFailure[];
}

/** Bytes of events that may wait for a loop. */
const MAX_BUFFERED_BYTES = 64 * 1024 * 1024;

/**
 * A connection to one broker: its control API and, for {@link events}, its NATS. Made by {@link connect}. Both
 * reconnect by themselves; calls made meanwhile fail with {@link Unavailable}, because nothing is sent twice.
 */
export class Client {
  readonly #control: ControlChannel;
  readonly #nats: NatsConnection | undefined;
  readonly #eventPrefix: string;
  readonly #open = new Set<{ close(): Promise<void> }>();
  #closing: Promise<void> | undefined;

  /** Made by {@link connect}. */
  constructor(control: ControlChannel, nats: NatsConnection | undefined, eventPrefix: string) {
    this.#control = control;
    this.#nats = nats;
    this.#eventPrefix = eventPrefix;
  }

  /** The handle of one connection by its ID. No I/O: whether it exists shows when the handle is used. */
  connection(id: string): ConnectionHandle {
    return new ConnectionHandle(id, this.#control);
  }

  /** The connections that match, for `for await`, page by page. No I/O before the loop. */
  list(filter: Filter = {}, options: ListOptions = {}): Listing {
    return new Listing(this.#control, filter, options);
  }

  /** Counts the connections that match. */
  async count(filter: Filter = {}, options: CallOptions = {}): Promise<Count> {
    const answer = await this.#control.unary(
      ConnectionService.method.count,
      { filter: { ...filter } },
      options,
    );
    return { count: Number(answer.count), unreachableNodes: answer.unreachableNodes };
  }

  /**
   * Sends one message to up to 10,000 connections: an ID that stands twice gets it twice. The failures of single
   * sends are in the answer.
   *
   * @throws {@link InvalidArgument}
   */
  async sendMany(
    connectionIds: readonly string[],
    data: string | Uint8Array,
    options: CallOptions & MessageOptions = {},
  ): Promise<SendManyResult> {
    const { confirmation, expireAfterMs } = options;
    const request = {
      connectionIds: [...connectionIds],
      message: messageOf(data, options),
      confirmation: confirmationOf(confirmation),
      expireAfter: durationOf(expireAfterMs),
    };
    const unconfirmed = confirmation !== undefined && confirmation !== "QUEUED";
    const answer = await this.#control.unary(ConnectionService.method.sendMany, request, options, {
      unconfirmed,
    });
    const failures = answer.failures.map((failure) => ({
      connectionId: failure.connectionId,
      error: errorFromFailure(failure),
    }));
    return { succeeded: answer.succeeded, failures };
  }

  /** Opens a {@link Sender} for many messages. Its stream begins with the first. */
  sender(options: SenderOptions = {}): Sender {
    this.#refuseClosed();
    return this.#keep(new Sender(this.#control, options, (sender) => this.#open.delete(sender)));
  }

  /**
   * Subscribes to events over NATS, at once; await `ready` before doing what they answer.
   *
   * From the broker to NATS every event arrives at least once, in order per connection; repeats that this stream
   * recognizes (the last 65,536 connections) are dropped, as is what follows a close. From NATS to here it is at
   * most once: a gap in `seq` shows a loss. In a queue group events of one connection reach several workers, and
   * a repeat can reach another worker than the event did.
   *
   * The loop throws {@link Unavailable} when NATS ends the subscription, and {@link SlowConsumer} when the loop
   * is too slow. A lost NATS connection ends nothing: it is made again.
   */
  events<K extends EventKind = EventKind>(options: EventsOptions<K> = {}): EventStream<K> {
    this.#refuseClosed();
    const nats = this.#nats;
    if (nats === undefined)
      throw errorOf("connect was not given `nats`; use watch, or pass it", { code: "FAILED_PRECONDITION" });
    const { namespace = "default", kinds = EVENT_KINDS, queue } = options;
    const selection = { prefix: this.#eventPrefix, namespace, kinds, queue };
    const handle = (id: string) => this.connection(id);
    return this.#stream(
      options,
      (sink) => new NatsSource(nats, selection, handle, this.#control.timeoutMs, sink),
    );
  }

  /**
   * Watches events over the control API, at once, for a backend without NATS; await `ready` before doing what
   * they answer. In order per connection; there is no replay, and no queue group.
   *
   * The loop throws {@link SlowConsumer} when it is too slow, and {@link Unavailable} when the broker stops or is
   * lost: events until a new watch is ready are missed, and `list` tells what is open then.
   */
  watch<K extends EventKind = EventKind>(options: WatchOptions<K> = {}): EventStream<K> {
    this.#refuseClosed();
    const handle = (id: string) => this.connection(id);
    return this.#stream(options, (sink) => new WatchSource(this.#control, options, handle, sink));
  }

  /**
   * Ends event streams (their loops still get what has arrived), waits until senders are answered, and closes
   * NATS and the control API. Idempotent: a second call waits for the same end.
   *
   * @throws {@link SendFailures} when a sender that was still open has failures nobody asked for
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** As {@link close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    const ends = await Promise.allSettled([...this.#open].map((open) => open.close()));
    if (this.#nats !== undefined && !this.#nats.isClosed()) {
      const { timeoutMs } = this.#control;
      // While NATS is away there is nobody to drain to.
      await within(this.#nats.drain(), { timeoutMs }, "draining NATS").catch(() => this.#nats?.close());
    }
    this.#control.close();
    const failed = ends.find((end) => end.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }

  #stream<K extends EventKind>(
    options: StreamOptions,
    open: (sink: EventSink) => EventSource,
  ): EventStream<K> {
    const { maxBufferedBytes = MAX_BUFFERED_BYTES, signal } = options;
    if (signal?.aborted) throw cancelledBy(signal);
    return this.#keep(
      new EventStream<K>(maxBufferedBytes, open, signal, (stream) => this.#open.delete(stream)),
    );
  }

  #keep<T extends { close(): Promise<void> }>(open: T): T {
    this.#open.add(open);
    return open;
  }

  #refuseClosed(): void {
    if (this.#closing !== undefined) throw errorOf("the client is closed", { code: "FAILED_PRECONDITION" });
  }
}
