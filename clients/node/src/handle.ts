import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { ControlChannel } from "./control.js";
import { confirmationOf, connectionOf, dateOf, durationOf, messageOf, msOf } from "./convert.js";
import type { Connection } from "./facts.js";
import { ConnectionService } from "./gen/holdfast/v1/connection_service_pb.js";
import { type AddMembersResponse, GroupService } from "./gen/holdfast/v1/group_service_pb.js";
import type {
  CloseOptions,
  CloseResult,
  ConnectionOptions,
  PauseOptions,
  PingOptions,
  PongOptions,
  SendResult,
  Update,
} from "./handle-options.js";
import { MessageWriter, type MessageWriterOptions } from "./message-writer.js";
import type { CallOptions, Confirmation, SendOptions } from "./options.js";
import { errorFromFailure } from "./status.js";

const rpc = ConnectionService.method;

/** Makes the handle of a connection. */
export type HandleMaker = (id: string, options: ConnectionOptions) => ConnectionHandle;

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
  /** The connection's namespace, as whoever made the handle knew it. */
  readonly namespace: string;
  readonly #control: ControlChannel;

  /** Made by {@link Client.connection}. */
  constructor(id: string, control: ControlChannel, { namespace = "default" }: ConnectionOptions = {}) {
    this.id = id;
    this.namespace = namespace;
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
      requestId: options.requestId ?? this.#control.requestId(),
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

  /**
   * Makes the connection a member of one group or of up to 100: of all of them or, on an error, of none. Every later
   * {@link GroupHandle.publish} reaches it. A group that it is in already is no error.
   *
   * @throws {@link TooManyGroups} beyond 1,000 groups; {@link ConnectionNotFound} also when it lives in another
   * namespace than the handle says
   */
  async join(groups: string | readonly string[], options: CallOptions = {}): Promise<void> {
    raise(await this.#control.unary(GroupService.method.addMembers, this.#membership(groups), options));
  }

  /**
   * Ends the connection's membership in one group or in up to 100: no later {@link GroupHandle.publish} reaches it. A
   * group that it is not in is no error.
   *
   * @throws {@link ConnectionNotFound} also when it lives in another namespace than the handle says
   */
  async leave(groups: string | readonly string[], options: CallOptions = {}): Promise<void> {
    raise(await this.#control.unary(GroupService.method.removeMembers, this.#membership(groups), options));
  }

  #membership(groups: string | readonly string[]) {
    const { namespace, id } = this;
    return { namespace, groups: typeof groups === "string" ? [groups] : [...groups], connectionIds: [id] };
  }
}

/** Throws the failure of the one connection of a request, if there is one. */
function raise({ failures: [failure] }: Pick<AddMembersResponse, "failures">): void {
  if (failure !== undefined) throw errorFromFailure(failure);
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
