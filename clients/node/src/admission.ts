// Deciding who may connect, where an endpoint's admission is `backend`.
import { create, fromJsonString, type MessageInitShape, toJsonString } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { Msg, Subscription } from "@nats-io/transport-node";
import { tlsOf } from "./convert.js";
import { errorOf } from "./error-of.js";
import type { HoldfastError } from "./errors.js";
import type { Tls } from "./facts.js";
import { HandshakeAnswerSchema, HandshakeSchema } from "./gen/holdfast/v1/admission_pb.js";
import type { NatsOutlet } from "./nats-group.js";
import { within } from "./wait.js";

/** A client that wants to connect, with its credentials: let them go no further. */
export interface HandshakeRequest {
  /** The ID that the connection will have. What is sent to it meanwhile waits. */
  readonly connectionId: string;
  /** The endpoint's namespace. */
  readonly namespace: string;
  /** The configured path, "/ws/{room}". */
  readonly endpoint: string;
  /** What stands in the place of its wildcards, `{ room: "lobby" }`. */
  readonly pathValues: Readonly<Record<string, string>>;
  /** Path and query as the client wrote them. */
  readonly url: string;
  /** The Host header. */
  readonly host: string;
  /** All others, by canonical name: "Authorization", "Cookie", "User-Agent". */
  readonly headers: Readonly<Record<string, string>>;
  /** What the client offers, in its order; "bearer." entries among them. */
  readonly subprotocols: readonly string[];
  /**
   * The client's, "192.0.2.7:51022"; "" on a Unix socket. Behind a trusted proxy it is what the proxy says, which may
   * be without a port: "192.0.2.7".
   */
  readonly remoteAddress: string;
  /** What the client connected to. */
  readonly localAddress: string;
  /** Facts of the TLS session. Absent: a plain connection. */
  readonly tls: Tls | undefined;
}

/** Headers of an answer. Pairs, where one comes several times. */
export type AnswerHeaders = Readonly<Record<string, string>> | readonly (readonly [string, string])[];

/** Lets a client in; the open event has all that it says. */
export interface Accept {
  /** At most 256 bytes without control characters. Absent: unknown. */
  readonly user?: string;
  /** At most 8 KiB. */
  readonly attributes?: Readonly<Record<string, string>>;
  /** What the connection is a member of from the beginning. */
  readonly groups?: readonly string[];
  /** One of those offered; "" for none. Absent: as the endpoint's settings say. */
  readonly subprotocol?: string;
  /** Further headers of the answer 101, such as Set-Cookie. */
  readonly headers?: AnswerHeaders;
  /** When the broker closes the connection (4401). Absent: never. */
  readonly expireTime?: Date;
}

/** Keeps a client out. */
export interface Refuse {
  /** 400 to 599, or a redirect with a Location header, which browsers do not follow. Default 403. */
  readonly status?: number;
  /** Plain text, unless `headers` has a Content-Type. */
  readonly body?: string;
  /** Further headers of the answer, such as WWW-Authenticate. */
  readonly headers?: AnswerHeaders;
}

/** What becomes of a client. */
export type HandshakeAnswer = { readonly accept: Accept } | { readonly refuse: Refuse };

/** Decides about one client, within the endpoint's `admission.backend.timeout`. */
export type HandshakeHandler = (handshake: HandshakeRequest) => HandshakeAnswer | Promise<HandshakeAnswer>;

/** Where a {@link Doorkeeper} listens. */
export interface AdmitOptions {
  /** Of the endpoints. Default "default". */
  readonly namespace?: string;
  /** Programs of one queue group share the work. Default "doorkeepers". */
  readonly queue?: string;
  /**
   * Is told of what a handler threw, whose client is refused with 500, and that NATS does not let its user subscribe:
   * then nobody is asked. Default: `console.error`.
   */
  readonly onError?: (error: unknown) => void;
}

/**
 * Asks a handler at once about every client that wants to connect, also about several at a time. Made by
 * `client.admit`; await `ready` before clients come.
 *
 * @example
 * await using doorkeeper = client.admit(({ headers }) =>
 *   headers.Authorization === "Bearer hunter2" ? { accept: { user: "ann" } } : { refuse: { status: 401 } });
 */
export class Doorkeeper implements AsyncDisposable {
  /** Settled when the NATS server knows of it, or has refused. */
  readonly ready: Promise<void>;
  readonly #subscription: Subscription;
  readonly #handler: HandshakeHandler;
  readonly #onError: (error: unknown) => void;
  readonly #timeoutMs: number;
  readonly #open: Set<{ close(): Promise<void> }>;
  readonly #answering = new Set<Promise<void>>();
  #refusal: HoldfastError | undefined;
  #closing: Promise<void> | undefined;

  /** Made by `client.admit`. */
  constructor(
    outlet: NatsOutlet | undefined,
    handler: HandshakeHandler,
    options: AdmitOptions,
    timeoutMs: number,
    open: Set<{ close(): Promise<void> }>,
  ) {
    if (outlet === undefined) throw errorOf("connect was not given `nats`", { code: "FAILED_PRECONDITION" });
    const { nats, inboundPrefix } = outlet;
    const { namespace = "default", queue = "doorkeepers", onError = console.error } = options;
    this.#handler = handler;
    this.#onError = onError;
    this.#timeoutMs = timeoutMs;
    this.#open = open;
    const callback = (error: Error | null, message: Msg) => {
      if (error === null) this.#keep(this.#answer(message));
      else this.#refused(error);
    };
    try {
      this.#subscription = nats.subscribe(`${inboundPrefix}.${namespace}.handshake`, { queue, callback });
    } catch (cause) {
      const code = nats.isClosed() ? "UNAVAILABLE" : "INVALID_ARGUMENT";
      throw errorOf("cannot subscribe to handshakes", { code, cause });
    }
    open.add(this);
    this.ready = this.#begun(within(nats.flush(), { timeoutMs }, "subscribing to handshakes"));
    this.ready.catch(() => {}); // who does not wait for it need not be told
  }

  /** Takes no more clients, and waits until those that wait are answered. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** As {@link close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    this.#open.delete(this);
    if (!this.#subscription.isClosed()) {
      // While NATS is away nothing can be drained; after the limit the subscription just ends.
      await within(this.#subscription.drain(), { timeoutMs: this.#timeoutMs }, "draining").catch(() => {
        if (!this.#subscription.isClosed()) this.#subscription.unsubscribe();
      });
    }
    await Promise.all(this.#answering);
  }

  async #begun(flushed: Promise<void>): Promise<void> {
    try {
      await flushed;
    } catch (cause) {
      throw errorOf("cannot subscribe to handshakes", { code: "UNAVAILABLE", cause });
    }
    if (this.#refusal !== undefined) throw this.#refusal;
  }

  #refused(cause: Error): void {
    this.#refusal = errorOf("NATS does not let this user hear handshakes", {
      code: "PERMISSION_DENIED",
      cause,
    });
    this.#onError(this.#refusal);
  }

  #keep(answer: Promise<void>): void {
    const kept = answer.finally(() => this.#answering.delete(kept));
    this.#answering.add(kept);
  }

  async #answer(message: Msg): Promise<void> {
    let answer: string;
    try {
      answer = answerOf(await this.#handler(requestOf(message.string())));
    } catch (error) {
      this.#onError(error);
      answer = answerOf({ refuse: { status: 500 } });
    }
    try {
      message.respond(answer);
    } catch (error) {
      this.#onError(error); // NATS is closed: the client goes without an answer
    }
  }
}

function requestOf(json: string): HandshakeRequest {
  const { $typeName, tls, ...handshake } = fromJsonString(HandshakeSchema, json, {
    ignoreUnknownFields: true,
  });
  return { ...handshake, tls: tls && tlsOf(tls) };
}

function answerOf(answer: HandshakeAnswer): string {
  const message = create(HandshakeAnswerSchema, { verdict: verdictOf(answer) });
  return toJsonString(HandshakeAnswerSchema, message, { useProtoFieldName: true });
}

function verdictOf(answer: HandshakeAnswer): MessageInitShape<typeof HandshakeAnswerSchema>["verdict"] {
  if ("accept" in answer) {
    const { expireTime, headers, groups, attributes, ...rest } = answer.accept;
    const value = {
      ...rest,
      headers: fieldsOf(headers),
      groups: [...(groups ?? [])],
      attributes: { ...attributes },
      ...(expireTime !== undefined && { expireTime: timestampFromDate(expireTime) }),
    };
    return { case: "accept", value };
  }
  return { case: "refuse", value: { ...answer.refuse, headers: fieldsOf(answer.refuse.headers) } };
}

function fieldsOf(headers: AnswerHeaders = []): { name: string; value: string }[] {
  const pairs = Array.isArray(headers) ? headers : Object.entries(headers);
  return pairs.map(([name, value]) => ({ name, value }));
}
