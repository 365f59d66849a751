import type { HoldfastError } from "./errors.js";

/** One send that a {@link Sender} has taken. */
export class Sent {
  /** The connection it is for. */
  readonly connectionId: string;
  #outcome: "ok" | HoldfastError | undefined;
  #observed = false;
  #confirmed: Promise<void> | undefined;
  #resolve: (() => void) | undefined;
  #reject: ((error: HoldfastError) => void) | undefined;

  /** Made by {@link Sender.send}. */
  constructor(connectionId: string) {
    this.connectionId = connectionId;
  }

  /**
   * Resolves when the send has the confirmation it asked for, and rejects with why it failed. A failure that
   * nobody asked for here rejects nothing: {@link Sender.flush} throws it.
   */
  get confirmed(): Promise<void> {
    this.#observed = true;
    this.#confirmed ??= new Promise((resolve, reject) => {
      if (this.#outcome === "ok") resolve();
      else if (this.#outcome !== undefined) reject(this.#outcome);
      this.#resolve = resolve;
      this.#reject = reject;
    });
    return this.#confirmed;
  }

  /** Why it failed, when it did and nobody asked for the outcome. @internal */
  get unobserved(): HoldfastError | undefined {
    return this.#observed || this.#outcome === "ok" ? undefined : this.#outcome;
  }

  /** Called once, with the error when the send failed. @internal */
  settle(error: HoldfastError | undefined): void {
    this.#outcome = error ?? "ok";
    if (error === undefined) this.#resolve?.();
    else this.#reject?.(error);
  }
}
