import type { CallOptions, Confirmation } from "./options.js";

/** What a send answers. */
export interface SendResult {
  /** Payload bytes in the connection's send queue after this message; 0: the kernel has taken everything. */
  readonly bufferedAmount: number;
  /** Milliseconds from the ping behind the message to its pong. Only with confirmation RECEIVED. */
  readonly rttMs: number | undefined;
}

/** Options of {@link Client.connection}. */
export interface ConnectionOptions {
  /** The connection's namespace; only joining and leaving groups needs it. Events know it. Default "default". */
  readonly namespace?: string;
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
