// The gRPC side: typed calls by the descriptors of the generated code, with deadline, cancellation and errors.
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
import { cancelledBy, errorOf } from "./error-of.js";
import type { HoldfastError } from "./errors.js";
import { ConnectionService } from "./gen/holdfast/v1/connection_service_pb.js";
import {
  type CallOptions,
  type ConnectOptions,
  DEFAULT_CONTROL,
  DEFAULT_KEEPALIVE_MS,
  DEFAULT_TIMEOUT_MS,
  KEEPALIVE_TIMEOUT_MS,
  type TlsOptions,
} from "./options.js";
import { errorFromService } from "./status.js";
import { within } from "./wait.js";

/** Bytes of the largest answer that is accepted: a page of 1,000 connections with full attributes fits. */
const MAX_RECEIVE_BYTES = 64 * 1024 * 1024;

/** Options of a unary call that are not the caller's. */
export interface UnaryExtras {
  /** The call waits for a confirmation: its deadline means NOT_CONFIRMED. */
  readonly unconfirmed?: boolean;
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
    // A send is never repeated behind the caller's back.
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

/** One HTTP/2 connection to the control API. It reconnects by itself; calls meanwhile fail as UNAVAILABLE. */
export class ControlChannel {
  readonly address: string;
  /** The limit of calls that name none, in milliseconds; 0: none. */
  readonly timeoutMs: number;
  readonly #client: grpc.Client;
  readonly #metadata = new grpc.Metadata();
  readonly #wires = new WeakMap<object, unknown>();

  constructor(options: ConnectOptions) {
    this.address = options.control ?? DEFAULT_CONTROL;
    this.timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    this.#client = new grpc.Client(this.address, credentialsOf(options.tls), channelOptionsOf(options));
    for (const [name, value] of Object.entries(options.metadata ?? {})) this.#metadata.set(name, value);
  }

  /** Waits until the channel is connected. 0 ms: without limit. */
  async ready(timeoutMs: number, signal?: AbortSignal): Promise<void> {
    const connected = new Promise<void>((resolve, reject) => {
      this.#client.waitForReady(deadlineOf(timeoutMs), (error) => (error ? reject(error) : resolve()));
    });
    try {
      await within(connected, { signal }, "connecting");
    } catch (late) {
      connected.catch(() => {});
      if (signal?.aborted) throw late;
      const message = `no control API at ${this.address} within ${timeoutMs} ms`;
      throw errorOf(message, { code: "UNAVAILABLE", cause: await this.#whyNotConnected() });
    }
  }

  /** The error of a call on a channel that does not connect: it names what went wrong below. */
  #whyNotConnected(): Promise<unknown> {
    return this.unary(ConnectionService.method.count, {}, { timeoutMs: 50 }).catch(
      (error: HoldfastError) => error,
    );
  }

  /** Makes one call and waits for its answer. */
  unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    options: CallOptions = {},
    extras: UnaryExtras = {},
  ): Promise<MessageShape<O>> {
    return new Promise((resolve, reject) => {
      const { signal } = options;
      if (signal?.aborted) return reject(cancelledBy(signal));
      const wire = this.#wire(method);
      const call = this.#client.makeUnaryRequest(
        wire.path,
        wire.encode,
        wire.decode,
        create(method.input, request),
        this.#metadata.clone(),
        { deadline: deadlineOf(options.timeoutMs ?? this.timeoutMs) },
        (error, answer) => {
          signal?.removeEventListener("abort", abort);
          if (error === null && answer !== undefined) resolve(answer);
          else if (signal?.aborted && error?.code === grpc.status.CANCELLED) reject(cancelledBy(signal));
          else reject(errorFromService(error as grpc.ServiceError, extras.unconfirmed ?? false));
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
      this.#metadata.clone(),
    );
  }

  /** Begins a stream both ways; without a deadline. */
  bidiStream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodBiDiStreaming<I, O>,
  ): grpc.ClientDuplexStream<MessageShape<I>, MessageShape<O>> {
    const wire = this.#wire(method);
    return this.#client.makeBidiStreamRequest(wire.path, wire.encode, wire.decode, this.#metadata.clone());
  }

  /** Ends the connection. Calls under way are still answered. */
  close(): void {
    this.#client.close();
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

function deadlineOf(timeoutMs: number): number {
  return timeoutMs > 0 ? Date.now() + timeoutMs : Number.POSITIVE_INFINITY;
}
