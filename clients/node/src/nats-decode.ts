// One NATS message of the broker as an event. Pure but for the reply, which goes back over the same connection.
import { fromJsonString } from "@bufbuild/protobuf";
import type { Msg } from "@nats-io/transport-node";
import { closedOf, connectionOf } from "./convert.js";
import {
  EVENT_KINDS,
  type EventKind,
  type HoldfastEvent,
  type MessageEvent,
  type ReplyOptions,
} from "./events.js";
import { ConnectionSchema } from "./gen/holdfast/v1/connection_pb.js";
import { ClosedSchema } from "./gen/holdfast/v1/event_pb.js";
import type { HandleMaker } from "./handle.js";

const json = { ignoreUnknownFields: true };
const attributeHeader = "Holdfast-Attr-";

/** What the subject `<prefix>.<namespace>.<kind>.<id>` says. */
export interface Subject {
  readonly namespace: string;
  readonly kind: EventKind;
  readonly id: string;
}

/** What decoding needs from its surroundings. */
export interface DecodeContext {
  /** The handle of a connection. */
  readonly connection: HandleMaker;
  /** Answers a message event. */
  reply(message: Msg, data: string | Uint8Array, options?: ReplyOptions): Promise<void>;
}

/** Reads the last three tokens of a subject; undefined for one that is not an event's. */
export function parseSubject(subject: string): Subject | undefined {
  const [id, kind, namespace] = subject.split(".").reverse();
  if (id === undefined || kind === undefined || namespace === undefined) return undefined;
  return EVENT_KINDS.includes(kind as EventKind) ? { namespace, kind: kind as EventKind, id } : undefined;
}

/** The sequence number of an event; undefined where it carries none. */
export function seqOf(message: Msg): number | undefined {
  const seq = Number(message.headers?.get("Holdfast-Seq") || Number.NaN);
  return Number.isSafeInteger(seq) ? seq : undefined;
}

/** Makes the event of a message. Throws when its payload is not what the subject says. */
export function decodeEvent(message: Msg, subject: Subject, context: DecodeContext): HoldfastEvent {
  const base = {
    connection: context.connection(subject.id, { namespace: subject.namespace }),
    namespace: subject.namespace,
    seq: seqOf(message),
    user: percentDecoded(message.headers?.get("Holdfast-User") ?? ""),
  };
  switch (subject.kind) {
    case "open": {
      const opened = connectionOf(fromJsonString(ConnectionSchema, message.string(), json));
      return { ...base, kind: "open", user: base.user || opened.user, opened };
    }
    case "close": {
      const closed = closedOf(fromJsonString(ClosedSchema, message.string(), json));
      return { ...base, kind: "close", user: base.user || closed.user, closed };
    }
    case "message": {
      const attributes = attributesOf(message);
      const reply: MessageEvent["reply"] = (data, options) => context.reply(message, data, options);
      if (message.headers?.get("Holdfast-Opcode") !== "text")
        return { ...base, kind: "message", attributes, opcode: "binary", data: message.data, reply };
      return { ...base, kind: "message", attributes, opcode: "text", data: message.string(), reply };
    }
    case "ping":
    case "pong":
      return { ...base, kind: subject.kind, payload: message.data };
    case "writable":
      return {
        ...base,
        kind: "writable",
        bufferedAmount: Number(message.json<Writable>().buffered_amount ?? 0),
      };
  }
}

interface Writable {
  readonly buffered_amount?: number | string;
}

function attributesOf(message: Msg): Record<string, string> {
  const attributes: Record<string, string> = {};
  for (const [name, values] of message.headers ?? []) {
    if (!name.startsWith(attributeHeader)) continue;
    attributes[name.slice(attributeHeader.length)] = percentDecoded(values[0] ?? "");
  }
  return attributes;
}

/** Undoes percent-encoding; a value that is not percent-encoded UTF-8 stays as it is. */
export function percentDecoded(value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}
