import { HoldfastError } from "./errors.js";
import type { Sent } from "./sent.js";

/** A send that failed. */
export interface SendFailure {
  /** The connection it was for. */
  readonly connectionId: string;
  /** Why it failed. */
  readonly error: HoldfastError;
}

/** Failures that are kept until somebody asks for them; of more, only the number is known. */
const KEPT = 1_000;

/** Sends of a {@link Sender} failed and nobody had asked for their outcome. `code` and `reason` are the first's. */
export class SendFailures extends HoldfastError {
  static {
    SendFailures.prototype.name = "SendFailures";
  }
  /** The failures in the order in which they were known; at most the first 1,000. */
  readonly failures: readonly SendFailure[];
  /** How many there were. */
  readonly count: number;

  /** Made by {@link Sender.flush} and {@link Sender.close}. */
  constructor(first: HoldfastError, failures: readonly SendFailure[], count: number) {
    const { code, reason } = first;
    super(`${count} sends failed and nobody asked for their outcome`, { code, reason, cause: first });
    this.failures = failures;
    this.count = count;
  }
}

/** What became of failures: each is told to `onFailure`, asked for, or raised. */
export class FailureLog {
  readonly #onFailure: ((failure: SendFailure) => void) | undefined;
  #kept: Sent[] = [];
  #beyond = 0;

  constructor(onFailure: ((failure: SendFailure) => void) | undefined) {
    this.#onFailure = onFailure;
  }

  /** Takes note of a failed send. */
  note(sent: Sent, error: HoldfastError): void {
    if (this.#onFailure !== undefined) this.#onFailure({ connectionId: sent.connectionId, error });
    else if (sent.unobserved === undefined) return;
    else if (this.#kept.length < KEPT) this.#kept.push(sent);
    else this.#beyond++;
  }

  /** Throws what nobody has asked for, once. */
  raise(): void {
    const failures: SendFailure[] = [];
    for (const { connectionId, unobserved } of this.#kept.splice(0))
      if (unobserved !== undefined) failures.push({ connectionId, error: unobserved });
    const count = failures.length + this.#beyond;
    this.#beyond = 0;
    const [first] = failures;
    if (first !== undefined) throw new SendFailures(first.error, failures, count);
  }
}
