import { randomBytes } from "node:crypto";
import {
  create,
  type DescMessage,
  type DescMethodBiDiStreaming,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import type { ClientDuplexStream, ClientReadableStream, ServiceError } from "@grpc/grpc-js";
import { addressesOf } from "./addresses.js";
import { AddressChannel } from "./channel.js";
import { errorOf } from "./error-of.js";
import { failOver, Rotation } from "./failover.js";
import {
  type CallOptions,
  type ConnectOptions,
  DEFAULT_MAX_ATTEMPTS,
  DEFAULT_TIMEOUT_MS,
} from "./options.js";
import { isRepeatable } from "./repeatable.js";
import { errorFromService } from "./status.js";
import { within } from "./wait.js";

/** Options of a unary call that are not the caller's. */
export interface UnaryExtras {
  /** The call waits for a confirmation: its deadline means NOT_CONFIRMED. */
  readonly unconfirmed?: boolean;
}

/**
 * The control API, at one address or at several. Unary calls go to the connected addresses in turn; a stream stays
 * where it began.
 */
export class ControlChannel {
  /** The limit of calls that name none, in milliseconds; 0: none. */
  readonly timeoutMs: number;
  readonly #channels: readonly AddressChannel[];
  /** Absent with one address: there is nothing to choose, and calls go straight to it. */
  readonly #rotation: Rotation | undefined;
  readonly #requestIds = `${randomBytes(12).toString("base64url")}-`;
  #requests = 0;
  #maxAttempts: number;

  constructor(options: ConnectOptions) {
    this.timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    this.#channels = addressesOf(options.control).map((address) => new AddressChannel(address, options));
    this.#rotation = this.#channels.length > 1 ? new Rotation(this.#channels) : undefined;
    this.#maxAttempts = this.#rotation === undefined ? 1 : maxAttemptsOf(options);
  }

  /** Waits until one address is connected; the others follow. 0 ms: without limit. */
  async ready(timeoutMs: number, signal?: AbortSignal): Promise<void> {
    const deadline = deadlineOf(timeoutMs);
    const connected = Promise.any(this.#channels.map((channel) => channel.ready(deadline)));
    try {
      await within(connected, { signal }, "connecting");
    } catch (late) {
      connected.catch(() => {});
      if (signal?.aborted) throw late;
      const addresses = this.#channels.map(({ address }) => address).join(", ");
      const message = `no control API at ${addresses} within ${timeoutMs} ms`;
      throw errorOf(message, { code: "UNAVAILABLE", cause: await this.#channels[0]?.whyNotReady() });
    }
  }

  /** A new request ID for a send that names none, so that it can be repeated; undefined where nothing is. */
  requestId(): string | undefined {
    return this.#maxAttempts > 1 ? this.#requestIds + (this.#requests++).toString(36) : undefined;
  }

  /** Makes one call and waits for its answer. */
  unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    options: CallOptions = {},
    { unconfirmed = false }: UnaryExtras = {},
  ): Promise<MessageShape<O>> {
    const message = create(method.input, request);
    const limits = {
      deadline: deadlineOf(options.timeoutMs ?? this.timeoutMs),
      signal: options.signal,
      unconfirmed,
    };
    if (this.#rotation === undefined) return this.#only.unary(method, message, limits);
    return failOver(this.#rotation, {
      ...limits,
      attempt: (channel, deadline) => channel.unary(method, message, { ...limits, deadline }),
      isRepeatable: isRepeatable(method, message),
      maxAttempts: () => this.#maxAttempts,
    });
  }

  /** Begins a stream of answers to one request; without a deadline. */
  serverStream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodServerStreaming<I, O>,
    request: MessageInitShape<I>,
  ): ClientReadableStream<MessageShape<O>> {
    const channel = this.#rotation?.any() ?? this.#only;
    const call = channel.serverStream(method, request);
    return this.#noted(channel, call);
  }

  /** Begins a stream both ways; without a deadline. */
  bidiStream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodBiDiStreaming<I, O>,
  ): ClientDuplexStream<MessageShape<I>, MessageShape<O>> {
    const channel = this.#rotation?.any() ?? this.#only;
    return this.#noted(channel, channel.bidiStream(method));
  }

  /** Ends the connections. Calls under way are still answered, and not repeated. */
  close(): void {
    this.#maxAttempts = 1;
    for (const channel of this.#channels) channel.close();
  }

  get #only(): AddressChannel {
    return this.#channels[0] as AddressChannel;
  }

  /** Has the next stream, or call, pass over an address that ended this one because it is stopping. */
  #noted<T extends ClientReadableStream<unknown> | ClientDuplexStream<never, unknown>>(
    channel: AddressChannel,
    call: T,
  ): T {
    const rotation = this.#rotation;
    if (rotation !== undefined)
      call.on("error", (error: ServiceError) => rotation.note(channel, errorFromService(error, false)));
    return call;
  }
}

function maxAttemptsOf({ maxAttempts = DEFAULT_MAX_ATTEMPTS }: ConnectOptions): number {
  if (maxAttempts >= 1) return maxAttempts;
  throw errorOf("maxAttempts is below 1", {
    code: "INVALID_ARGUMENT",
    metadata: { field: "maxAttempts", value: String(maxAttempts), allowed: "1 or more" },
  });
}

function deadlineOf(timeoutMs: number): number {
  return timeoutMs > 0 ? Date.now() + timeoutMs : Number.POSITIVE_INFINITY;
}
