// What an end-to-end test stands on: a broker, a client, its events by connection, and WebSocket clients.
import {
  type Client,
  type ConnectionHandle,
  connect,
  type EventsOptions,
  type HoldfastEvent,
} from "../src/index.js";
import { type Broker, startBroker } from "./broker.js";
import { deadline } from "./deadline.js";
import { Peer } from "./peer.js";

/** A stream of events that a test takes one by one. */
export interface EventFeed extends AsyncDisposable {
  /** The next event of that kind; fails when another comes or none. */
  next<K extends HoldfastEvent["kind"]>(kind: K): Promise<Extract<HoldfastEvent, { kind: K }>>;
}

/** A broker and a client. */
export class Stage implements AsyncDisposable {
  readonly broker: Broker;
  readonly client: Client;

  private constructor(broker: Broker, client: Client) {
    this.broker = broker;
    this.client = client;
  }

  /** Starts the broker with these endpoints and connects to it. */
  static async open(endpoints?: string): Promise<Stage> {
    const broker = await startBroker(endpoints);
    return new Stage(broker, await connect({ control: broker.control, nats: broker.nats }));
  }

  /** A WebSocket client on a path. */
  dial(path = "/", protocols?: string[]): Promise<Peer> {
    return Peer.open(this.broker.url + path, protocols);
  }

  /** A WebSocket client on a path, and the handle of its connection. */
  async pair(path = "/"): Promise<{ peer: Peer; handle: ConnectionHandle } & AsyncDisposable> {
    await using opens = this.client.watch({ kinds: ["open"] });
    await opens.ready;
    const peer = await this.dial(path);
    const { value } = await deadline(opens.next(), "the open event");
    if (value === undefined) throw new Error("the watch ended");
    return { peer, handle: value.connection, [Symbol.asyncDispose]: () => peer[Symbol.asyncDispose]() };
  }

  /** Events over NATS from now on. */
  async events(options?: EventsOptions): Promise<EventFeed> {
    const stream = this.client.events(options);
    await stream.ready;
    return feedOf(stream);
  }

  /** Ends the client and the broker. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.client.close();
    await this.broker.stop();
  }
}

/** Takes events one by one from a stream. */
export function feedOf(stream: AsyncIterator<HoldfastEvent> & AsyncDisposable): EventFeed {
  return {
    async next(kind) {
      const { value, done } = await deadline(stream.next(), `the event ${kind}`);
      if (done || value.kind !== kind)
        throw new Error(`not ${kind} but ${done ? "the end" : JSON.stringify(value)}`);
      return value as never;
    },
    [Symbol.asyncDispose]: () => stream[Symbol.asyncDispose](),
  };
}
