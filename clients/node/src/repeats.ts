import type { EventKind } from "./events.js";

/** Connections whose last sequence number is remembered; the least recently heard of is forgotten first. */
const REMEMBERED = 65_536;

/**
 * Recognizes events that came before. The broker publishes again what NATS may have lost, with the same sequence
 * number, and after a crash perhaps a close event; after the close nothing of that connection counts.
 */
export class Repeats {
  readonly #lastSeq = new Map<string, number>();
  readonly #limit: number;

  /** `limit`: how many connections are remembered. */
  constructor(limit = REMEMBERED) {
    this.#limit = limit;
  }

  /** Notes an event and says whether it is to be dropped. */
  isRepeat(id: string, kind: EventKind, seq: number | undefined): boolean {
    const last = this.#lastSeq.get(id) ?? 0;
    if (last === Number.POSITIVE_INFINITY) return true;
    if (kind === "close") this.#note(id, Number.POSITIVE_INFINITY);
    else if ((kind === "open" || kind === "message") && seq !== undefined) {
      if (seq <= last) return true;
      this.#note(id, seq);
    }
    return false;
  }

  #note(id: string, seq: number): void {
    this.#lastSeq.delete(id);
    this.#lastSeq.set(id, seq);
    if (this.#lastSeq.size <= this.#limit) return;
    const [oldest] = this.#lastSeq.keys();
    if (oldest !== undefined) this.#lastSeq.delete(oldest);
  }
}
