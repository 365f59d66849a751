import { create } from "@bufbuild/protobuf";
import { type BatchItem, BatchStream } from "./batch-stream.js";
import type { ControlChannel } from "./control.js";
import { confirmationOf, durationOf, messageOf } from "./convert.js";
import { cancelledBy, errorOf } from "./error-of.js";
import type { HoldfastError } from "./errors.js";
import { FailureLog, type SendFailure } from "./failure-log.js";
import { SendRequestSchema } from "./gen/holdfast/v1/connection_service_pb.js";
import type { CallOptions, SendOptions } from "./options.js";
import { Sent } from "./sent.js";
import { deferred, within } from "./wait.js";

/** Options of {@link Client.sender}. */
export interface SenderOptions {
  /** Sends in one batch at most. Default 256. */
  readonly batchSize?: number;
  /** Sends that are taken and not yet answered; beyond, {@link Sender.send} waits. Default 8192. */
  readonly maxPending?: number;
  /** Payload bytes that are taken and not yet answered; beyond, {@link Sender.send} waits. Default 8 MiB. */
  readonly maxPendingBytes?: number;
  /** Called once for each send that failed. Absent: {@link Sender.flush} throws what nobody asked for. */
  readonly onFailure?: (failure: SendFailure) => void;
}

/** A send that waits for room; `gone` when its caller gave up. */
interface Waiting {
  readonly item: BatchItem;
  readonly resolve: () => void;
  readonly reject: (error: HoldfastError) => void;
  gone: boolean;
}

/** Payload bytes after which a batch is complete; a request is at most 8 MiB, a message at most 1 MiB. */
const BATCH_BYTES = 1024 * 1024;
/** Batches that wait for their answer; the broker stops reading at 64. */
const MAX_OPEN_BATCHES = 32;

/**
 * Sends many messages to many connections in batches over one stream: the cheapest way to send much. Sends to
 * one connection keep the order of the calls; when one fails, later ones of its batch to the same connection
 * fail with {@link SkippedAfterFailure}. Nothing is sent twice: when the stream breaks, every send that has no
 * answer fails with {@link Unavailable}, and the next send begins a new stream, at another address if there is one.
 *
 * @example
 * await using sender = client.sender({ onFailure: ({ connectionId, error }) => console.warn(connectionId, error) });
 * for (const id of ids) await sender.send(id, "news");
 */
export class Sender {
  readonly #control: ControlChannel;
  readonly #options: SenderOptions & { batchSize: number; maxPending: number; maxPendingBytes: number };
  readonly #closed: (sender: Sender) => void;
  #stream: BatchStream | undefined;
  /** Taken, in no batch yet. */
  #queue: BatchItem[] = [];
  #queueBytes = 0;
  /** Taken and not answered: the queue and what is in open batches. */
  #pending = 0;
  #pendingBytes = 0;
  /** Sends that wait for room, in order. */
  #waiting: Waiting[] = [];
  #idle: (() => void)[] = [];
  #scheduled = false;
  readonly #failures: FailureLog;
  #closing: Promise<void> | undefined;

  /** Made by {@link Client.sender}; `closed` is told once. */
  constructor(control: ControlChannel, options: SenderOptions, closed: (sender: Sender) => void) {
    this.#control = control;
    this.#options = { batchSize: 256, maxPending: 8192, maxPendingBytes: 8 * 1024 * 1024, ...options };
    this.#failures = new FailureLog(options.onFailure);
    this.#closed = closed;
  }

  /**
   * Takes one message: it returns as soon as there is room, not when the message is sent, so that a loop which
   * awaits each call fills whole batches and slows down to the pace of the broker. The outcome is in
   * {@link Sent.confirmed}. `timeoutMs` and `signal` bound the wait for room; a message that was taken is sent.
   *
   * @throws {@link DeadlineExceeded}, {@link Cancelled}: not taken; a HoldfastError FAILED_PRECONDITION after close
   */
  async send(connectionId: string, data: string | Uint8Array, options: SendOptions = {}): Promise<Sent> {
    if (this.#closing !== undefined) throw errorOf("the sender is closed", { code: "FAILED_PRECONDITION" });
    if (options.signal?.aborted) throw cancelledBy(options.signal);
    const request = create(SendRequestSchema, {
      connectionId,
      message: messageOf(data, options),
      confirmation: confirmationOf(options.confirmation),
      expireAfter: durationOf(options.expireAfterMs),
      requestId: options.requestId,
    });
    const item = { request, bytes: Buffer.byteLength(data), sent: new Sent(connectionId) };
    if (this.#waiting.length === 0 && this.#hasRoom(item)) this.#take(item);
    else await this.#waitForRoom(item, options);
    return item.sent;
  }

  /**
   * Waits until every message taken so far is answered.
   *
   * @throws {@link SendFailures} when sends have failed, without `onFailure`, and nobody asked for their outcome;
   * {@link DeadlineExceeded}, {@link Cancelled}: only the waiting ended
   */
  async flush(options: CallOptions = {}): Promise<void> {
    await this.#answered(options);
    this.#failures.raise();
  }

  /**
   * Takes no more, waits until everything is answered and ends the stream. What has no answer when the waiting
   * ends fails with {@link Cancelled}. A second call waits for the same end.
   *
   * @throws {@link SendFailures} as {@link flush}
   */
  close(options: CallOptions = {}): Promise<void> {
    this.#closing ??= this.#close(options);
    return this.#closing;
  }

  /** As {@link close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(options: CallOptions): Promise<void> {
    try {
      await this.#answered(options);
      this.#stream?.end();
    } catch {
      if (this.#stream !== undefined) this.#stream.cancel();
      else this.#ended([], errorOf("the sender is closed", { code: "CANCELLED" }));
      await this.#answered({ timeoutMs: 0 });
    }
    this.#closed(this);
    this.#failures.raise();
  }

  async #answered(options: CallOptions): Promise<void> {
    if (this.#pending === 0) return;
    const { promise, resolve } = deferred();
    this.#idle.push(resolve);
    await within(promise, this.#limit(options), "sends without an answer");
  }

  #hasRoom(item: BatchItem): boolean {
    if (this.#pending === 0) return true;
    return (
      this.#pending < this.#options.maxPending &&
      this.#pendingBytes + item.bytes <= this.#options.maxPendingBytes
    );
  }

  async #waitForRoom(item: BatchItem, options: CallOptions): Promise<void> {
    const { promise, resolve, reject } = deferred();
    const place = { item, resolve, reject, gone: false };
    this.#waiting.push(place);
    try {
      await within(promise, this.#limit(options), "no room to send");
    } catch (error) {
      place.gone = true;
      throw error;
    }
  }

  #limit({ timeoutMs = this.#control.timeoutMs, signal }: CallOptions): CallOptions {
    return { timeoutMs, signal };
  }

  #take(item: BatchItem): void {
    this.#pending++;
    this.#pendingBytes += item.bytes;
    this.#queue.push(item);
    this.#queueBytes += item.bytes;
    if (this.#queue.length >= this.#options.batchSize || this.#queueBytes >= BATCH_BYTES)
      this.#writeBatches();
    if (this.#queue.length > 0 && !this.#scheduled) {
      this.#scheduled = true;
      // After the callers that are ready now, so that what they send together travels together.
      setImmediate(() => {
        this.#scheduled = false;
        this.#writeBatches();
      });
    }
  }

  #writeBatches(): void {
    while (this.#queue.length > 0 && (this.#stream?.openBatches ?? 0) < MAX_OPEN_BATCHES) {
      this.#stream ??= this.#begin();
      this.#stream.write(this.#nextBatch());
    }
  }

  #nextBatch(): BatchItem[] {
    let bytes = 0;
    let size = 0;
    for (const item of this.#queue) {
      if (size === this.#options.batchSize || bytes >= BATCH_BYTES) break;
      bytes += item.bytes;
      size++;
    }
    this.#queueBytes -= bytes;
    return this.#queue.splice(0, size);
  }

  #begin(): BatchStream {
    const stream: BatchStream = new BatchStream(this.#control, {
      answered: (items, failures) => {
        for (const [index, item] of items.entries()) this.#settle(item, failures.get(index));
        this.#writeBatches();
        this.#makeRoom();
      },
      ended: (items, error) => {
        if (this.#stream === stream) this.#stream = undefined;
        this.#ended(items, error);
      },
    });
    return stream;
  }

  #ended(items: readonly BatchItem[], error: HoldfastError): void {
    const unsent = this.#queue.splice(0);
    this.#queueBytes = 0;
    if (this.#closing !== undefined) for (const place of this.#waiting.splice(0)) place.reject(error);
    for (const item of [...items, ...unsent]) this.#settle(item, error);
    this.#makeRoom();
  }

  #settle(item: BatchItem, error: HoldfastError | undefined): void {
    this.#pending--;
    this.#pendingBytes -= item.bytes;
    item.sent.settle(error);
    if (error !== undefined) this.#failures.note(item.sent, error);
  }

  #makeRoom(): void {
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      if (!next.gone && !this.#hasRoom(next.item)) return;
      this.#waiting.shift();
      if (next.gone) continue;
      this.#take(next.item);
      next.resolve();
    }
    if (this.#pending === 0) for (const resolve of this.#idle.splice(0)) resolve();
  }
}
