import type { ErrorReason } from "./gen/holdfast/v1/error_reason_pb.js";

/** Name of a gRPC status code: the class of a failure. */
export type StatusCode =
  | "CANCELLED"
  | "UNKNOWN"
  | "INVALID_ARGUMENT"
  | "DEADLINE_EXCEEDED"
  | "NOT_FOUND"
  | "ALREADY_EXISTS"
  | "PERMISSION_DENIED"
  | "RESOURCE_EXHAUSTED"
  | "FAILED_PRECONDITION"
  | "ABORTED"
  | "OUT_OF_RANGE"
  | "UNIMPLEMENTED"
  | "INTERNAL"
  | "UNAVAILABLE"
  | "DATA_LOSS"
  | "UNAUTHENTICATED";

/** A reason that this version of the client knows: a name of the schema's `ErrorReason`. */
export type KnownReason = Exclude<keyof typeof ErrorReason, "ERROR_REASON_UNSPECIFIED">;

/** The fact behind a failure. A newer broker may send names that this client does not know. */
export type Reason = KnownReason | (string & {});

/** What a {@link HoldfastError} is made of. */
export interface HoldfastErrorInit {
  /** The class of the failure. */
  readonly code: StatusCode;
  /** The fact. Absent: nobody stated one, for example because the broker was not reached. */
  readonly reason?: Reason;
  /** Details by name, for example `connection_id`, `field`, `allowed`. Default: none. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** What lies beneath: the error of a library, or the reason of an AbortSignal. */
  readonly cause?: unknown;
}

/**
 * The one error of this package: every failed call rejects with it or with a subclass. Decide by class,
 * `code` or `reason`; the text is for people and may change.
 */
export class HoldfastError extends Error {
  static {
    HoldfastError.prototype.name = "HoldfastError";
  }
  /** The class of the failure: the name of a gRPC status code. */
  readonly code: StatusCode;
  /** The fact: a name of the schema's `ErrorReason`. Absent: nobody stated one. */
  readonly reason: Reason | undefined;
  /** Details by name; empty when there are none. */
  readonly metadata: Readonly<Record<string, string>>;

  /** Makes an error whose message begins with code and reason. */
  constructor(message: string, init: HoldfastErrorInit) {
    const fact = init.reason === undefined ? init.code : `${init.code} ${init.reason}`;
    super(`${fact}: ${message}`, init.cause === undefined ? undefined : { cause: init.cause });
    this.code = init.code;
    this.reason = init.reason;
    this.metadata = init.metadata ?? {};
  }
}

/** The connection has ended or never existed: CONNECTION_NOT_FOUND or CONNECTION_GONE. Final. */
export class ConnectionNotFound extends HoldfastError {
  static {
    ConnectionNotFound.prototype.name = "ConnectionNotFound";
  }
}

/** No node of that ID is part of the broker: it has stopped, or never existed. Final. */
export class NodeNotFound extends HoldfastError {
  static {
    NodeNotFound.prototype.name = "NodeNotFound";
  }
}

/** The connection would be in more than 1,000 groups. It has joined none of the call's. */
export class TooManyGroups extends HoldfastError {
  static {
    TooManyGroups.prototype.name = "TooManyGroups";
  }
}

/** The closing handshake has begun, so nothing more can be sent. Final. */
export class ConnectionClosing extends HoldfastError {
  static {
    ConnectionClosing.prototype.name = "ConnectionClosing";
  }
}

/** The connection is not read at present, so nothing can be confirmed as RECEIVED. Nothing was sent. */
export class ConnectionPaused extends HoldfastError {
  static {
    ConnectionPaused.prototype.name = "ConnectionPaused";
  }
}

/** The send queue has no room; the message was not taken. Retry after the `writable` event. */
export class QueueFull extends HoldfastError {
  static {
    QueueFull.prototype.name = "QueueFull";
  }
}

/** `expireAfterMs` passed while the message waited in the queue; it was not sent. */
export class MessageExpired extends HoldfastError {
  static {
    MessageExpired.prototype.name = "MessageExpired";
  }
}

/** More is under way than a limit of the broker allows. Nothing was sent. Retry later. */
export class RateLimited extends HoldfastError {
  static {
    RateLimited.prototype.name = "RateLimited";
  }
}

/**
 * Events came faster than the loop took them, and a bounded buffer was full: the broker's (WATCH_LAGGED) or
 * this client's (EVENTS_LAGGED). The stream has ended; what happened after the last event is missing from it.
 */
export class SlowConsumer extends HoldfastError {
  static {
    SlowConsumer.prototype.name = "SlowConsumer";
  }
}

/** An earlier send of the same batch to the same connection failed, so this one was not tried. */
export class SkippedAfterFailure extends HoldfastError {
  static {
    SkippedAfterFailure.prototype.name = "SkippedAfterFailure";
  }
}

/** The credentials are missing or wrong (UNAUTHENTICATED), or not enough (PERMISSION_DENIED). */
export class PermissionDenied extends HoldfastError {
  static {
    PermissionDenied.prototype.name = "PermissionDenied";
  }
}

/** A request the broker refuses whatever its state; `metadata` has `field`, `value` and `allowed`. */
export class InvalidArgument extends HoldfastError {
  static {
    InvalidArgument.prototype.name = "InvalidArgument";
  }
}

/** No answer within `timeoutMs`. Whether the call took effect is unknown. */
export class DeadlineExceeded extends HoldfastError {
  static {
    DeadlineExceeded.prototype.name = "DeadlineExceeded";
  }
}

/** The confirmation asked for did not come in time: whether the message arrived is unknown, not failed. */
export class NotConfirmed extends DeadlineExceeded {
  static {
    NotConfirmed.prototype.name = "NotConfirmed";
  }
}

/**
 * The broker, or the node that holds the connection, was not reached. With BUS_UNAVAILABLE, NODE_STOPPING and
 * KEYS_UNAVAILABLE nothing was done; otherwise the outcome is unknown: retry a send with the same `requestId`.
 */
export class Unavailable extends HoldfastError {
  static {
    Unavailable.prototype.name = "Unavailable";
  }
}

/** The call's `signal` was aborted; `cause` is its reason. Whether the call took effect is unknown. */
export class Cancelled extends HoldfastError {
  static {
    Cancelled.prototype.name = "Cancelled";
  }
}
