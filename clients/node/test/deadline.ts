import { setTimeout as delay } from "node:timers/promises";

/** Waits for what a test expects, and says what did not happen when it does not come. */
export async function deadline<T>(promise: Promise<T>, what: string, ms = 30_000): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Tries until it succeeds, for what no event tells. */
export async function eventually<T>(attempt: () => Promise<T>, what: string, ms = 30_000): Promise<T> {
  const end = performance.now() + ms;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (performance.now() > end) throw new Error(`${what}: not within ${ms} ms`, { cause: error });
    }
    await delay(10);
  }
}
