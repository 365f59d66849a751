import {
  type Msg,
  type NatsConnection,
  PermissionViolationError,
  type Subscription,
} from "@nats-io/transport-node";
import { errorOf } from "./error-of.js";
import type { EventSink, EventSource } from "./event-stream.js";
import { EVENT_KINDS, type EventKind } from "./events.js";
import type { HandleMaker } from "./handle.js";
import { type DecodeContext, decodeEvent, parseSubject, seqOf } from "./nats-decode.js";
import { replyTo } from "./nats-reply.js";
import { Repeats } from "./repeats.js";
import { within } from "./wait.js";

/** What to subscribe to. */
export interface NatsSelection {
  readonly prefix: string;
  readonly namespace: string;
  readonly kinds: readonly EventKind[];
  readonly queue: string | undefined;
}

/**
 * The subjects of a selection. Messages and another kind are one subscription with a wildcard, because NATS
 * promises no order between two; what is not wanted is dropped here. In a queue group each kind has its own, so
 * that no worker is given what it would drop.
 */
export function subjectsOf({ prefix, namespace, kinds, queue }: NatsSelection): string[] {
  const wanted = new Set(kinds);
  const all = wanted.size === EVENT_KINDS.length;
  const together = queue === undefined && wanted.has("message") && wanted.size > 1;
  return (all || together ? ["*"] : [...wanted]).map((kind) => `${prefix}.${namespace}.${kind}.*`);
}

/** Events from NATS. All subscriptions share one NATS connection, which keeps the order between them. */
export class NatsSource implements EventSource {
  readonly ready: Promise<void>;
  readonly #subscriptions: Subscription[];
  readonly #kinds: ReadonlySet<EventKind>;
  readonly #repeats = new Repeats();
  readonly #sink: EventSink;
  readonly #context: DecodeContext;
  readonly #timeoutMs: number;
  #stopped = false;

  constructor(
    nats: NatsConnection,
    selection: NatsSelection,
    connection: HandleMaker,
    timeoutMs: number,
    sink: EventSink,
  ) {
    this.#kinds = new Set(selection.kinds);
    this.#sink = sink;
    this.#timeoutMs = timeoutMs;
    this.#context = {
      connection,
      reply: (message, data, options) => replyTo(nats, message, data, options ?? {}, timeoutMs),
    };
    const callback = (error: Error | null, message: Msg) => this.#received(error, message);
    const options = { callback, ...(selection.queue !== undefined && { queue: selection.queue }) };
    try {
      this.#subscriptions = subjectsOf(selection).map((subject) => nats.subscribe(subject, options));
    } catch (cause) {
      const code = nats.isClosed() ? "UNAVAILABLE" : "INVALID_ARGUMENT";
      throw errorOf("cannot subscribe to events", { code, cause });
    }
    this.ready = within(nats.flush(), { timeoutMs }, "subscribing to events").catch((cause: Error) => {
      throw errorOf("cannot subscribe to events", { code: "UNAVAILABLE", cause });
    });
    for (const subscription of this.#subscriptions) void this.#watch(subscription);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    const open = this.#subscriptions.filter((subscription) => !subscription.isClosed());
    const drained = Promise.all(open.map((subscription) => subscription.drain()));
    // While NATS is away nothing can be drained; after the limit the subscription just ends.
    await within(drained, { timeoutMs: this.#timeoutMs }, "draining").catch(() => {});
    for (const subscription of open) if (!subscription.isClosed()) subscription.unsubscribe();
  }

  /** Ends the stream when NATS ends the subscription, or the connection under it: then no event can come any more. */
  async #watch(subscription: Subscription): Promise<void> {
    const error = await subscription.closed;
    if (error instanceof Error) this.#failed(error);
    else if (this.#stopped) this.#sink.end();
    else this.#failed();
  }

  #failed(cause?: Error): void {
    const code = cause instanceof PermissionViolationError ? "PERMISSION_DENIED" : "UNAVAILABLE";
    this.#sink.fail(errorOf("the subscription to events has ended", { code, cause }));
  }

  #received(error: Error | null, message: Msg): void {
    if (error !== null) {
      this.#failed(error);
      return;
    }
    const subject = parseSubject(message.subject);
    if (subject === undefined || !this.#kinds.has(subject.kind)) return;
    if (this.#repeats.isRepeat(subject.id, subject.kind, seqOf(message))) return;
    try {
      this.#sink.push(decodeEvent(message, subject, this.#context), message.data.length);
    } catch (cause) {
      const what = `an event on ${message.subject} that this client cannot read`;
      this.#sink.fail(errorOf(what, { code: "INTERNAL", cause }));
    }
  }
}
