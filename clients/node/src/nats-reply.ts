// The answer to a message event, sent to its reply subject as a request, so that a refusal is seen.
import { fromJsonString } from "@bufbuild/protobuf";
import {
  headers,
  InvalidArgumentError,
  type Msg,
  type NatsConnection,
  RequestError,
  TimeoutError,
} from "@nats-io/transport-node";
import { payloadOf } from "./convert.js";
import { errorOf } from "./error-of.js";
import { HoldfastError, type StatusCode } from "./errors.js";
import type { ReplyOptions } from "./events.js";
import { ReplyVerdictSchema } from "./gen/holdfast/v1/event_pb.js";
import { reasonName } from "./status.js";
import { within } from "./wait.js";

/** Milliseconds of a request without a limit: the greatest delay of a timer. */
const NO_LIMIT_MS = 2 ** 31 - 1;

/** Replies to a message event and waits for the broker's verdict, unless told not to. */
export async function replyTo(
  nats: NatsConnection,
  message: Msg,
  data: string | Uint8Array,
  options: ReplyOptions,
  defaultTimeoutMs: number,
): Promise<void> {
  if (!message.reply) throw errorOf("the event has no reply subject", { code: "FAILED_PRECONDITION" });
  payloadOf(data);
  const opcode = headers();
  opcode.set("Holdfast-Opcode", typeof data === "string" ? "text" : "binary");
  try {
    if (options.confirm === false) return nats.publish(message.reply, data, { headers: opcode });
    const timeout = (options.timeoutMs ?? defaultTimeoutMs) || NO_LIMIT_MS;
    const request = nats.request(message.reply, data, { headers: opcode, timeout });
    request.catch(() => {});
    judge(await within(request, { signal: options.signal }, "reply"));
  } catch (error) {
    throw error instanceof HoldfastError ? error : requestError(nats, error);
  }
}

function judge(answer: Msg): void {
  const verdict = fromJsonString(ReplyVerdictSchema, answer.string(), { ignoreUnknownFields: true });
  if (verdict.code === "OK") return;
  throw errorOf(verdict.message, { code: verdict.code as StatusCode, reason: reasonName(verdict.reason) });
}

/** The error of a message that was not given to NATS: its own limit, or that it is away. */
export function publishError(message: string, nats: NatsConnection, cause: unknown): HoldfastError {
  if (!(cause instanceof InvalidArgumentError)) return errorOf(message, { code: "UNAVAILABLE", cause });
  return errorOf("the message with its headers is larger than NATS takes", {
    code: "INVALID_ARGUMENT",
    reason: "MESSAGE_TOO_LARGE",
    metadata: { field: "message", allowed: `at most ${nats.info?.max_payload} bytes` },
    cause,
  });
}

function requestError(nats: NatsConnection, error: unknown): HoldfastError {
  const late =
    error instanceof TimeoutError || (error instanceof Error && error.cause instanceof TimeoutError);
  if (late) return errorOf("no verdict on the reply", { code: "DEADLINE_EXCEEDED", cause: error });
  const what = "the reply did not reach the broker";
  const nobody = error instanceof RequestError && error.isNoResponders();
  if (nobody) return errorOf(what, { code: "UNAVAILABLE", reason: "NODE_UNREACHABLE", cause: error });
  return publishError(what, nats, error);
}
