import type { ClientReadableStream, ServiceError } from "@grpc/grpc-js";
import type { ControlChannel } from "./control.js";
import { closedOf, connectionOf } from "./convert.js";
import { errorOf } from "./error-of.js";
import type { EventSink, EventSource } from "./event-stream.js";
import type { EventKind, HoldfastEvent, MessageEvent } from "./events.js";
import { ConnectionService, type WatchResponse } from "./gen/holdfast/v1/connection_service_pb.js";
import { Event_Kind, Opcode, type Event as PbEvent } from "./gen/holdfast/v1/event_pb.js";
import type { HandleMaker } from "./handle.js";
import { errorFromService } from "./status.js";
import { deferred, within } from "./wait.js";

/** What to watch; fields that are set must all match. */
export interface WatchFilter<K extends EventKind = EventKind> {
  /** Only this namespace. Absent: all. */
  readonly namespace?: string;
  /** Only connections that belong to this user when the event happens. Absent: all. */
  readonly user?: string;
  /** Only this connection. Absent: all. */
  readonly connectionId?: string;
  /** Only these kinds. Absent: all. */
  readonly kinds?: readonly K[];
}

const kindNumber: Readonly<Record<EventKind, Event_Kind>> = {
  open: Event_Kind.OPEN,
  message: Event_Kind.MESSAGE,
  close: Event_Kind.CLOSE,
  ping: Event_Kind.PING,
  pong: Event_Kind.PONG,
  writable: Event_Kind.WRITABLE,
};

/** Events from a Watch call. */
export class WatchSource implements EventSource {
  readonly ready: Promise<void>;
  unreachableNodes: readonly string[] = [];
  readonly #call: ClientReadableStream<WatchResponse>;
  #stopped = false;

  constructor(control: ControlChannel, filter: WatchFilter, connection: HandleMaker, sink: EventSink) {
    const { namespace, user, connectionId } = filter;
    const kinds = filter.kinds?.map((kind) => kindNumber[kind]);
    // First, because it may throw: then there is no watch, and nothing that could be late.
    this.#call = control.serverStream(ConnectionService.method.watch, {
      namespace,
      user,
      connectionId,
      kinds,
    });
    const started = deferred();
    this.ready = within(started.promise, { timeoutMs: control.timeoutMs }, "beginning a watch");
    this.#call.on("data", ({ item }: WatchResponse) => {
      if (item.case === "started") {
        this.unreachableNodes = item.value.unreachableNodes;
        started.resolve();
      }
      if (item.case !== "event") return;
      const event = eventOf(item.value, connection);
      if (event !== undefined) sink.push(event, item.value.payload.length);
    });
    this.#call.on("error", (cause: ServiceError) => {
      const error = errorFromService(cause, false);
      started.reject(error);
      if (this.#stopped) sink.end();
      else sink.fail(error);
    });
    this.#call.on("end", () => {
      started.reject(errorOf("the broker ended the watch", { code: "UNAVAILABLE" }));
      sink.end();
    });
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#call.cancel();
  }
}

/** The event of a watch; undefined for a kind that this client does not know. */
export function eventOf(pb: PbEvent, connectionOfId: HandleMaker): HoldfastEvent | undefined {
  const connection = connectionOfId(pb.connectionId, { namespace: pb.namespace });
  const base = { connection, namespace: pb.namespace, seq: Number(pb.seq) || undefined, user: pb.user };
  switch (pb.kind) {
    case Event_Kind.OPEN:
      return pb.connection && { ...base, kind: "open", opened: connectionOf(pb.connection) };
    case Event_Kind.CLOSE:
      return pb.closed && { ...base, kind: "close", closed: closedOf(pb.closed) };
    case Event_Kind.MESSAGE: {
      const { attributes, payload } = pb;
      const reply: MessageEvent["reply"] = async (data, options) =>
        void (await connection.send(data, options));
      if (pb.opcode !== Opcode.TEXT)
        return { ...base, kind: "message", attributes, opcode: "binary", data: payload, reply };
      const data = new TextDecoder().decode(payload);
      return { ...base, kind: "message", attributes, opcode: "text", data, reply };
    }
    case Event_Kind.PING:
      return { ...base, kind: "ping", payload: pb.payload };
    case Event_Kind.PONG:
      return { ...base, kind: "pong", payload: pb.payload };
    case Event_Kind.WRITABLE:
      return { ...base, kind: "writable", bufferedAmount: Number(pb.bufferedAmount) };
    default:
      return undefined;
  }
}
