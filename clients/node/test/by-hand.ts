// What a test does at the NATS server of a broker with its own hands.
import { connect, createInbox, headers, type Msg, type NatsConnection } from "@nats-io/transport-node";
import type { EventStream, HoldfastEvent } from "../src/index.js";
import { deadline } from "./deadline.js";

const closes = "holdfast.default.close.*";

/** A connection to NATS that plays the broker. */
export class ByHand implements AsyncDisposable {
  readonly #nats: NatsConnection;

  private constructor(nats: NatsConnection) {
    this.#nats = nats;
  }

  /** Connects to the NATS server of a broker. */
  static async at(servers: string): Promise<ByHand> {
    return new ByHand(await connect({ servers, reconnect: false }));
  }

  /** Publishes an event with that number. */
  publish(kind: "open" | "message", id: string, seq: number): void {
    const fields = headers();
    fields.set("Holdfast-Seq", `${seq}`);
    this.#nats.publish(`holdfast.default.${kind}.${id}`, JSON.stringify({ id }), { headers: fields });
  }

  /** Publishes a message as it was. */
  again({ subject, data, headers: fields }: Msg): void {
    this.#nats.publish(subject, data, fields && { headers: fields });
  }

  /** Close events from now on, as they are published: call it for each. */
  async closes(): Promise<() => Promise<Msg>> {
    const next = messagesOf(this.#nats, closes);
    await this.#nats.flush();
    return next;
  }

  /** Makes a stream over the close events. */
  storeCloses(): Promise<void> {
    return this.#api("STREAM.CREATE.CLOSES", { name: "CLOSES", subjects: [closes], no_ack: true });
  }

  /** Everything that the stream has, when that is at least so much. */
  async storedCloses(count: number): Promise<Msg[]> {
    const inbox = createInbox();
    const next = messagesOf(this.#nats, inbox);
    const config = { deliver_subject: inbox, deliver_policy: "all", ack_policy: "none" };
    await this.#api("CONSUMER.CREATE.CLOSES", { stream_name: "CLOSES", config });
    const stored: Msg[] = [];
    // The last token of the reply subject says how many follow.
    while (stored.length < count || !stored.at(-1)?.reply?.endsWith(".0")) stored.push(await next());
    return stored;
  }

  /** The events of a stream before one that is published now. */
  async eventsBefore(mark: string, stream: EventStream): Promise<HoldfastEvent[]> {
    this.publish("open", mark, 1);
    const seen: HoldfastEvent[] = [];
    for (;;) {
      const { value } = await deadline(stream.next(), `the event ${mark}`);
      if (value === undefined || value.connection.id === mark) return seen;
      seen.push(value);
    }
  }

  async #api(subject: string, request: object): Promise<void> {
    const answer = await this.#nats.request(`$JS.API.${subject}`, JSON.stringify(request));
    const { error } = answer.json<{ error?: { description: string } }>();
    if (error !== undefined) throw new Error(`${subject}: ${error.description}`);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#nats.close();
  }
}

function messagesOf(nats: NatsConnection, subject: string): () => Promise<Msg> {
  const messages = nats.subscribe(subject)[Symbol.asyncIterator]();
  return async () => {
    const { value, done } = await deadline(messages.next(), `a message on ${subject}`);
    if (done) throw new Error(`the subscription to ${subject} ended`);
    return value;
  };
}
