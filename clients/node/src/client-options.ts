import type { EventKind } from "./events.js";
import type { SendFailure } from "./failure-log.js";
import type { CallOptions } from "./options.js";
import type { WatchFilter } from "./watch-source.js";

/** Options of an event stream. */
export interface StreamOptions {
  /**
   * Bytes of events that may wait for the loop; beyond, the stream ends with {@link SlowConsumer}. Default 64 MiB.
   */
  readonly maxBufferedBytes?: number;
  /** Ends the loop with {@link Cancelled} when it is aborted. Absent: only closing ends it. */
  readonly signal?: AbortSignal;
}

/** Options of {@link Client.events}. */
export interface EventsOptions<K extends EventKind = EventKind> extends StreamOptions {
  /** The namespace; "*": all of them. Default "default". */
  readonly namespace?: string;
  /** Only these kinds. Absent: all. Ask for "message" only where messages are wanted: they are the bulk. */
  readonly kinds?: readonly K[];
  /**
   * Name of a NATS queue group: each event goes to one of its subscribers, so that workers share the load; the
   * events of one connection then spread over them. Absent: this stream gets every event.
   */
  readonly queue?: string;
}

/** Options of {@link Client.watch}. */
export interface WatchOptions<K extends EventKind = EventKind> extends StreamOptions, WatchFilter<K> {}

/** What {@link Client.count} answers. */
export interface Count {
  /** Connections that match. */
  readonly count: number;
  /** Nodes that did not answer in time and are not counted. Empty: the count is complete. */
  readonly unreachableNodes: readonly string[];
}

/** What {@link Client.sendMany} answers; it succeeds even when every send fails. */
export interface SendManyResult {
  /** Sends that have the confirmation asked for. */
  readonly succeeded: number;
  /** The others, in the order of the IDs. */
  readonly failures: readonly SendFailure[];
}

/** Options of {@link Client.groups}. `timeoutMs` holds for each page. */
export interface GroupsOptions extends CallOptions {
  /** The namespace. Default "default". */
  readonly namespace?: string;
  /** Only groups whose name begins with this. Default "": all. */
  readonly prefix?: string;
  /** Groups in one page. Default 100, at most 1000. */
  readonly pageSize?: number;
}

/** A group that has members. */
export interface Group {
  /** Its name within the namespace. */
  readonly name: string;
  /** How many connections are in it. */
  readonly members: number;
}
