// A message for a group, published to the group's NATS subject.
import { headers, type NatsConnection } from "@nats-io/transport-node";
import { payloadOf } from "./convert.js";
import { errorOf } from "./error-of.js";
import type { NatsPublishOptions } from "./group.js";
import { publishError } from "./nats-reply.js";

/** Where a client publishes what flows towards the broker. */
export interface NatsOutlet {
  readonly nats: NatsConnection;
  /** First token of the subjects that the broker listens to. */
  readonly inboundPrefix: string;
}

/** Publishes `<inbound prefix>.<namespace>.group.<group>`. */
export function publishToGroup(
  { nats, inboundPrefix }: NatsOutlet,
  group: { readonly namespace: string; readonly name: string },
  data: string | Uint8Array,
  { except = [] }: NatsPublishOptions,
): void {
  // A name with a dot or a wildcard would be another subject, and NATS tells nobody that no broker listens there.
  check(group.namespace, /^[a-z0-9_-]{1,32}$/, "INVALID_NAMESPACE", "namespace");
  check(group.name, /^[A-Za-z0-9_=:@-]{1,128}$/, "INVALID_GROUP", "group");
  payloadOf(data);
  const fields = headers();
  fields.set("Holdfast-Opcode", typeof data === "string" ? "text" : "binary");
  if (except.length > 0) fields.set("Holdfast-Except", except.join(","));
  try {
    nats.publish(`${inboundPrefix}.${group.namespace}.group.${group.name}`, data, { headers: fields });
  } catch (cause) {
    throw publishError("the message was not given to NATS", nats, cause);
  }
}

function check(value: string, allowed: RegExp, reason: string, field: string): void {
  if (allowed.test(value)) return;
  const metadata = { field, value: value.slice(0, 64), allowed: allowed.source.slice(1, -1) };
  throw errorOf(`not a ${field}: ${JSON.stringify(value)}`, { code: "INVALID_ARGUMENT", reason, metadata });
}
