// One address of the control API: typed calls by the descriptors of the generated code, with deadline, cancellation
// and errors.
import {
  create,
  type DescMessage,
  type DescMethodBiDiStreaming,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import * as grpc from "@grpc/grpc-js";
import { cancelledBy, refusedMetadata } from "./error-of.js";
import type { HoldfastError } from "./errors.js";
import { ConnectionService } from "./gen/holdfast/v1/connection_service_pb.js";
import {
  type ConnectOptions,
  DEFAULT_KEEPALIVE_MS,
  KEEPALIVE_TIMEOUT_MS,
  type TlsOptions,
} from "./options.js";
import { errorFromService } from "./status.js";

/** Bytes of the largest answer that is accepted: a page of 1,000 connections with full attributes fits. */
const MAX_RECEIVE_BYTES = 64 * 1024 * 1024;

/** The part of an attempt's time after which its end counts as its deadline: the broker's clock may be ahead of ours. */
export const LATE = 0.9;

/** How long one attempt may take, who can end it, and what its end means. */
export interface Limits {
  /** When the attempt is given up, in milliseconds as of `Date.now`; `Infinity`: never. */
  readonly deadline: number;
  /** Gives the attempt up when it is aborted. */
  readonly signal: AbortSignal | undefined;
  /** The call waits for a confirmation: its deadline means NOT_CONFIRMED. */
  readonly unconfirmed: boolean;
}

interface Wire<I extends DescMessage, O extends DescMessage> {
  readonly path: string;
  readonly encode: (request: MessageShape<I>) => Buffer;
  readonly decode: (bytes: Buffer) => MessageShape<O>;
}

type Method<I extends DescMessage, O extends DescMessage> =
  | DescMethodUnary<I, O>
  | DescMethodServerStreaming<I, O>
  | DescMethodBiDiStreaming<I, O>;

function wireOf<I extends DescMessage, O extends DescMessage>(method: Method<I, O>): Wire<I, O> {
  return {
    path: `/${method.parent.typeName}/${method.name}`,
    encode(request) {
      const bytes = toBinary(method.input, request);
      return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    },
    decode: (bytes) => fromBinary(method.output, bytes),
  };
}

function credentialsOf(tls: boolean | TlsOptions | undefined): grpc.ChannelCredentials {
  if (tls === undefined || tls === false) return grpc.credentials.createInsecure();
  const { ca, cert, key } = tls === true ? ({} as TlsOptions) : tls;
  const pem = (value: string | Uint8Array | undefined) => (value === undefined ? null : Buffer.from(value));
  return grpc.credentials.createSsl(pem(ca), pem(key), pem(cert));
}

function channelOptionsOf(options: ConnectOptions): grpc.ChannelOptions {
  const keepalive = options.keepaliveMs ?? DEFAULT_KEEPALIVE_MS;
  const serverName = typeof options.tls === "object" ? options.tls.serverName : undefined;
  return {
    "grpc.max_receive_message_length": MAX_RECEIVE_BYTES,
    // A client owns its connection, so that closing one does not touch another of the same process.
    "grpc.use_local_subchannel_pool": 1,
    // The library repeats by status code alone, and so what must not be repeated too: see failover.ts.
    "grpc.enable_retries": 0,
    "grpc.service_config_disable_resolution": 1,
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 2_000,
    ...(keepalive > 0 && {
      "grpc.keepalive_time_ms": keepalive,
      "grpc.keepalive_timeout_ms": KEEPALIVE_TIMEOUT_MS,
      "grpc.keepalive_permit_without_calls": 1,
    }),
    ...(serverName !== undefined && { "grpc.ssl_target_name_override": serverName }),
  };
}

/** Errors of calls whose request was never given to a connection, so that the broker cannot have seen it. */
const unsent = new WeakSet<object>();

/** Whether a call failed before its request had left this process. */
export function neverLeft(error: unknown): boolean {
  return typeof error === "object" && error !== null && unsent.has(error);
}

/** One HTTP/2 connection to one address. It reconnects by itself; calls meanwhile fail as UNAVAILABLE. */
export class AddressChannel {
  readonly address: string;
  readonly #client: grpc.Client;
  readonly #metadata: ConnectOptions["metadata"];
  readonly #wires = new WeakMap<object, unknown>();

  constructor(address: string, options: ConnectOptions) {
    this.address = address;
    this.#client = new grpc.Client(address, credentialsOf(options.tls), channelOptionsOf(options));
    this.#metadata = options.metadata;
  }

  /** Whether it is connected. If it is not, and nobody is at it, connecting begins. */
  get isReady(): boolean {
    const channel = this.#client.getChannel();
    const state = channel.getConnectivityState(false);
    if (state === grpc.connectivityState.IDLE) channel.getConnectivityState(true);
    return state === grpc.connectivityState.READY;
  }

  /** Whether it may be connected in a moment: the last attempt has not failed. */
  get isConnecting(): boolean {
    const state = this.#client.getChannel().getConnectivityState(false);
    return state === grpc.connectivityState.CONNECTING || state === grpc.connectivityState.IDLE;
  }

  /** Resolves when it is connected, has failed to connect, or is closed. */
  change(): Promise<void> {
    const channel = this.#client.getChannel();
    const state = channel.getConnectivityState(false);
    return new Promise((resolve) => {
      channel.watchConnectivityState(state, Number.POSITIVE_INFINITY, () => resolve());
    });
  }

  /** Resolves when it is connected; rejects at the deadline. */
  ready(deadline: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#client.waitForReady(deadline, (error) => (error ? reject(error) : resolve()));
    });
  }

  /** The error of a call on a channel that does not connect: it names what went wrong below. */
  whyNotReady(): Promise<unknown> {
    const limits = { deadline: Date.now() + 50, signal: undefined, unconfirmed: false };
    const { count } = ConnectionService.method;
    return this.unary(count, create(count.input), limits).catch((error: HoldfastError) => error);
  }

  /** Makes one attempt at a call and waits for its answer. */
  unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageShape<I>,
    { deadline, signal, unconfirmed }: Limits,
  ): Promise<MessageShape<O>> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(cancelledBy(signal));
      const wire = this.#wire(method);
      const began = Date.now();
      const lateFrom = began + LATE * (deadline - began);
      const call = this.#client.makeUnaryRequest(
        wire.path,
        wire.encode,
        wire.decode,
        request,
        this.#headers(),
        { deadline },
        (error, answer) => {
          signal?.removeEventListener("abort", abort);
          if (error === null && answer !== undefined) resolve(answer);
          else if (signal?.aborted && error?.code === grpc.status.CANCELLED) reject(cancelledBy(signal));
          else reject(failureOf(error as grpc.ServiceError, call, unconfirmed, lateFrom));
        },
      );
      const abort = () => call.cancel();
      signal?.addEventListener("abort", abort, { once: true });
    });
  }

  /** Begins a stream of answers to one request; without a deadline. */
  serverStream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodServerStreaming<I, O>,
    request: MessageInitShape<I>,
  ): grpc.ClientReadableStream<MessageShape<O>> {
    const wire = this.#wire(method);
    const message = create(method.input, request);
    return this.#client.makeServerStreamRequest(
      wire.path,
      wire.encode,
      wire.decode,
      message,
      this.#headers(),
    );
  }

  /** Begins a stream both ways; without a deadline. */
  bidiStream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodBiDiStreaming<I, O>,
  ): grpc.ClientDuplexStream<MessageShape<I>, MessageShape<O>> {
    const wire = this.#wire(method);
    return this.#client.makeBidiStreamRequest(wire.path, wire.encode, wire.decode, this.#headers());
  }

  /** Ends the connection. Calls under way are still answered. */
  close(): void {
    this.#client.close();
  }

  /** The metadata of a call that begins now. */
  #headers(): grpc.Metadata {
    const headers = new grpc.Metadata();
    const values = typeof this.#metadata === "function" ? this.#metadata() : this.#metadata;
    for (const [name, value] of Object.entries(values ?? {})) {
      if (!/^[ -~]*$/.test(value)) throw refusedMetadata(name);
      headers.set(name, value);
    }
    return headers;
  }

  #wire<I extends DescMessage, O extends DescMessage>(method: Method<I, O>): Wire<I, O> {
    let wire = this.#wires.get(method) as Wire<I, O> | undefined;
    if (wire === undefined) {
      wire = wireOf(method);
      this.#wires.set(method, wire);
    }
    return wire;
  }
}

/** The error of a failed attempt, with a note when its request had not left. */
function failureOf(
  cause: grpc.ServiceError,
  call: grpc.ClientUnaryCall,
  unconfirmed: boolean,
  lateFrom: number,
): HoldfastError {
  // Where the broker's side of the deadline passes first, it resets the stream.
  if (cause.code === grpc.status.CANCELLED && Date.now() >= lateFrom)
    Object.assign(cause, { code: grpc.status.DEADLINE_EXCEEDED, details: "no answer in time" });
  const error = errorFromService(cause, unconfirmed);
  // A call has an authentication context from the moment it is given to a connection. (After its own deadline the
  // library forgets it, so that code proves nothing.)
  const ended = cause.code === grpc.status.UNAVAILABLE || cause.code === grpc.status.INTERNAL;
  if (ended && call.getAuthContext() === null) unsent.add(error);
  return error;
}
