// A WebSocket client by the package `ws`, with everything that it sees in queues that a test can await.
import { once } from "node:events";
import WebSocket from "ws";
import { deadline } from "./deadline.js";

/** What a client was sent: a string for text, bytes for binary. */
export type Data = string | Buffer;

/** Values that arrive, in order, for whoever awaits them. */
class Inbox<T> {
  readonly #values: T[] = [];
  #wake: (() => void) | undefined;
  readonly #what: string;

  constructor(what: string) {
    this.#what = what;
  }

  put(value: T): void {
    this.#values.push(value);
    this.#wake?.();
  }

  get size(): number {
    return this.#values.length;
  }

  async next(): Promise<T> {
    while (this.#values.length === 0) {
      const arrival = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      await deadline(arrival, this.#what);
    }
    return this.#values.shift() as T;
  }
}

/** One client connection. */
export class Peer implements AsyncDisposable {
  readonly socket: WebSocket;
  readonly messages = new Inbox<Data>("a message to the client");
  readonly pings = new Inbox<string>("a ping to the client");
  readonly pongs = new Inbox<string>("a pong to the client");
  /** How the client saw its connection end. */
  readonly closed: Promise<{ code: number; reason: string }>;

  private constructor(socket: WebSocket) {
    this.socket = socket;
    socket.on("message", (data: Buffer, binary) => this.messages.put(binary ? data : data.toString()));
    socket.on("ping", (data) => this.pings.put(data.toString()));
    socket.on("pong", (data) => this.pongs.put(data.toString()));
    this.closed = new Promise((resolve) => {
      socket.on("close", (code, reason) => resolve({ code, reason: reason.toString() }));
    });
  }

  /** Opens a connection; rejects with the handshake's refusal. */
  static async open(
    url: string,
    protocols: string[] = [],
    options: WebSocket.ClientOptions = {},
  ): Promise<Peer> {
    const peer = new Peer(new WebSocket(url, protocols, options));
    await deadline(once(peer.socket, "open"), `a WebSocket to ${url}`);
    return peer;
  }

  /** The next message. */
  next(): Promise<Data> {
    return this.messages.next();
  }

  /** How the connection ended; fails when it does not. */
  end(): Promise<{ code: number; reason: string }> {
    return deadline(this.closed, "the end of the connection");
  }

  /** Cuts the connection and waits until it has ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.terminate();
    await this.closed;
  }
}
