import {
  Cancelled,
  ConnectionClosing,
  ConnectionNotFound,
  ConnectionPaused,
  DeadlineExceeded,
  HoldfastError,
  type HoldfastErrorInit,
  InvalidArgument,
  MessageExpired,
  NodeNotFound,
  NotConfirmed,
  PermissionDenied,
  QueueFull,
  RateLimited,
  SkippedAfterFailure,
  SlowConsumer,
  type StatusCode,
  TooManyGroups,
  Unavailable,
} from "./errors.js";

type ErrorClass = new (message: string, init: HoldfastErrorInit) => HoldfastError;

const byReason: Readonly<Record<string, ErrorClass>> = {
  CONNECTION_NOT_FOUND: ConnectionNotFound,
  CONNECTION_GONE: ConnectionNotFound,
  CONNECTION_CLOSING: ConnectionClosing,
  CONNECTION_PAUSED: ConnectionPaused,
  SEND_QUEUE_FULL: QueueFull,
  MESSAGE_EXPIRED: MessageExpired,
  RATE_LIMITED: RateLimited,
  WATCH_LAGGED: SlowConsumer,
  EVENTS_LAGGED: SlowConsumer,
  SKIPPED_AFTER_FAILURE: SkippedAfterFailure,
  NOT_CONFIRMED: NotConfirmed,
  NODE_NOT_FOUND: NodeNotFound,
  TOO_MANY_GROUPS: TooManyGroups,
};

const byCode: Partial<Record<StatusCode, ErrorClass>> = {
  INVALID_ARGUMENT: InvalidArgument,
  DEADLINE_EXCEEDED: DeadlineExceeded,
  PERMISSION_DENIED: PermissionDenied,
  UNAUTHENTICATED: PermissionDenied,
  UNAVAILABLE: Unavailable,
  CANCELLED: Cancelled,
};

/** Makes the error of the class that fits the reason or, for a reason without one, the code. */
export function errorOf(message: string, init: HoldfastErrorInit): HoldfastError {
  const known = Object.hasOwn(byReason, init.reason ?? "") ? byReason[init.reason ?? ""] : undefined;
  const Class = known ?? byCode[init.code] ?? HoldfastError;
  return new Class(message, init);
}

/** The error of a call whose signal was aborted. */
export function cancelledBy(signal: AbortSignal): HoldfastError {
  return errorOf("aborted by the caller's signal", { code: "CANCELLED", cause: signal.reason });
}

/** The error of a metadata value that no header may have. The library's own shows the value, which may be a secret. */
export function refusedMetadata(name: string): HoldfastError {
  return errorOf(`the metadata ${JSON.stringify(name)} has a character that a header must not have`, {
    code: "INVALID_ARGUMENT",
    metadata: { field: "metadata", allowed: "printable ASCII" },
  });
}
