import type { Closed, Connection } from "./facts.js";
import type { ConnectionHandle } from "./handle.js";
import type { CallOptions } from "./options.js";

/** What every event carries. */
interface EventBase {
  /** The connection it happened on, to act upon. */
  readonly connection: ConnectionHandle;
  /** The connection's namespace. */
  readonly namespace: string;
  /**
   * Counts open, message and close of the connection from 1 without gaps; the other kinds carry that of the
   * event before them. A gap shows events that were lost. Absent: the close of a connection whose node died, of
   * which nobody knows it.
   */
  readonly seq: number | undefined;
  /** Who the client is; "" when nobody has said, or the event does not carry it. */
  readonly user: string;
}

/** The handshake was accepted: the first event of a connection. */
export interface OpenEvent extends EventBase {
  readonly kind: "open";
  /** The connection as it was when it opened. */
  readonly opened: Connection;
}

/** Options of {@link MessageEvent}'s `reply`. */
export interface ReplyOptions extends CallOptions {
  /**
   * Whether to wait until the broker has taken the reply. With false it is published and that is all: cheaper,
   * and a refusal is not seen. In a watch it is always waited for. Default true.
   */
  readonly confirm?: boolean;
}

interface MessageBase extends EventBase {
  readonly kind: "message";
  /** Those attributes that the endpoint's `event_attributes` names. */
  readonly attributes: Readonly<Record<string, string>>;
  /**
   * Sends one message back: text for a string, else binary. It returns when the broker has it in the
   * connection's send queue. Over NATS it goes to the reply subject of the event; in a watch it is a
   * {@link ConnectionHandle.send}.
   *
   * @throws {@link QueueFull}, {@link ConnectionClosing}, {@link ConnectionNotFound}, {@link InvalidArgument}
   */
  reply(data: string | Uint8Array, options?: ReplyOptions): Promise<void>;
}

/** The client sent a text message. */
export interface TextMessageEvent extends MessageBase {
  readonly opcode: "text";
  /** The message. */
  readonly data: string;
}

/** The client sent a binary message. */
export interface BinaryMessageEvent extends MessageBase {
  readonly opcode: "binary";
  /** The message. */
  readonly data: Uint8Array;
}

/** The client sent a message; `opcode` tells text from binary. */
export type MessageEvent = TextMessageEvent | BinaryMessageEvent;

/**
 * The connection ended: its last event, and the only one of its kind in a stream (see {@link Client.events}). It comes
 * also for a connection whose open was not seen, because it was there before, or because its node died between
 * recording the open and publishing it.
 */
export interface CloseEvent extends EventBase {
  readonly kind: "close";
  /** How it ended, and what passed through it; with the cause NODE_LOST and no `seq` the latter is not known. */
  readonly closed: Closed;
}

/** The client sent a ping, where the endpoint's `events` asks for it; the broker has answered. */
export interface PingEvent extends EventBase {
  readonly kind: "ping";
  /** The ping's payload. */
  readonly payload: Uint8Array;
}

/** The client sent a pong that confirms nothing, where the endpoint's `events` asks for it. */
export interface PongEvent extends EventBase {
  readonly kind: "pong";
  /** The pong's payload. */
  readonly payload: Uint8Array;
}

/** A send queue that had refused a send is empty again. */
export interface WritableEvent extends EventBase {
  readonly kind: "writable";
  /** Payload bytes still queued. */
  readonly bufferedAmount: number;
}

/** Something happened on a connection; `kind` tells what. */
export type HoldfastEvent = OpenEvent | MessageEvent | CloseEvent | PingEvent | PongEvent | WritableEvent;

/** Kind of an event. */
export type EventKind = HoldfastEvent["kind"];

/** The events of some kinds. */
export type EventOf<K extends EventKind> = Extract<HoldfastEvent, { readonly kind: K }>;

/** Every kind there is. */
export const EVENT_KINDS: readonly EventKind[] = ["open", "message", "close", "ping", "pong", "writable"];
