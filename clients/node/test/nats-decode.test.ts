import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { headers, type Msg } from "@nats-io/transport-node";
import { EVENT_KINDS, type HoldfastEvent } from "../src/events.js";
import type { ConnectionHandle } from "../src/index.js";
import { decodeEvent, parseSubject, percentDecoded } from "../src/nats-decode.js";
import { subjectsOf } from "../src/nats-source.js";

const context = {
  connection: (id: string) => ({ id }) as ConnectionHandle,
  reply: async () => {},
};

function decode(
  subject: string,
  payload: string | Uint8Array,
  fields: Record<string, string> = {},
): HoldfastEvent {
  const head = headers();
  for (const [name, value] of Object.entries(fields)) head.set(name, value);
  const data = typeof payload === "string" ? new TextEncoder().encode(payload) : payload;
  const string = () => new TextDecoder().decode(data);
  const message = {
    subject,
    data,
    headers: head,
    string,
    json: () => JSON.parse(string()),
  } as unknown as Msg;
  const parsed = parseSubject(subject);
  assert.ok(parsed);
  return decodeEvent(message, parsed, context);
}

describe("NATS events", () => {
  test("subjects are read from their end, so that a prefix may have several tokens", () => {
    assert.deepEqual(parseSubject("holdfast.chat.open.a-b"), { namespace: "chat", kind: "open", id: "a-b" });
    assert.deepEqual(parseSubject("eu.prod.chat.close.a-b"), { namespace: "chat", kind: "close", id: "a-b" });
    assert.equal(parseSubject("holdfast.chat.unheard-of.a-b"), undefined);
    assert.equal(parseSubject("open.a"), undefined);
  });

  test("messages and another kind are one subscription; in a queue group each kind has its own", () => {
    const base = { prefix: "holdfast", namespace: "chat", queue: undefined };
    assert.deepEqual(subjectsOf({ ...base, kinds: EVENT_KINDS }), ["holdfast.chat.*.*"]);
    assert.deepEqual(subjectsOf({ ...base, kinds: EVENT_KINDS, queue: "q" }), ["holdfast.chat.*.*"]);
    assert.deepEqual(subjectsOf({ ...base, kinds: ["message", "close"] }), ["holdfast.chat.*.*"]);
    assert.deepEqual(subjectsOf({ ...base, kinds: ["message", "message"] }), ["holdfast.chat.message.*"]);
    const openAndClose = ["holdfast.chat.close.*", "holdfast.chat.open.*"];
    assert.deepEqual(subjectsOf({ ...base, kinds: ["close", "open"] }), openAndClose);
    const messageAndClose = ["holdfast.chat.message.*", "holdfast.chat.close.*"];
    assert.deepEqual(subjectsOf({ ...base, kinds: ["message", "close"], queue: "q" }), messageAndClose);
  });

  test("open is the JSON of a connection; what a newer broker adds is passed over", () => {
    const json = `{"id":"a-b","state":"OPEN","open_time":"2030-01-02T03:04:05.006Z","user":"ann","seq":"1",
      "remote_address":"192.0.2.7:5","rtt":"0.0125s","bytes_in":"9007199254740991","from_the_future":[1]}`;
    const event = decode("holdfast.default.open.a-b", json, { "Holdfast-Seq": "1" });
    assert.ok(event.kind === "open");
    const { opened } = event;
    assert.deepEqual(
      [event.connection.id, event.namespace, event.seq, event.user],
      ["a-b", "default", 1, "ann"],
    );
    assert.deepEqual([opened.state, opened.rttMs, opened.remoteAddress], ["OPEN", 12.5, "192.0.2.7:5"]);
    assert.deepEqual(
      [opened.openTime.toISOString(), opened.bytesIn],
      ["2030-01-02T03:04:05.006Z", 2 ** 53 - 1],
    );
    assert.deepEqual([opened.expireTime, opened.tls, opened.paused], [undefined, undefined, false]);
  });

  test("close is the JSON of Closed; causes this client does not know are absent", () => {
    const json = `{"id":"a-b","code":1001,"was_clean":true,"cause":"PEER_CLOSE","fault":"INVALID_UTF8","messages_in":"3"}`;
    const event = decode("holdfast.default.close.a-b", json);
    assert.ok(event.kind === "close");
    const { code, wasClean, cause, fault, messagesIn, reason } = event.closed;
    assert.deepEqual([event.seq, code, wasClean, cause], [undefined, 1001, true, "PEER_CLOSE"]);
    assert.deepEqual([fault, messagesIn, reason], ["INVALID_UTF8", 3, ""]);
    const future = decode("holdfast.default.close.a-b", `{"id":"a-b","code":1006,"cause":"COMET"}`);
    assert.ok(future.kind === "close");
    assert.deepEqual([future.closed.cause, future.closed.fault], [undefined, undefined]);
  });

  test("messages are text or bytes; user and attributes are percent-decoded", () => {
    const text = decode("holdfast.default.message.a-b", "hé", {
      "Holdfast-Seq": "2",
      "Holdfast-Opcode": "text",
      "Holdfast-User": "J%C3%BCrgen%20%25",
      "Holdfast-Attr-room": "caf%C3%A9",
      "Holdfast-Attr-Two%20": "1",
    });
    assert.ok(text.kind === "message" && text.opcode === "text");
    assert.deepEqual([text.data, text.user], ["hé", "Jürgen %"]);
    assert.deepEqual(text.attributes, { room: "café", "Two%20": "1" });
    const bytes = decode("holdfast.default.message.a-b", new Uint8Array([0, 255]), {
      "Holdfast-Opcode": "binary",
    });
    assert.ok(bytes.kind === "message" && bytes.opcode === "binary");
    assert.deepEqual([[...bytes.data], bytes.user, bytes.attributes], [[0, 255], "", {}]);
    assert.equal(percentDecoded("100%"), "100%");
  });

  test("ping, pong and writable", () => {
    const ping = decode("holdfast.default.ping.a-b", "hi", { "Holdfast-Seq": "7" });
    assert.ok(ping.kind === "ping");
    assert.deepEqual([ping.seq, Buffer.from(ping.payload).toString()], [7, "hi"]);
    assert.equal(decode("holdfast.default.pong.a-b", "").kind, "pong");
    const writable = decode("holdfast.default.writable.a-b", `{"buffered_amount":0}`);
    assert.ok(writable.kind === "writable");
    assert.equal(writable.bufferedAmount, 0);
  });

  test("a payload that is not what the subject says is refused", () => {
    assert.throws(() => decode("holdfast.default.open.a-b", "{not json"));
  });
});
