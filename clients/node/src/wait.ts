import { cancelledBy, errorOf } from "./error-of.js";
import type { CallOptions } from "./options.js";

/**
 * Waits for a promise no longer than the options allow. What the promise stands for goes on; only the waiting
 * ends. 0 or absent `timeoutMs`: no limit.
 */
export function within<T>(promise: Promise<T>, options: CallOptions, what: string): Promise<T> {
  const { timeoutMs = 0, signal } = options;
  if (timeoutMs <= 0 && signal === undefined) return promise;
  return new Promise<T>((resolve, reject) => {
    if (signal?.aborted) return reject(cancelledBy(signal));
    const abort = () => reject(cancelledBy(signal as AbortSignal));
    signal?.addEventListener("abort", abort, { once: true });
    const late = () => reject(errorOf(`${what}: not within ${timeoutMs} ms`, { code: "DEADLINE_EXCEEDED" }));
    const timer = timeoutMs > 0 ? setTimeout(late, timeoutMs) : undefined;
    promise.then(resolve, reject).finally(() => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    });
  });
}

/** A promise with its two ends. */
export interface Deferred {
  readonly promise: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** A promise that somebody else settles. */
export function deferred(): Deferred {
  let resolve: () => void = () => {};
  let reject: (error: Error) => void = () => {};
  const promise = new Promise<void>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}
