import { setTimeout as delay } from "node:timers/promises";
import {
  AuthorizationError,
  connect as connectNats,
  type NatsConnection,
  type NodeConnectionOptions,
} from "@nats-io/transport-node";
import { Client } from "./client.js";
import { ControlChannel } from "./control.js";
import { errorOf } from "./error-of.js";
import {
  type ConnectOptions,
  DEFAULT_EVENT_PREFIX,
  DEFAULT_INBOUND_PREFIX,
  DEFAULT_KEEPALIVE_MS,
  DEFAULT_TIMEOUT_MS,
} from "./options.js";
import { within } from "./wait.js";

/**
 * Connects to a broker: to its control API and, when `nats` is given, to NATS. It returns when both answer, so
 * that a wrong address shows here and not later; of several addresses, when one answers.
 *
 * @example
 * const client = await connect({ control: "127.0.0.1:7400", nats: "nats://127.0.0.1:4222" });
 *
 * @throws {@link Unavailable} when one of them is not reached within `connectTimeoutMs`; {@link PermissionDenied} when
 * NATS refuses the credentials; {@link Cancelled}
 */
export async function connect(options: ConnectOptions = {}): Promise<Client> {
  const control = new ControlChannel(options);
  const { connectTimeoutMs = DEFAULT_TIMEOUT_MS, signal } = options;
  const nats = options.nats === undefined ? undefined : openNats(options, connectTimeoutMs);
  try {
    await Promise.all([control.ready(connectTimeoutMs, signal), nats]);
  } catch (error) {
    control.close();
    void nats?.then((connection) => connection.close()).catch(() => {});
    throw error;
  }
  const { eventPrefix = DEFAULT_EVENT_PREFIX, inboundPrefix = DEFAULT_INBOUND_PREFIX } = options;
  const connected = await nats;
  return new Client(control, connected && { nats: connected, eventPrefix, inboundPrefix });
}

/** Milliseconds between two attempts to reach NATS. */
const RETRY_MS = 100;

async function openNats(options: ConnectOptions, timeoutMs: number): Promise<NatsConnection> {
  const end = timeoutMs > 0 ? performance.now() + timeoutMs : Number.POSITIVE_INFINITY;
  for (;;) {
    const connecting = connectNats(natsOptionsOf(options, timeoutMs));
    try {
      return await within(connecting, { signal: options.signal }, "connecting to NATS");
    } catch (cause) {
      void connecting.then((connection) => connection.close()).catch(() => {});
      if (options.signal?.aborted) throw cause;
      if (cause instanceof AuthorizationError)
        throw errorOf("NATS refuses the credentials", { code: "UNAUTHENTICATED", cause });
      if (performance.now() + RETRY_MS > end)
        throw errorOf("no connection to NATS", { code: "UNAVAILABLE", cause });
    }
    await within(delay(RETRY_MS), { signal: options.signal }, "connecting to NATS");
  }
}

function natsOptionsOf({ nats }: ConnectOptions, timeoutMs: number): NodeConnectionOptions {
  const given = typeof nats === "object" && !Array.isArray(nats) ? nats : { servers: nats };
  return {
    // A lost connection is made again for as long as it takes, and one that vanished is noticed.
    maxReconnectAttempts: -1,
    // Also when a server refuses the credentials twice, as one does whose configuration is being changed.
    ignoreAuthErrorAbort: true,
    reconnectTimeWait: 250,
    pingInterval: DEFAULT_KEEPALIVE_MS,
    // Traces of where a request began cost more than the request.
    noAsyncTraces: true,
    ...(timeoutMs > 0 && { timeout: timeoutMs }),
    ...given,
  };
}
