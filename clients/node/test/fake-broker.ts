// A control API in this process whose answers a test decides: one handler per method, requests as they came.
import { create, fromBinary, type MessageInitShape, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import * as grpc from "@grpc/grpc-js";
import {
  ConnectionService,
  type SendStreamRequest,
  type SendStreamResponseSchema,
  type WatchRequest,
  type WatchResponseSchema,
} from "../src/gen/holdfast/v1/connection_service_pb.js";

type Methods = typeof ConnectionService.method;
type Unary = { [M in keyof Methods]: Methods[M]["methodKind"] extends "unary" ? M : never }[keyof Methods];
type Answer<M extends Unary> = MessageInitShape<Methods[M]["output"]>;

/** What a handler sees of a call besides its request. */
export interface CallFacts {
  readonly metadata: grpc.Metadata;
  /** When the caller gives up, and when the call arrived: milliseconds of `Date.now`. */
  readonly deadline: number;
  readonly began: number;
  /** Resolves when the caller has given the call up. */
  readonly cancelled: Promise<void>;
}

export type Handlers = {
  [M in Unary]?: (
    request: MessageShape<Methods[M]["input"]>,
    call: CallFacts,
  ) => Answer<M> | Promise<Answer<M>>;
} & {
  sendStream?: (stream: SendStreamPeer) => void;
  watch?: (request: WatchRequest, stream: WatchPeer) => void;
};

/** The broker's end of a SendStream. */
export interface SendStreamPeer {
  onBatch(listener: (batch: SendStreamRequest) => void): void;
  onEnd(listener: () => void): void;
  answer(answer: MessageInitShape<typeof SendStreamResponseSchema>): void;
  end(): void;
  fail(error: grpc.ServiceError | Partial<grpc.StatusObject>): void;
}

/** The broker's end of a Watch. */
export interface WatchPeer {
  send(response: MessageInitShape<typeof WatchResponseSchema>): void;
  end(): void;
  fail(error: Partial<grpc.StatusObject>): void;
  readonly cancelled: Promise<void>;
}

/** A failure as the broker sends it. */
export function refusal(
  code: grpc.status,
  reason: string,
  metadata: Record<string, string> = {},
): Partial<grpc.StatusObject> {
  return { code, details: `refused: ${reason}`, metadata: detailsTrailer(code, reason, metadata) };
}

/** google.rpc.Status with one google.rpc.ErrorInfo, as a trailer. */
export function detailsTrailer(
  code: number,
  reason: string,
  metadata: Record<string, string>,
  domain = "holdfast",
): grpc.Metadata {
  const info = new BinaryWriter();
  info.tag(1, WireType.LengthDelimited).string(reason);
  info.tag(2, WireType.LengthDelimited).string(domain);
  for (const [key, value] of Object.entries(metadata)) {
    const pair = new BinaryWriter();
    pair.tag(1, WireType.LengthDelimited).string(key).tag(2, WireType.LengthDelimited).string(value);
    info.tag(3, WireType.LengthDelimited).bytes(pair.finish());
  }
  const any = new BinaryWriter();
  any.tag(1, WireType.LengthDelimited).string("type.googleapis.com/google.rpc.ErrorInfo");
  any.tag(2, WireType.LengthDelimited).bytes(info.finish());
  const status = new BinaryWriter();
  status.tag(1, WireType.Varint).int32(code);
  status.tag(3, WireType.LengthDelimited).bytes(any.finish());
  const trailer = new grpc.Metadata();
  trailer.set("grpc-status-details-bin", Buffer.from(status.finish()));
  return trailer;
}

/** Starts a control API on a free port of loopback. */
export async function startFakeBroker(
  handlers: Handlers,
): Promise<{ address: string; stop(): void } & AsyncDisposable> {
  const server = new grpc.Server();
  const definition: Record<string, grpc.MethodDefinition<object, object>> = {};
  const implementation: Record<string, grpc.UntypedHandleCall> = {};
  for (const [name, method] of Object.entries(ConnectionService.method)) {
    definition[name] = {
      path: `/${ConnectionService.typeName}/${method.name}`,
      requestStream: method.methodKind === "bidi_streaming",
      responseStream: method.methodKind !== "unary",
      requestSerialize: () => Buffer.alloc(0),
      requestDeserialize: (bytes) => fromBinary(method.input, bytes),
      responseSerialize: (value) =>
        Buffer.from(toBinary(method.output, create(method.output, value as never))),
      responseDeserialize: (bytes) => fromBinary(method.output, bytes),
    };
    implementation[name] = implementationOf(name, handlers);
  }
  server.addService(definition, implementation);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  const stop = () => server.forceShutdown();
  return { address: `127.0.0.1:${port}`, stop, [Symbol.asyncDispose]: async () => stop() };
}

function implementationOf(name: string, handlers: Handlers): grpc.UntypedHandleCall {
  if (name === "sendStream")
    return (call: grpc.ServerDuplexStream<SendStreamRequest, object>) =>
      handlers.sendStream?.({
        onBatch: (listener) => call.on("data", listener),
        onEnd: (listener) => call.on("end", listener),
        answer: (answer) => call.write(answer),
        end: () => call.end(),
        fail: (error) => call.emit("error", error),
      });
  if (name === "watch")
    return (call: grpc.ServerWritableStream<WatchRequest, object>) =>
      handlers.watch?.(call.request, {
        send: (response) => call.write(response),
        end: () => call.end(),
        fail: (error) => call.emit("error", error),
        cancelled: new Promise((resolve) => call.on("cancelled", () => resolve())),
      });
  return async (call: grpc.ServerUnaryCall<object, object>, done: grpc.sendUnaryData<object>) => {
    const handler = handlers[name as Unary] as ((request: object, call: CallFacts) => object) | undefined;
    if (handler === undefined) return done({ code: grpc.status.UNIMPLEMENTED, details: name });
    const cancelled = new Promise<void>((resolve) => call.on("cancelled", () => resolve()));
    try {
      done(
        null,
        await handler(call.request, {
          metadata: call.metadata,
          deadline: Number(call.getDeadline()),
          began: Date.now(),
          cancelled,
        }),
      );
    } catch (error) {
      done(error as grpc.ServiceError);
    }
  };
}
