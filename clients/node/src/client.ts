import { type AdmitOptions, Doorkeeper, type HandshakeHandler } from "./admission.js";
import { Audience, type NamespaceOptions } from "./audience.js";
import type {
  Count,
  EventsOptions,
  Group,
  GroupsOptions,
  SendManyResult,
  StreamOptions,
  WatchOptions,
} from "./client-options.js";
import type { ControlChannel } from "./control.js";
import { confirmationOf, connectionOf, durationOf, messageOf } from "./convert.js";
import { cancelledBy, errorOf } from "./error-of.js";
import { type EventSink, type EventSource, EventStream } from "./event-stream.js";
import { EVENT_KINDS, type EventKind } from "./events.js";
import type { Connection, Filter } from "./facts.js";
import { ConnectionService } from "./gen/holdfast/v1/connection_service_pb.js";
import { GroupService } from "./gen/holdfast/v1/group_service_pb.js";
import { NodeService } from "./gen/holdfast/v1/node_service_pb.js";
import { GroupHandle } from "./group.js";
import { ConnectionHandle, type HandleMaker } from "./handle.js";
import type { ConnectionOptions } from "./handle-options.js";
import { Listing, type ListOptions } from "./listing.js";
import type { NatsOutlet } from "./nats-group.js";
import { NatsSource } from "./nats-source.js";
import { type BrokerNode, NodeHandle, nodeOf } from "./node.js";
import type { CallOptions, MessageOptions } from "./options.js";
import { Sender, type SenderOptions } from "./sender.js";
import { errorFromFailure } from "./status.js";
import { within } from "./wait.js";
import { WatchSource } from "./watch-source.js";

/** Bytes of events that may wait for a loop. */
const MAX_BUFFERED_BYTES = 64 * 1024 * 1024;

/** The NATS side of a client. */
export interface NatsSide extends NatsOutlet {
  /** First token of the subjects that the broker publishes to. */
  readonly eventPrefix: string;
}

/**
 * A connection to a broker: its control API and, for {@link events}, its NATS. Made by {@link connect}. Both
 * reconnect by themselves; calls made meanwhile go to another `control` address or, where there is none, fail with
 * {@link Unavailable}.
 */
export class Client {
  readonly #control: ControlChannel;
  readonly #nats: NatsSide | undefined;
  readonly #handle: HandleMaker = (id, options) => this.connection(id, options);
  readonly #open = new Set<{ close(): Promise<void> }>();
  #closing: Promise<void> | undefined;

  /** Made by {@link connect}. */
  constructor(control: ControlChannel, nats: NatsSide | undefined) {
    this.#control = control;
    this.#nats = nats;
  }

  /** The handle of one connection by its ID. No I/O: whether it exists shows when the handle is used. */
  connection(id: string, options: ConnectionOptions = {}): ConnectionHandle {
    return new ConnectionHandle(id, this.#control, options);
  }

  /** The handle of one group by its name. No I/O. */
  group(name: string, options: NamespaceOptions = {}): GroupHandle {
    return new GroupHandle(this.#control, name, options, this.#nats);
  }

  /** All connections of one user, 1 to 256 bytes. No I/O. */
  user(user: string, options: NamespaceOptions = {}): Audience {
    return new Audience(this.#control, { case: "user", value: user }, options);
  }

  /** All connections of a namespace. No I/O. */
  everyone(options: NamespaceOptions = {}): Audience {
    return new Audience(this.#control, { case: "everyone", value: true }, options);
  }

  /** The handle of one broker node by its ID; without one, whichever answers. No I/O. */
  node(id = ""): NodeHandle {
    return new NodeHandle(this.#control, id);
  }

  /** Asks for every node that the answering one knows, by ID. */
  async nodes(options: CallOptions = {}): Promise<readonly BrokerNode[]> {
    const answer = await this.#control.unary(NodeService.method.listNodes, {}, options);
    return answer.nodes.map(nodeOf);
  }

  /** The connections that match, for `for await`, page by page. No I/O before the loop. */
  list(filter: Filter = {}, options: ListOptions = {}): Listing<Connection> {
    return new Listing(async (pageToken) => {
      const request = { filter: { ...filter }, pageSize: options.pageSize, pageToken };
      const page = await this.#control.unary(ConnectionService.method.list, request, options);
      return { ...page, items: page.connections.map(connectionOf) };
    });
  }

  /** The groups that have members, by name, for `for await`, page by page. No I/O before the loop. */
  groups(options: GroupsOptions = {}): Listing<Group> {
    const { namespace, prefix, pageSize } = options;
    return new Listing(async (pageToken) => {
      const request = { namespace, prefix, pageSize, pageToken };
      const page = await this.#control.unary(GroupService.method.listGroups, request, options);
      return { ...page, items: page.groups.map(({ name, members }) => ({ name, members: Number(members) })) };
    });
  }

  /** Counts the connections that match. */
  async count(filter: Filter = {}, options: CallOptions = {}): Promise<Count> {
    const answer = await this.#control.unary(
      ConnectionService.method.count,
      { filter: { ...filter } },
      options,
    );
    return { count: Number(answer.count), unreachableNodes: answer.unreachableNodes };
  }

  /**
   * Sends one message to up to 10,000 connections: an ID that stands twice gets it twice. The failures of single
   * sends are in the answer.
   *
   * @throws {@link InvalidArgument}
   */
  async sendMany(
    connectionIds: readonly string[],
    data: string | Uint8Array,
    options: CallOptions & MessageOptions = {},
  ): Promise<SendManyResult> {
    const { confirmation, expireAfterMs } = options;
    const request = {
      connectionIds: [...connectionIds],
      message: messageOf(data, options),
      confirmation: confirmationOf(confirmation),
      expireAfter: durationOf(expireAfterMs),
    };
    const unconfirmed = confirmation !== undefined && confirmation !== "QUEUED";
    const answer = await this.#control.unary(ConnectionService.method.sendMany, request, options, {
      unconfirmed,
    });
    const failures = answer.failures.map((failure) => ({
      connectionId: failure.connectionId,
      error: errorFromFailure(failure),
    }));
    return { succeeded: answer.succeeded, failures };
  }

  /** Opens a {@link Sender} for many messages. Its stream begins with the first. */
  sender(options: SenderOptions = {}): Sender {
    this.#refuseClosed();
    return this.#keep(new Sender(this.#control, options, (sender) => this.#open.delete(sender)));
  }

  /**
   * Subscribes to events over NATS, at once; await `ready` before doing what they answer.
   *
   * From the broker to NATS every event arrives at least once, in order per connection; repeats that this stream
   * recognizes (the last 65,536 connections) are dropped, as is what follows a close. From NATS to here it is at
   * most once: a gap in `seq` shows a loss. In a queue group events of one connection reach several workers, and
   * a repeat can reach another worker than the event did.
   *
   * So a connection has one close event here, also when its node was killed and whoever publishes the close does so
   * twice. A repeat of a close is dropped until 65,536 other connections were heard of; another stream, another
   * worker and this program after a restart take it for news.
   *
   * The loop throws {@link Unavailable} when NATS ends the subscription, {@link PermissionDenied} when its user may not
   * subscribe to this, and {@link SlowConsumer} when the loop is too slow. A lost NATS connection ends nothing: it is made again.
   */
  events<K extends EventKind = EventKind>(options: EventsOptions<K> = {}): EventStream<K> {
    this.#refuseClosed();
    if (this.#nats === undefined)
      throw errorOf("connect was not given `nats`; use watch, or pass it", { code: "FAILED_PRECONDITION" });
    const { nats, eventPrefix: prefix } = this.#nats;
    const { namespace = "default", kinds = EVENT_KINDS, queue } = options;
    const selection = { prefix, namespace, kinds, queue };
    const { timeoutMs } = this.#control;
    return this.#stream(options, (sink) => new NatsSource(nats, selection, this.#handle, timeoutMs, sink));
  }

  /** Decides who may connect to the endpoints of a namespace whose admission is `backend`. */
  admit(handler: HandshakeHandler, options: AdmitOptions = {}): Doorkeeper {
    this.#refuseClosed();
    return new Doorkeeper(this.#nats, handler, options, this.#control.timeoutMs, this.#open);
  }

  /**
   * Watches events over the control API, at once, for a backend without NATS; await `ready` before doing what
   * they answer. In order per connection; there is no replay, and no queue group.
   *
   * The loop throws {@link SlowConsumer} when it is too slow, and {@link Unavailable} when the node that answers it
   * stops or, with the reason NODE_UNREACHABLE, any node is lost: the closes of its connections are not seen here,
   * events until a new watch is ready are missed, and `list` tells what is open then. With several `control`
   * addresses it stays with the one where it began, and a new watch begins at another.
   */
  watch<K extends EventKind = EventKind>(options: WatchOptions<K> = {}): EventStream<K> {
    this.#refuseClosed();
    return this.#stream(options, (sink) => new WatchSource(this.#control, options, this.#handle, sink));
  }

  /**
   * Ends event streams (their loops still get what has arrived), waits until senders are answered, and closes
   * NATS and the control API. Idempotent: a second call waits for the same end.
   *
   * @throws {@link SendFailures} when a sender that was still open has failures nobody asked for
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** As {@link close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    const ends = await Promise.allSettled([...this.#open].map((open) => open.close()));
    const nats = this.#nats?.nats;
    if (nats !== undefined && !nats.isClosed()) {
      const { timeoutMs } = this.#control;
      // While NATS is away there is nobody to drain to.
      await within(nats.drain(), { timeoutMs }, "draining NATS").catch(() => nats.close());
    }
    this.#control.close();
    const failed = ends.find((end) => end.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }

  #stream<K extends EventKind>(
    options: StreamOptions,
    open: (sink: EventSink) => EventSource,
  ): EventStream<K> {
    const { maxBufferedBytes = MAX_BUFFERED_BYTES, signal } = options;
    if (signal?.aborted) throw cancelledBy(signal);
    return this.#keep(
      new EventStream<K>(maxBufferedBytes, open, signal, (stream) => this.#open.delete(stream)),
    );
  }

  #keep<T extends { close(): Promise<void> }>(open: T): T {
    this.#open.add(open);
    return open;
  }

  #refuseClosed(): void {
    if (this.#closing !== undefined) throw errorOf("the client is closed", { code: "FAILED_PRECONDITION" });
  }
}
