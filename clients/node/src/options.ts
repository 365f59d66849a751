import type { NodeConnectionOptions } from "@nats-io/transport-node";

/** What every call takes. */
export interface CallOptions {
  /**
   * Milliseconds until the call is given up with {@link DeadlineExceeded} or {@link NotConfirmed}. The broker
   * sees the same deadline. Absent: the client's `timeoutMs`. 0: no limit.
   */
  readonly timeoutMs?: number;
  /** Gives the call up with {@link Cancelled} when it is aborted. Absent: the call cannot be aborted. */
  readonly signal?: AbortSignal;
}

/**
 * What a sender wants to know before a call returns. QUEUED: the message is in the connection's send queue.
 * WRITTEN: the kernel has taken its last byte. RECEIVED: the peer's WebSocket answered a ping sent behind it;
 * that does not prove that code of the page ran.
 */
export type Confirmation = "QUEUED" | "WRITTEN" | "RECEIVED";

/** How one message is sent. */
export interface MessageOptions {
  /** When the send counts as done. Absent: QUEUED. */
  readonly confirmation?: Confirmation;
  /**
   * Milliseconds after which the message is not written any more when it still waits in the queue; the send
   * then fails with {@link MessageExpired}. Above 0, at most 24 h. Absent: it never expires.
   */
  readonly expireAfterMs?: number;
  /** Whether to compress, where the connection agreed on it. Absent: as the endpoint decides. */
  readonly compress?: boolean;
}

/** Options of {@link ConnectionHandle.send}. */
export interface SendOptions extends CallOptions, MessageOptions {
  /**
   * Makes a repeat harmless: the connection remembers its last 16, and answers a repeat as the first time
   * without sending anything. At most 64 bytes, unique per connection. Absent: no such protection, but for the
   * repeats that this client makes itself with several `control` addresses.
   */
  readonly requestId?: string;
}

/** TLS towards the control API. Certificates and keys are PEM. */
export interface TlsOptions {
  /** Authorities to trust. Absent: those of the system. */
  readonly ca?: string | Uint8Array;
  /** The client's certificate chain; needs `key`. Absent: none is presented. */
  readonly cert?: string | Uint8Array;
  /** The client's private key; needs `cert`. */
  readonly key?: string | Uint8Array;
  /** The name the certificate of each address must carry. Absent: the host of the address. */
  readonly serverName?: string;
}

/** What is sent with a call beside the request, by its name in lower case. */
export type Metadata = Readonly<Record<string, string>>;

/** Options of {@link connect}. */
export interface ConnectOptions {
  /**
   * Where the broker serves gRPC: "host:port" or "unix:/path"; several, of nodes of one cluster, as an array or
   * separated by commas. With several, unary calls go to the connected ones in turn, a stream stays where it began, and
   * an address that cannot be reached costs nothing while another can. Default "127.0.0.1:7400".
   */
  readonly control?: string | readonly string[];
  /**
   * With several `control` addresses, how often a call is made at most, each time at another address if there is one,
   * within its `timeoutMs`; between two attempts it waits up to 50 ms, then up to twice as long each time, drawn at
   * random. What certainly had no effect is made again; what may have had one only where a repeat does no harm,
   * which sends get by a `requestId` that is made for those without. 1: nothing is repeated. Default 5. With one
   * address nothing ever is.
   */
  readonly maxAttempts?: number;
  /** TLS towards the control API. `true`: with the system's authorities. Absent or false: plain text. */
  readonly tls?: boolean | TlsOptions;
  /**
   * Sent with every call, for example `{ authorization: "Bearer …" }`; or a function that is asked at every call, for
   * tokens that change: what it throws is the call's error. Default: nothing.
   */
  readonly metadata?: Metadata | (() => Metadata);
  /**
   * Where events come from: a NATS URL, several, or the options of `@nats-io/transport-node`. Absent: NATS is
   * not used, and {@link Client.events} fails; {@link Client.watch} works without it.
   */
  readonly nats?: string | string[] | NodeConnectionOptions;
  /** First token of the subjects that the broker publishes to. Default "holdfast". */
  readonly eventPrefix?: string;
  /** First token of the subjects that the broker listens to. Default "holdfast-in". */
  readonly inboundPrefix?: string;
  /** `timeoutMs` of calls that name none, in milliseconds. Default 5000. 0: no limit. */
  readonly timeoutMs?: number;
  /** Milliseconds that `connect` waits for the broker and for NATS. Default 5000. 0: no limit. */
  readonly connectTimeoutMs?: number;
  /**
   * Milliseconds between HTTP/2 pings, so that a broker that vanished is noticed: calls then fail with
   * {@link Unavailable} once a ping is unanswered for 10 s. Default 20000. 0: no pings.
   */
  readonly keepaliveMs?: number;
  /** Gives the connecting up with {@link Cancelled}. Absent: it cannot be aborted. */
  readonly signal?: AbortSignal;
}

/** Milliseconds a call may take when neither it nor the client says otherwise. */
export const DEFAULT_TIMEOUT_MS = 5_000;
/** How often a call is made at most, with several addresses. */
export const DEFAULT_MAX_ATTEMPTS = 5;
/** Where a broker with default settings listens for gRPC. */
export const DEFAULT_CONTROL = "127.0.0.1:7400";
/** First token of the subjects of a broker with default settings. */
export const DEFAULT_EVENT_PREFIX = "holdfast";
/** First token of the subjects that a broker with default settings listens to. */
export const DEFAULT_INBOUND_PREFIX = "holdfast-in";
/** Milliseconds between HTTP/2 pings. */
export const DEFAULT_KEEPALIVE_MS = 20_000;
/** Milliseconds an HTTP/2 ping may stay unanswered. */
export const KEEPALIVE_TIMEOUT_MS = 10_000;
