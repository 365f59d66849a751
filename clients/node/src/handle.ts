import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { ControlChannel } from "./control.js";
import { confirmationOf, connectionOf, dateOf, durationOf, messageOf, msOf } from "./convert.js";
import type { Connection } from "./facts.js";
import { ConnectionService } from "./gen/holdfast/v1/connection_service_pb.js";
import { MessageWriter, type MessageWriterOptions } from "./message-writer.js";
import type { CallOptions, Confirmation, SendOptions } from "./options.js";

const rpc = ConnectionService.method;

/** What a send answers. */
export interface SendResult {
  /** Payload bytes in the connection's send queue after this message; 0: the kernel has taken everything. */
  readonly bufferedAmount: number;
  /** Milliseconds from the ping behind the message to its pong. Only with confirmation RECEIVED. */
  readonly rttMs: number | undefined;
}

/** Options of {@link ConnectionHandle.close}. */
export interface CloseOptions extends CallOptions {
  /** 1000–1003, 1007–1014 or 3000–4999. Default 1000. */
  readonly code?: number;
  /** At most 123 bytes of UTF-8. Default "". */
  readonly reason?: string;
  /** When to return. RECEIVED: when the connection has ended. WRITTEN: when the close frame is. Default RECEIVED. */
  readonly confirmation?: Confirmation;
}

/** How the client answered a close. */
export interface CloseResult {
  /** The code of the client's close frame; 1005: it had none; 1006: none came; 0: the call did not wait. */
  readonly code: number;
  /** The reason of the client's close frame. */
  readonly reason: string;
  /** Whether close frames went both ways. */
  readonly wasClean: boolean;
}

/** Options of {@link ConnectionHandle.pause}. */
export interface PauseOptions extends CallOptions {
  /**
   * Milliseconds after which the broker resumes by itself, so that a backend that died leaves nobody paused.
   * Above 0, at most the endpoint's `max_pause`. Absent: `max_pause` (10 min by default).
   */
  readonly resumeAfterMs?: number;
}

/** Options of {@link ConnectionHandle.ping}. */
export interface PingOptions extends CallOptions {
  /** At most 125 bytes; text is sent as UTF-8. Default empty. */
  readonly payload?: string | Uint8Array;
  /** When to return. Only RECEIVED, the default, measures the round trip. */
  readonly confirmation?: Confirmation;
}

/** Options of {@link ConnectionHandle.pong}. */
export interface PongOptions extends CallOptions {
  /** At most 125 bytes; text is sent as UTF-8. Default empty. */
  readonly payload?: string | Uint8Array;
  /** When to return; nobody answers a pong, so it cannot be RECEIVED. Default QUEUED. */
  readonly confirmation?: "QUEUED" | "WRITTEN";
}

/** What an update changes; what is absent stays as it is. */
export interface Update {
  /** Attributes to set by name; `null` removes one. Together at most 8 KiB of names and values. */
  readonly attributes?: Readonly<Record<string, string | null>>;
  /** Who the client is, at most 256 bytes; "" is nobody. */
  readonly user?: string;
  /** When the broker closes it (4401, cause EXPIRED); `null`: never. */
  readonly expireTime?: Date | null;
}

/**
 * One client WebSocket by its ID. Making a handle does no I/O and knows nothing of the socket: the connection
 * may live on any node, may have ended, and every method says so by {@link ConnectionNotFound}.
 *
 * Besides the errors that a method names, every method can fail with {@link Unavailable},
 * {@link DeadlineExceeded}, {@link Cancelled} and {@link InvalidArgument}.
 */
export class ConnectionHandle {
  /** The connection's ID. */
  readonly id: string;
  readonly #control: ControlChannel;

  /** Made by {@link Client.connection}. */
  constructor(id: string, control: ControlChannel) {
    this.id = id;
    this.#control = control;
  }

  /**
   * Sends one message: text for a string, else binary; at most 1 MiB. It never waits for a slow client. Sends
   * that are awaited one after the other arrive in that order.
   *
   * @throws {@link QueueFull}, {@link ConnectionClosing}; {@link MessageExpired} and {@link NotConfirmed} with
   * WRITTEN or RECEIVED; {@link ConnectionPaused} and {@link RateLimited} with RECEIVED.
   */
  async send(data: string | Uint8Array, options: SendOptions = {}): Promise<SendResult> {
    const request = {
      connectionId: this.id,
      message: messageOf(data, options),
      confirmation: confirmationOf(options.confirmation),
      expireAfter: durationOf(options.expireAfterMs),
      requestId: options.requestId,
    };
    const answer = await this.#control.unary(rpc.send, request, options, waits(options.confirmation));
    return { bufferedAmount: Number(answer.bufferedAmount), rttMs: msOf(answer.rtt) };
  }

  /** Begins a message that is sent in fragments as they are written; see {@link MessageWriter}. No I/O yet. */
  message(options: MessageWriterOptions = {}): MessageWriter {
    return new MessageWriter(this.id, this.#control, options);
  }

  /**
   * Sends what is queued, then a close frame, and waits for the client's. The broker gives the client 30 s by
   * default; a `timeoutMs` below that can end in {@link NotConfirmed}, and the closing goes on.
   *
   * @throws {@link NotConfirmed}
   */
  async close(options: CloseOptions = {}): Promise<CloseResult> {
    const { code, reason, confirmation } = options;
    const request = { connectionId: this.id, code, reason, confirmation: confirmationOf(confirmation) };
    const answer = await this.#control.unary(rpc.close, request, options, waits(confirmation ?? "RECEIVED"));
    return { code: answer.code, reason: answer.reason, wasClean: answer.wasClean };
  }

  /** Ends the TCP connection at once, without a closing handshake; the client sees 1006. */
  async terminate(options: CallOptions = {}): Promise<void> {
    await this.#control.unary(rpc.terminate, { connectionId: this.id }, options);
  }

  /**
   * Stops reading from the connection, so that the client's own `bufferedAmount` grows. No event of it follows,
   * but for `close` when its socket fails or a backend ends it. Answers when the broker will resume by itself.
   *
   * @throws {@link ConnectionClosing}
   */
  async pause(options: PauseOptions = {}): Promise<Date> {
    const request = { connectionId: this.id, resumeAfter: durationOf(options.resumeAfterMs) };
    const answer = await this.#control.unary(rpc.pause, request, options);
    return dateOf(answer.resumeTime) ?? new Date(0);
  }

  /**
   * Reads from a paused connection again; one that is not paused stays as it is.
   *
   * @throws {@link ConnectionClosing}
   */
  async resume(options: CallOptions = {}): Promise<void> {
    await this.#control.unary(rpc.resume, { connectionId: this.id }, options);
  }

  /**
   * Sends a ping and answers the milliseconds until its pong. With a lesser confirmation it does not wait for
   * the pong and answers undefined.
   *
   * @throws {@link ConnectionPaused}, {@link ConnectionClosing}, {@link NotConfirmed}, {@link QueueFull},
   * {@link RateLimited}
   */
  async ping(options?: PingOptions & { readonly confirmation?: "RECEIVED" }): Promise<number>;
  async ping(options: PingOptions): Promise<number | undefined>;
  async ping(options: PingOptions = {}): Promise<number | undefined> {
    const { payload, confirmation } = options;
    const request = {
      connectionId: this.id,
      payload: bytesOf(payload),
      confirmation: confirmationOf(confirmation),
    };
    const answer = await this.#control.unary(rpc.ping, request, options, waits(confirmation ?? "RECEIVED"));
    return msOf(answer.rtt);
  }

  /**
   * Sends an unsolicited pong (RFC 6455 5.5.3). The broker answers the client's pings by itself.
   *
   * @throws {@link ConnectionClosing}, {@link QueueFull}, {@link NotConfirmed}
   */
  async pong(options: PongOptions = {}): Promise<void> {
    const { payload, confirmation } = options;
    const request = {
      connectionId: this.id,
      payload: bytesOf(payload),
      confirmation: confirmationOf(confirmation),
    };
    await this.#control.unary(rpc.pong, request, options, waits(confirmation));
  }

  /** Asks what the broker knows of the connection. */
  async get(options: CallOptions = {}): Promise<Connection> {
    const answer = await this.#control.unary(rpc.get, { connectionId: this.id }, options);
    return connectionOf(present(answer.connection));
  }

  /**
   * Changes what backends know of the connection: all of it or, on an error, nothing.
   *
   * @throws {@link ConnectionClosing}
   */
  async update(update: Update, options: CallOptions = {}): Promise<Connection> {
    const attributes = Object.entries(update.attributes ?? {});
    const request = {
      connectionId: this.id,
      setAttributes: Object.fromEntries(
        attributes.filter((pair): pair is [string, string] => pair[1] !== null),
      ),
      removeAttributes: attributes.filter(([, value]) => value === null).map(([name]) => name),
      user: update.user,
      expireTime: update.expireTime ? timestampFromDate(update.expireTime) : undefined,
      clearExpireTime: update.expireTime === null,
    };
    const answer = await this.#control.unary(rpc.update, request, options);
    return connectionOf(present(answer.connection));
  }
}

/** Whether the call waits for more than the queue, so that its deadline means NOT_CONFIRMED. */
function waits(confirmation: Confirmation | undefined): { unconfirmed: boolean } {
  return { unconfirmed: confirmation === "WRITTEN" || confirmation === "RECEIVED" };
}

function bytesOf(payload: string | Uint8Array | undefined): Uint8Array<ArrayBuffer> | undefined {
  return (typeof payload === "string" ? new TextEncoder().encode(payload) : payload) as
    | Uint8Array<ArrayBuffer>
    | undefined;
}

function present<T>(value: T | undefined): T {
  if (value === undefined) throw new TypeError("the broker answered without a connection");
  return value;
}
