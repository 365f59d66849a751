import type { ControlChannel } from "./control.js";
import { confirmationOf, durationOf, payloadOf } from "./convert.js";
import { errorOf } from "./error-of.js";
import { type HoldfastError, QueueFull } from "./errors.js";
import { ConnectionService } from "./gen/holdfast/v1/connection_service_pb.js";
import type { CallOptions, MessageOptions } from "./options.js";

/** Options of {@link ConnectionHandle.message}. `timeoutMs` and `signal` hold for each fragment. */
export interface MessageWriterOptions extends CallOptions, MessageOptions {}

/**
 * Sends one message in fragments as they are written, so that the message need never be in memory as a whole.
 * The first fragment decides whether it is text or binary; a text fragment is whole code points.
 *
 * Only {@link end} completes the message. A writer that is disposed of before, or whose write failed, abandons
 * it: nobody must take half a message for a whole one, so the broker closes the connection with 1011 when no
 * fragment follows within 10 s. Other messages to the connection wait behind an unfinished one.
 *
 * @example
 * await using message = client.connection(id).message();
 * for await (const part of source) await message.write(part);
 * await message.end();
 */
export class MessageWriter {
  readonly #connectionId: string;
  readonly #control: ControlChannel;
  readonly #options: MessageWriterOptions;
  #fragmentId = "";
  #kind: "text" | "binary" | undefined;
  #state: "open" | "ended" | "failed" | "abandoned" = "open";
  /** Grows with each failure, so that what was written before a failure was known is not sent after it. */
  #failures = 0;
  #last: Promise<unknown> = Promise.resolve();

  /** Made by {@link ConnectionHandle.message}. */
  constructor(connectionId: string, control: ControlChannel, options: MessageWriterOptions) {
    this.#connectionId = connectionId;
    this.#control = control;
    this.#options = options;
  }

  /**
   * Sends one fragment and returns when the kernel has taken it, so that awaiting each write keeps the pace of
   * the client. Fragments are sent in the order of the calls; after {@link QueueFull}, which took nothing, the
   * same fragment can be written again, after any other failure the message is abandoned. For clients slower than a fragment per 5 s, set a
   * greater `timeoutMs`.
   *
   * @throws {@link QueueFull}, {@link ConnectionClosing}, {@link ConnectionNotFound}, {@link NotConfirmed}
   */
  write(data: string | Uint8Array): Promise<void> {
    return this.#next(data, true);
  }

  /**
   * Completes the message, with a last fragment or, without `data`, an empty one. It returns when the message
   * has the `confirmation` of the options.
   *
   * @throws as {@link ConnectionHandle.send}
   */
  end(data?: string | Uint8Array): Promise<void> {
    return this.#next(data, false);
  }

  /** Abandons the message unless {@link end} was called; waits for the call under way. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#state === "open") this.#state = "abandoned";
    await this.#last;
  }

  #next(data: string | Uint8Array | undefined, more: boolean): Promise<void> {
    const failures = this.#failures;
    const sent = this.#last.then(() => this.#send(data, more, failures));
    this.#last = sent.catch(() => undefined);
    return sent;
  }

  async #send(data: string | Uint8Array | undefined, more: boolean, failures: number): Promise<void> {
    if (this.#state !== "open") throw refused(`the message is ${this.#state}`);
    if (this.#failures !== failures) throw refused("an earlier fragment was not sent");
    const fragment = data ?? (this.#kind === "binary" ? new Uint8Array() : "");
    this.#kind ??= typeof fragment === "string" ? "text" : "binary";
    try {
      await this.#call(fragment, more);
      if (!more) this.#state = "ended";
    } catch (error) {
      this.#failures++;
      if (!(error instanceof QueueFull)) this.#state = "failed";
      throw error;
    }
  }

  async #call(data: string | Uint8Array, more: boolean): Promise<void> {
    const { confirmation, expireAfterMs, compress } = this.#options;
    const wanted = more ? "WRITTEN" : confirmation;
    const first = this.#fragmentId === "";
    const request = {
      connectionId: this.#connectionId,
      message: {
        payload: payloadOf(data),
        more,
        fragmentId: this.#fragmentId,
        compress: first ? compress : undefined,
      },
      confirmation: confirmationOf(wanted),
      expireAfter: first ? durationOf(expireAfterMs) : undefined,
      requestId: this.#control.requestId(),
    };
    const unconfirmed = wanted !== undefined && wanted !== "QUEUED";
    const answer = await this.#control.unary(ConnectionService.method.send, request, this.#options, {
      unconfirmed,
    });
    this.#fragmentId = answer.fragmentId;
  }
}

function refused(message: string): HoldfastError {
  return errorOf(message, { code: "FAILED_PRECONDITION" });
}
