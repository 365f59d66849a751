import { Audience, type NamespaceOptions } from "./audience.js";
import type { ControlChannel } from "./control.js";
import { errorOf } from "./error-of.js";
import type { HoldfastError } from "./errors.js";
import { type AddMembersResponse, GroupService } from "./gen/holdfast/v1/group_service_pb.js";
import { Listing } from "./listing.js";
import { type NatsOutlet, publishToGroup } from "./nats-group.js";
import type { CallOptions } from "./options.js";
import { errorFromFailure } from "./status.js";

const rpc = GroupService.method;

/** A connection whose membership was not changed. */
export interface MemberFailure {
  /** The connection. */
  readonly connectionId: string;
  /** Why: for example {@link ConnectionNotFound}, also for one of another namespace, or {@link TooManyGroups}. */
  readonly error: HoldfastError;
}

/** What {@link GroupHandle.add} and {@link GroupHandle.remove} answer; they succeed even when every connection fails. */
export interface MembershipResult {
  /** Connections that are members now or, after a remove, are not. */
  readonly succeeded: number;
  /** The others, in the order of the IDs. */
  readonly failures: readonly MemberFailure[];
}

/** Options of {@link GroupHandle.members}. `timeoutMs` holds for each page. */
export interface MembersOptions extends CallOptions {
  /** IDs in one page. Default 1000, at most 10000. */
  readonly pageSize?: number;
}

/** Options of {@link GroupHandle.publishOverNats}. */
export interface NatsPublishOptions {
  /** IDs of connections that do not get the message. Default: nobody. */
  readonly except?: readonly string[];
}

/**
 * A group of connections by its name. It exists while it has members: nothing creates or deletes it, and a connection
 * that ends leaves its groups by itself.
 */
export class GroupHandle extends Audience {
  /** `[A-Za-z0-9_=:@-]{1,128}`. */
  readonly name: string;
  readonly #control: ControlChannel;
  readonly #outlet: NatsOutlet | undefined;

  /** Made by {@link Client.group}. */
  constructor(
    control: ControlChannel,
    name: string,
    options: NamespaceOptions,
    outlet: NatsOutlet | undefined,
  ) {
    super(control, { case: "group", value: name }, options);
    this.name = name;
    this.#control = control;
    this.#outlet = outlet;
  }

  /**
   * Makes up to 10,000 connections members. When it has returned, every later {@link publish} reaches them. Who is a
   * member already stays one. Failures of single connections are in the answer.
   */
  async add(connectionIds: readonly string[], options: CallOptions = {}): Promise<MembershipResult> {
    return resultOf(await this.#control.unary(rpc.addMembers, this.#change(connectionIds), options));
  }

  /**
   * Ends the membership of up to 10,000 connections. When it has returned, no later {@link publish} reaches them. Who
   * is no member stays none. Failures of single connections are in the answer; who has ended is among them, and is in
   * no group either.
   */
  async remove(connectionIds: readonly string[], options: CallOptions = {}): Promise<MembershipResult> {
    return resultOf(await this.#control.unary(rpc.removeMembers, this.#change(connectionIds), options));
  }

  /** The IDs of the members, for `for await`, page by page. No I/O before the loop. */
  members(options: MembersOptions = {}): Listing<string> {
    const { namespace, name: group } = this;
    return new Listing(async (pageToken) => {
      const request = { namespace, group, pageSize: options.pageSize, pageToken };
      const page = await this.#control.unary(rpc.listMembers, request, options);
      return { ...page, items: page.connectionIds };
    });
  }

  /**
   * Hands one message for the members to NATS, and is done: cheaper than {@link publish}, at most once, and nobody
   * counts who got it. A member that is the first of the group on its node is reached milliseconds after it has
   * joined, not at once.
   *
   * @throws a HoldfastError FAILED_PRECONDITION when {@link connect} was not given `nats`; {@link InvalidArgument};
   * {@link Unavailable}
   */
  async publishOverNats(data: string | Uint8Array, options: NatsPublishOptions = {}): Promise<void> {
    if (this.#outlet === undefined)
      throw errorOf("connect was not given `nats`; use publish, or pass it", { code: "FAILED_PRECONDITION" });
    publishToGroup(this.#outlet, this, data, options);
  }

  #change(connectionIds: readonly string[]) {
    return { namespace: this.namespace, groups: [this.name], connectionIds: [...connectionIds] };
  }
}

function resultOf(answer: Pick<AddMembersResponse, "succeeded" | "failures">): MembershipResult {
  const failures = answer.failures.map((failure) => ({
    connectionId: failure.connectionId,
    error: errorFromFailure(failure),
  }));
  return { succeeded: answer.succeeded, failures };
}
