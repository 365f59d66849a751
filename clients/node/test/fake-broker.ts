// A control API in this process whose answers a test decides: one handler per method, requests as they came.
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import {
  create,
  type DescService,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import * as grpc from "@grpc/grpc-js";
import {
  ConnectionService,
  type SendStreamRequest,
  type SendStreamResponseSchema,
  type WatchRequest,
  type WatchResponseSchema,
} from "../src/gen/holdfast/v1/connection_service_pb.js";
import { GroupService } from "../src/gen/holdfast/v1/group_service_pb.js";
import { NodeService } from "../src/gen/holdfast/v1/node_service_pb.js";

/** A handler for each unary method of a service; absent: UNIMPLEMENTED. */
type UnaryHandlers<S extends DescService> = {
  [M in keyof S["method"] as S["method"][M]["methodKind"] extends "unary" ? M : never]?: (
    request: MessageShape<S["method"][M]["input"]>,
    call: CallFacts,
  ) => MessageInitShape<S["method"][M]["output"]> | Promise<MessageInitShape<S["method"][M]["output"]>>;
};

/** What a handler sees of a call besides its request. */
export interface CallFacts {
  readonly metadata: grpc.Metadata;
  /** When the caller gives up, and when the call arrived: milliseconds of `Date.now`. */
  readonly deadline: number;
  readonly began: number;
  /** Resolves when the caller has given the call up. */
  readonly cancelled: Promise<void>;
}

export type Handlers = UnaryHandlers<typeof ConnectionService> & {
  sendStream?: (stream: SendStreamPeer) => void;
  watch?: (request: WatchRequest, stream: WatchPeer) => void;
  group?: UnaryHandlers<typeof GroupService>;
  node?: UnaryHandlers<typeof NodeService>;
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

/** A control API that is running. */
export interface FakeBroker extends AsyncDisposable {
  readonly address: string;
  /** Ends it at once, and the calls under way with it. */
  stop(): void;
}

/** Starts a control API on loopback, at a free port unless told where. */
export async function startFakeBroker(handlers: Handlers, address = "127.0.0.1:0"): Promise<FakeBroker> {
  const server = new grpc.Server();
  serve(server, ConnectionService, handlers);
  serve(server, GroupService, handlers.group ?? {});
  serve(server, NodeService, handlers.node ?? {});
  // With the sockets in hand the end can be what a killed process leaves behind: no GOAWAY, no status.
  const injector = server.createConnectionInjector(grpc.ServerCredentials.createInsecure());
  const sockets = new Set<Socket>();
  const listener = createServer((socket) => {
    sockets.add(socket.once("close", () => sockets.delete(socket)));
    injector.injectConnection(socket);
  });
  const [host, given] = address.split(":");
  listener.listen(Number(given), host);
  await once(listener, "listening");
  const { port } = listener.address() as AddressInfo;
  const stop = () => {
    listener.close();
    for (const socket of sockets) socket.destroy();
    server.forceShutdown();
  };
  return { address: `127.0.0.1:${port}`, stop, [Symbol.asyncDispose]: async () => stop() };
}

function serve(server: grpc.Server, service: DescService, handlers: object): void {
  const definition: Record<string, grpc.MethodDefinition<object, object>> = {};
  const implementation: Record<string, grpc.UntypedHandleCall> = {};
  for (const [name, method] of Object.entries(service.method)) {
    definition[name] = {
      path: `/${service.typeName}/${method.name}`,
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
}

type UnaryHandler = (request: object, call: CallFacts) => object;

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
    const handler = (handlers as Record<string, unknown>)[name] as UnaryHandler | undefined;
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
