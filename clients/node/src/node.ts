import type { ControlChannel } from "./control.js";
import { dateOf, msOf } from "./convert.js";
import {
  Node_State,
  NodeService,
  type Node_Life as PbLife,
  type Node as PbNode,
} from "./gen/holdfast/v1/node_service_pb.js";
import type { CallOptions } from "./options.js";

/**
 * READY: it accepts connections. DRAINING: it is stopping in order, and its connections are being closed. SILENT:
 * nothing was heard from it for at least 5 s; its connections may live, and calls about them are tried. FROZEN: it cannot
 * write its life record, so it publishes nothing, reads no client and answers BUS_UNAVAILABLE; its sockets stay.
 */
export type NodeState = Exclude<keyof typeof Node_State, "STATE_UNSPECIFIED">;

/** How the record stands by which every open has exactly one close. */
export interface NodeLife {
  /** Milliseconds for which other nodes must still believe that it lives; 0: it is frozen. */
  readonly leaseLeftMs: number;
  /** Opens and closes that the record has not taken yet, so that they are not published. */
  readonly waiting: number;
  /** How often its lease has run out. */
  readonly freezes: number;
  /** Dead nodes whose closes it has published. */
  readonly claims: number;
  /** Closes with cause NODE_LOST that it has published for them. */
  readonly lost: number;
  /** Closes that they had recorded, published in their place: the same bytes, perhaps for the second time. */
  readonly repeatedCloses: number;
}

/** One broker process, as the one that answers sees it. */
export interface BrokerNode {
  /** New at every start; the IDs of its connections begin with it. */
  readonly id: string;
  /** Name of the NATS server that is embedded in it, the same at every start; "" with an external one. */
  readonly serverName: string;
  /** Version of the broker. */
  readonly version: string;
  /** Whether it is in service. Absent: a state that this client does not know. */
  readonly state: NodeState | undefined;
  /** Where it accepts clients: "ws://127.0.0.1:8080". */
  readonly listen: readonly string[];
  /** Where it serves gRPC: "127.0.0.1:7400". */
  readonly control: string;
  /** Its operations HTTP: "http://127.0.0.1:7401". */
  readonly ops: string;
  /** When it was started. Absent: not known. */
  readonly startTime: Date | undefined;
  /** Connections that were open when it was last heard of: at most 2 s before, while it is not SILENT. */
  readonly connections: number;
  /** When the answering node last heard of it, on that node's clock. Absent: not known. */
  readonly seenTime: Date | undefined;
  /** Absent: the NATS servers have no JetStream, and a node that dies leaves opens without a close. */
  readonly life: NodeLife | undefined;
}

/** What {@link NodeHandle.drain} answers. */
export interface DrainResult {
  /** Connections that were open on the node when the drain began. */
  readonly connections: number;
}

/** One node by its ID. Making it does no I/O. */
export class NodeHandle {
  /** The node's ID; "": whichever answers. */
  readonly id: string;
  readonly #control: ControlChannel;

  /** Made by {@link Client.node}. */
  constructor(control: ControlChannel, id: string) {
    this.id = id;
    this.#control = control;
  }

  /**
   * Asks what is known of the node.
   *
   * @throws {@link NodeNotFound}, {@link InvalidArgument}
   */
  async get(options: CallOptions = {}): Promise<BrokerNode> {
    const answer = await this.#control.unary(NodeService.method.getNode, { node: this.id }, options);
    if (answer.node === undefined) throw new TypeError("the broker answered without a node");
    return nodeOf(answer.node);
  }

  /**
   * Stops the node in order, as SIGTERM does: it refuses new connections, closes its own with 1012 spread over its drain
   * time, publishes the last events, and its process ends. It returns when the drain has begun; {@link get} shows how
   * far it is. A node that is draining goes on as it is.
   *
   * @throws {@link NodeNotFound}, {@link InvalidArgument}, {@link Unavailable} (NODE_UNREACHABLE)
   */
  async drain(options: CallOptions = {}): Promise<DrainResult> {
    const answer = await this.#control.unary(NodeService.method.drainNode, { node: this.id }, options);
    return { connections: Number(answer.connections) };
  }
}

/** The facts of a node. */
export function nodeOf(pb: PbNode): BrokerNode {
  return {
    id: pb.id,
    serverName: pb.serverName,
    version: pb.version,
    state: pb.state === Node_State.STATE_UNSPECIFIED ? undefined : (Node_State[pb.state] as NodeState),
    listen: pb.listen,
    control: pb.control,
    ops: pb.ops,
    startTime: dateOf(pb.startTime),
    connections: Number(pb.connections),
    seenTime: dateOf(pb.seenTime),
    life: pb.life && lifeOf(pb.life),
  };
}

function lifeOf(pb: PbLife): NodeLife {
  return {
    leaseLeftMs: msOf(pb.leaseLeft) ?? 0,
    waiting: Number(pb.waiting),
    freezes: Number(pb.freezes),
    claims: Number(pb.claims),
    lost: Number(pb.lost),
    repeatedCloses: Number(pb.repeatedCloses),
  };
}
