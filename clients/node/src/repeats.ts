import type { EventKind } from "./events.js";

/** Connections, open or closed, that are remembered; the least recently heard of is forgotten first. */
const REMEMBERED = 65_536;

/**
 * Recognizes events that came before. The broker publishes again what NATS may have lost, with the same sequence
 * number. Another broker, or the next start of this one, may repeat a close, which has no number when the node of its
 * connection died: the first is news, whether or not the open was seen, and after it nothing of that connection is.
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
