import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ControlChannel } from "./control.js";
import { confirmationOf, durationOf, messageOf } from "./convert.js";
import { GroupService, type TargetSchema } from "./gen/holdfast/v1/group_service_pb.js";
import type { CallOptions, MessageOptions } from "./options.js";

/** Options of {@link Client.group}, {@link Client.user} and {@link Client.everyone}. */
export interface NamespaceOptions {
  /** `[a-z0-9_-]{1,32}`. Default "default". */
  readonly namespace?: string;
}

/** Options of {@link Audience.publish}. */
export interface PublishOptions extends CallOptions, MessageOptions {
  /**
   * IDs of connections that do not get the message, for example the one it came from; they are not counted. At most
   * 1,000; those that are not among the audience do no harm. Default: nobody.
   */
  readonly except?: readonly string[];
}

/** What {@link Audience.publish} answers. matched = succeeded + full + gone + failed + pending. */
export interface PublishResult {
  /** Connections of the audience, on the nodes that answered. */
  readonly matched: number;
  /** Those that have the confirmation asked for. */
  readonly succeeded: number;
  /** Those whose send queue had no room. */
  readonly full: number;
  /** Those whose closing had begun, or that ended before the message was written. */
  readonly gone: number;
  /** Those that failed for another reason: paused, not confirmed, expired. */
  readonly failed: number;
  /** Those that took the message and had not confirmed it when the time was over. */
  readonly pending: number;
  /** Nodes that did not answer in time: whether theirs got it is unknown. Empty: the counts are complete. */
  readonly unreachableNodes: readonly string[];
}

/** Options of {@link Audience.close}. */
export interface AudienceCloseOptions extends CallOptions {
  /** 1000–1003, 1007–1014 or 3000–4999. Default 1000. */
  readonly code?: number;
  /** At most 123 bytes of UTF-8. Default "". */
  readonly reason?: string;
  /** IDs of connections that stay open, for example the session that logs the others out; at most 1,000. Default: none. */
  readonly except?: readonly string[];
}

/** What {@link Audience.close} answers. */
export interface AudienceCloseResult {
  /** Connections of the audience, on the nodes that answered. Each is closing now, or has ended. */
  readonly matched: number;
  /** Nodes that did not answer in time: whether theirs are closing is unknown. Empty: the count is complete. */
  readonly unreachableNodes: readonly string[];
}

/**
 * Connections that one call reaches, wherever in the cluster they are: a user's, or everyone's in a namespace. Making
 * it does no I/O; who belongs to it is decided at each call.
 *
 * Besides the errors that a method names, every method can fail with {@link Unavailable}, {@link DeadlineExceeded},
 * {@link Cancelled} and {@link InvalidArgument}.
 */
export class Audience {
  /** The namespace of its connections. */
  readonly namespace: string;
  readonly #to: MessageInitShape<typeof TargetSchema>["to"];
  readonly #control: ControlChannel;

  /** Made by {@link Client.user} and {@link Client.everyone}. */
  constructor(
    control: ControlChannel,
    to: MessageInitShape<typeof TargetSchema>["to"],
    { namespace = "default" }: NamespaceOptions = {},
  ) {
    this.namespace = namespace;
    this.#to = to;
    this.#control = control;
  }

  /**
   * Sends one message to each connection once: text for a string, else binary; at most 1 MiB. Publishes awaited one
   * after the other arrive in that order. A slow connection holds nobody back: it is counted as `full`. With WRITTEN
   * or RECEIVED the answer waits for the slowest, until the deadline, and then counts the others as `pending`.
   *
   * It is never repeated after it may have reached somebody.
   *
   * @throws {@link NotConfirmed} when not even the counts came in time
   */
  async publish(data: string | Uint8Array, options: PublishOptions = {}): Promise<PublishResult> {
    const { confirmation, except = [] } = options;
    const request = {
      target: this.#target,
      message: messageOf(data, options),
      exceptConnectionIds: [...except],
      confirmation: confirmationOf(confirmation),
      expireAfter: durationOf(options.expireAfterMs),
    };
    const unconfirmed = confirmation !== undefined && confirmation !== "QUEUED";
    const answer = await this.#control.unary(GroupService.method.publish, request, options, { unconfirmed });
    return {
      matched: Number(answer.matched),
      succeeded: Number(answer.succeeded),
      full: Number(answer.full),
      gone: Number(answer.gone),
      failed: Number(answer.failed),
      pending: Number(answer.pending),
      unreachableNodes: answer.unreachableNodes,
    };
  }

  /**
   * Begins the closing handshake with each connection: empties a room, or logs a user out everywhere. It does not
   * wait for the clients; their close events tell how each ended. Who comes meanwhile may not be reached.
   *
   * It is never repeated after it may have taken effect: it would close those too who have come since.
   */
  async close(options: AudienceCloseOptions = {}): Promise<AudienceCloseResult> {
    const { code, reason, except = [] } = options;
    const request = { target: this.#target, code, reason, exceptConnectionIds: [...except] };
    const answer = await this.#control.unary(GroupService.method.close, request, options);
    return { matched: Number(answer.matched), unreachableNodes: answer.unreachableNodes };
  }

  get #target(): MessageInitShape<typeof TargetSchema> {
    return { namespace: this.namespace, to: this.#to };
  }
}
