// google.rpc.Status and google.rpc.ErrorInfo, read from the trailer in which gRPC carries error details.
// The two messages are small and frozen, so they are decoded here instead of generated.
import { BinaryReader } from "@bufbuild/protobuf/wire";
import { status as grpcStatus, type ServiceError } from "@grpc/grpc-js";
import { errorOf } from "./error-of.js";
import type { HoldfastError, StatusCode } from "./errors.js";
import { ErrorReason } from "./gen/holdfast/v1/error_reason_pb.js";

/** The `reason` and `metadata` of a google.rpc.ErrorInfo. */
export interface ErrorInfo {
  readonly reason: string;
  readonly domain: string;
  readonly metadata: Readonly<Record<string, string>>;
}

const errorInfoUrl = "type.googleapis.com/google.rpc.ErrorInfo";

/** Reads the fields of one message; `read` handles a field or returns false to skip it. */
function readFields(bytes: Uint8Array, read: (field: number, reader: BinaryReader) => boolean): void {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (!read(field, reader)) reader.skip(wireType, field);
  }
}

function readPair(bytes: Uint8Array): [string, string] {
  let key = "";
  let value = "";
  readFields(bytes, (field, reader) => {
    if (field === 1) key = reader.string();
    else if (field === 2) value = reader.string();
    else return false;
    return true;
  });
  return [key, value];
}

function readErrorInfo(bytes: Uint8Array): ErrorInfo {
  let reason = "";
  let domain = "";
  const metadata: [string, string][] = [];
  readFields(bytes, (field, reader) => {
    if (field === 1) reason = reader.string();
    else if (field === 2) domain = reader.string();
    else if (field === 3) metadata.push(readPair(reader.bytes()));
    else return false;
    return true;
  });
  return { reason, domain, metadata: Object.fromEntries(metadata) };
}

function readAny(bytes: Uint8Array): ErrorInfo | undefined {
  let url = "";
  let value = new Uint8Array();
  readFields(bytes, (field, reader) => {
    if (field === 1) url = reader.string();
    else if (field === 2) value = reader.bytes() as Uint8Array<ArrayBuffer>;
    else return false;
    return true;
  });
  return url === errorInfoUrl ? readErrorInfo(value) : undefined;
}

/** Finds holdfast's ErrorInfo in a serialized google.rpc.Status; undefined when there is none. */
export function readStatusDetails(bytes: Uint8Array): ErrorInfo | undefined {
  let found: ErrorInfo | undefined;
  try {
    readFields(bytes, (field, reader) => {
      if (field !== 3) return false;
      const info = readAny(reader.bytes());
      if (info?.domain === "holdfast") found ??= info;
      return true;
    });
  } catch {
    // A proxy wrote something else into the trailer: the status code alone decides.
    return undefined;
  }
  return found;
}

/** The name of a gRPC status code; UNKNOWN for a number that gRPC does not define. */
export function codeName(code: number): StatusCode {
  const name = grpcStatus[code];
  return name === undefined || name === "OK" ? "UNKNOWN" : (name as StatusCode);
}

/** The name of a reason that travels by number; undefined for zero, the number itself when unknown. */
export function reasonName(reason: ErrorReason): string | undefined {
  if (reason === ErrorReason.ERROR_REASON_UNSPECIFIED) return undefined;
  return ErrorReason[reason] ?? String(reason);
}

/** The error of a send that failed inside an answer: SendMany, SendStream, a reply's verdict. */
export function errorFromFailure(failure: {
  readonly code: number;
  readonly reason: ErrorReason;
  readonly message: string;
  readonly connectionId: string;
}): HoldfastError {
  return errorOf(failure.message, {
    code: codeName(failure.code),
    reason: reasonName(failure.reason),
    metadata: { connection_id: failure.connectionId },
  });
}

/**
 * The error of a failed call. `unconfirmed` says that the call waited for a confirmation: then its own
 * deadline means the same as the broker's NOT_CONFIRMED, whichever of the two fires first.
 */
export function errorFromService(error: ServiceError, unconfirmed: boolean): HoldfastError {
  const details = error.metadata?.get("grpc-status-details-bin")[0];
  const info = Buffer.isBuffer(details) ? readStatusDetails(details) : undefined;
  const code = codeName(error.code);
  const reason = info?.reason || (code === "DEADLINE_EXCEEDED" && unconfirmed ? "NOT_CONFIRMED" : undefined);
  return errorOf(error.details || error.message, { code, reason, metadata: info?.metadata, cause: error });
}
