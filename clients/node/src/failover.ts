// Several addresses of the control API: which one is next, and what is tried again where.
//
// Why not the library's own round robin and retries: its retry policy knows status codes alone, and NODE_STOPPING
// (nothing was done) and NODE_UNREACHABLE (nobody knows) are both UNAVAILABLE; a repeat may land on the node that has
// just refused; one channel checks one name in the certificates of all addresses; and without a resolver of our own
// (an experimental interface) it takes IP addresses only. A channel for each address has none of this, and one
// address alone works exactly as it did.
import { setTimeout as delay } from "node:timers/promises";
import { type AddressChannel, LATE, type Limits, neverLeft } from "./channel.js";
import { cancelledBy, errorOf } from "./error-of.js";
import { HoldfastError } from "./errors.js";
import { within } from "./wait.js";

/** Milliseconds that the first repeat waits at most; each later one up to twice as long, until {@link LONGEST_WAIT_MS}. */
const FIRST_WAIT_MS = 50;
const LONGEST_WAIT_MS = 1_000;
/** Milliseconds for which an address is passed over that has said it is stopping; by then it has closed its connection. */
const ASIDE_MS = 2_000;

/** Addresses in turn. */
export class Rotation {
  readonly #channels: readonly AddressChannel[];
  readonly #asideUntil = new WeakMap<AddressChannel, number>();
  /** Begins anywhere, so that many clients with the same list do not all begin at its head. */
  #turn = Math.floor(Math.random() * 1_000);

  constructor(channels: readonly AddressChannel[]) {
    this.#channels = channels;
  }

  /**
   * The next address that is connected; one that was tried, or is stopping, only when there is no other. Undefined
   * when none is connected.
   */
  next(tried?: ReadonlySet<AddressChannel>): AddressChannel | undefined {
    const ready = this.#channels.filter((channel) => channel.isReady);
    const first = this.#turn++;
    let best: AddressChannel | undefined;
    let bestCost = Number.POSITIVE_INFINITY;
    for (let i = 0; i < ready.length && bestCost > 0; i++) {
      const channel = ready[(first + i) % ready.length] as AddressChannel;
      const cost = (tried?.has(channel) ? 2 : 0) + (this.#isAside(channel) ? 1 : 0);
      if (cost >= bestCost) continue;
      best = channel;
      bestCost = cost;
    }
    return best;
  }

  /**
   * As {@link next}; while none is connected it waits for those that are about to be, as a call to one address does.
   * Undefined: none is, or the time is over.
   */
  async take(tried: ReadonlySet<AddressChannel>, { deadline, signal }: Limits) {
    for (;;) {
      const channel = this.next(tried);
      if (channel !== undefined) return channel;
      const connecting = this.#channels.filter((other) => other.isConnecting);
      const timeoutMs = Number.isFinite(deadline) ? deadline - Date.now() : 0;
      if (connecting.length === 0 || timeoutMs < 0) return undefined;
      const change = Promise.race(connecting.map((other) => other.change()));
      await within(change, { timeoutMs, signal }, "connecting").catch((error) => {
        if (signal?.aborted) throw error;
      });
    }
  }

  /** As {@link next}; one that is not connected rather than none. */
  any(): AddressChannel {
    return this.next() ?? (this.#channels[this.#turn % this.#channels.length] as AddressChannel);
  }

  /** The error of a call that finds no address connected. */
  noneReady(): HoldfastError {
    const addresses = this.#channels.map(({ address }) => address).join(", ");
    return errorOf(`none of ${addresses} is connected`, { code: "UNAVAILABLE" });
  }

  /** Whether an address is connected that was not tried. */
  hasOther(tried: ReadonlySet<AddressChannel>): boolean {
    return this.#channels.some((channel) => !tried.has(channel) && channel.isReady);
  }

  /** Takes note of how a call ended at an address. */
  note(channel: AddressChannel, error: HoldfastError): void {
    if (error.reason === "NODE_STOPPING") this.#asideUntil.set(channel, performance.now() + ASIDE_MS);
  }

  #isAside(channel: AddressChannel): boolean {
    return (this.#asideUntil.get(channel) ?? 0) > performance.now();
  }
}

/** What a failed attempt means for another one. */
type Verdict =
  /** The broker has decided, or the time is over. */
  | "final"
  /** It certainly had no effect. */
  | "nothing done"
  /** It may have had one. */
  | "unknown";

/** Reasons of an UNAVAILABLE with which a broker says so. */
const NOTHING_DONE: readonly (string | undefined)[] = [
  "NODE_STOPPING",
  "BUS_UNAVAILABLE",
  "KEYS_UNAVAILABLE",
];

/** Judges an attempt that failed, and not because the caller gave it up. */
export function verdictOn(error: HoldfastError): Verdict {
  if (neverLeft(error)) return "nothing done";
  // Nobody here gave it up: a node that is dying, or a proxy, has.
  if (error.code === "CANCELLED") return "unknown";
  if (error.code !== "UNAVAILABLE") return "final";
  return NOTHING_DONE.includes(error.reason) ? "nothing done" : "unknown";
}

/** One call over several addresses. */
export interface Failover<T> extends Limits {
  /** Makes one attempt. */
  readonly attempt: (channel: AddressChannel, deadline: number) => Promise<T>;
  /** May be made again although an earlier attempt may have taken effect. */
  readonly isRepeatable: boolean;
  /** How many attempts there may be; asked after each, because closing the client ends them. */
  readonly maxAttempts: () => number;
}

/** Makes a call at one address after the other until one answers, as long as that is safe and there is time. */
export async function failOver<T>(rotation: Rotation, call: Failover<T>): Promise<T> {
  const attempts = new Attempts(rotation, call);
  for (;;) {
    const channel = await rotation.take(attempts.tried, call);
    const outcome =
      channel === undefined
        ? { error: rotation.noneReady() }
        : await settled(call.attempt(channel, attempts.begin(channel)));
    if ("value" in outcome) return outcome.value;
    const waitMs = attempts.judge(channel, outcome.error);
    if (waitMs > 0) await pause(waitMs, call.signal);
  }
}

/** What the attempts of one call have come to. */
class Attempts {
  readonly tried = new Set<AddressChannel>();
  readonly #rotation: Rotation;
  readonly #call: Failover<unknown>;
  #count = 0;
  /** When the end of the attempt under way is its own deadline's, and not yet the call's. */
  #lateFrom = Number.POSITIVE_INFINITY;
  #wasLate = false;
  /** The first failure that leaves open whether the call took effect. */
  #unknown: HoldfastError | undefined;

  constructor(rotation: Rotation, call: Failover<unknown>) {
    this.#rotation = rotation;
    this.#call = call;
  }

  /**
   * Begins an attempt and tells its deadline: half of the time, where there can be another one, because a node that
   * hangs looks like one that is slow; and all of it once that has happened.
   */
  begin(channel: AddressChannel): number {
    this.tried.add(channel);
    const { deadline, isRepeatable, maxAttempts } = this.#call;
    this.#lateFrom = Number.POSITIVE_INFINITY;
    const isLast = this.#wasLate || this.#count + 1 >= maxAttempts() || !this.#rotation.hasOther(this.tried);
    if (!isRepeatable || isLast || !Number.isFinite(deadline)) return deadline;
    const half = (deadline - Date.now()) / 2;
    this.#lateFrom = Date.now() + LATE * half;
    return Date.now() + half;
  }

  /** Takes the failure of an attempt: the milliseconds until the next one. Throws when there is none. */
  judge(channel: AddressChannel | undefined, error: unknown): number {
    if (!(error instanceof HoldfastError) || this.#call.signal?.aborted) throw error;
    this.#count++;
    if (channel !== undefined) this.#rotation.note(channel, error);
    const wasLate = error.code === "DEADLINE_EXCEEDED" && Date.now() >= this.#lateFrom;
    this.#wasLate ||= wasLate;
    const verdict = channel === undefined ? "nothing done" : wasLate ? "unknown" : verdictOn(error);
    if (verdict === "unknown") this.#unknown ??= error;
    if (verdict === "final" || (verdict === "unknown" && !this.#call.isRepeatable)) throw error;
    const atOnce = wasLate || (verdict === "nothing done" && this.#rotation.hasOther(this.tried));
    const waitMs = atOnce ? 0 : jittered(this.#count);
    // An attempt that may have taken effect is what the caller must know of, whatever became of the later ones.
    if (this.#count >= this.#call.maxAttempts() || Date.now() + waitMs >= this.#call.deadline)
      throw this.#unknown ?? error;
    return waitMs;
  }
}

async function settled<T>(promise: Promise<T>): Promise<{ value: T } | { error: unknown }> {
  try {
    return { value: await promise };
  } catch (error) {
    return { error };
  }
}

/** Anything up to the limit, so that many callers that failed together do not come back together. */
function jittered(attempts: number): number {
  return 1 + Math.random() * Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** (attempts - 1));
}

async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await delay(ms, undefined, { signal });
  } catch {
    throw cancelledBy(signal as AbortSignal);
  }
}
