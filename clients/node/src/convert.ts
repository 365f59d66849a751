// Between the schema's messages and what this package shows: dates, milliseconds, numbers and names.
import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Duration, durationFromMs, type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";
import { errorOf } from "./error-of.js";
import type { Closed, Connection, Tls } from "./facts.js";
import {
  Connection_State,
  type Connection as PbConnection,
  type Tls as PbTls,
} from "./gen/holdfast/v1/connection_pb.js";
import { Closed_Cause, Closed_Fault, type Closed as PbClosed } from "./gen/holdfast/v1/event_pb.js";
import { type MessageSchema, Confirmation as PbConfirmation } from "./gen/holdfast/v1/message_pb.js";
import type { Confirmation, MessageOptions } from "./options.js";

/** A date; undefined stays undefined. */
export function dateOf(time: Timestamp | undefined): Date | undefined {
  return time && timestampDate(time);
}

/** Milliseconds with their fraction; undefined stays undefined. */
export function msOf(duration: Duration | undefined): number | undefined {
  return duration && Number(duration.seconds) * 1e3 + duration.nanos / 1e6;
}

/** A duration; undefined stays undefined. */
export function durationOf(ms: number | undefined): Duration | undefined {
  return ms === undefined ? undefined : durationFromMs(ms);
}

/** The schema's number of a confirmation; absent is the RPC's default. */
export function confirmationOf(confirmation: Confirmation | undefined): PbConfirmation {
  if (confirmation === undefined) return PbConfirmation.CONFIRMATION_UNSPECIFIED;
  return PbConfirmation[confirmation];
}

/** The payload of a message: text must be whole code points, because an encoder would change it silently. */
export function payloadOf(data: string | Uint8Array): MessageInitShape<typeof MessageSchema>["payload"] {
  if (typeof data !== "string") return { case: "binary", value: data as Uint8Array<ArrayBuffer> };
  if (data.isWellFormed()) return { case: "text", value: data };
  throw errorOf("the text has a lone surrogate, so it is not Unicode", {
    code: "INVALID_ARGUMENT",
    reason: "INVALID_MESSAGE",
    metadata: { field: "message.text", allowed: "well-formed Unicode" },
  });
}

/** A whole message. */
export function messageOf(
  data: string | Uint8Array,
  options: MessageOptions,
): MessageInitShape<typeof MessageSchema> {
  return { payload: payloadOf(data), compress: options.compress };
}

/** The facts of a connection. */
export function connectionOf(pb: PbConnection): Connection {
  return {
    id: pb.id,
    node: pb.node,
    namespace: pb.namespace,
    endpoint: pb.endpoint,
    state: pb.state === Connection_State.CLOSING ? "CLOSING" : "OPEN",
    paused: pb.paused,
    url: pb.url,
    host: pb.host,
    remoteAddress: pb.remoteAddress,
    headers: pb.headers,
    subprotocol: pb.subprotocol,
    extensions: pb.extensions,
    user: pb.user,
    attributes: pb.attributes,
    groups: pb.groups,
    tls: pb.tls && tlsOf(pb.tls),
    openTime: dateOf(pb.openTime) ?? new Date(0),
    expireTime: dateOf(pb.expireTime),
    rttMs: msOf(pb.rtt),
    bufferedAmount: Number(pb.bufferedAmount),
    messagesIn: Number(pb.messagesIn),
    bytesIn: Number(pb.bytesIn),
    messagesOut: Number(pb.messagesOut),
    bytesOut: Number(pb.bytesOut),
    seq: Number(pb.seq),
  };
}

/** Facts of a TLS session. */
export function tlsOf(pb: PbTls): Tls {
  const certificate = pb.clientCertificate;
  return {
    version: pb.version,
    cipherSuite: pb.cipherSuite,
    serverName: pb.serverName,
    clientCertificate: certificate && {
      subject: certificate.subject,
      issuer: certificate.issuer,
      serialNumber: certificate.serialNumber,
      dnsNames: certificate.dnsNames,
      sha256: certificate.sha256,
      notAfter: dateOf(certificate.notAfter),
    },
  };
}

/** How a connection ended. */
export function closedOf(pb: PbClosed): Closed {
  return {
    id: pb.id,
    node: pb.node,
    namespace: pb.namespace,
    endpoint: pb.endpoint,
    user: pb.user,
    attributes: pb.attributes,
    code: pb.code,
    reason: pb.reason,
    sentCode: pb.sentCode,
    sentReason: pb.sentReason,
    wasClean: pb.wasClean,
    cause:
      pb.cause === Closed_Cause.CAUSE_UNSPECIFIED ? undefined : (Closed_Cause[pb.cause] as Closed["cause"]),
    fault:
      pb.fault === Closed_Fault.FAULT_UNSPECIFIED ? undefined : (Closed_Fault[pb.fault] as Closed["fault"]),
    detail: pb.detail,
    openTime: dateOf(pb.openTime),
    closeTime: dateOf(pb.closeTime),
    messagesIn: Number(pb.messagesIn),
    bytesIn: Number(pb.bytesIn),
    messagesOut: Number(pb.messagesOut),
    bytesOut: Number(pb.bytesOut),
  };
}
