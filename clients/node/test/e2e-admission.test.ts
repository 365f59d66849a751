// Who may connect, decided by a handler.
import assert from "node:assert/strict";
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { after, before, describe, test } from "node:test";
import WebSocket from "ws";
import { connect, type HandshakeRequest } from "../src/index.js";
import { startBroker } from "./broker.js";
import { deadline } from "./deadline.js";
import { Stage } from "./stage.js";

const endpoints = `
  - path: /door/{room}
    namespace: door
    subprotocols: [v1]
    admission: {mode: backend, backend: {timeout: 10s}}
`;

const roles = `
  - path: /
nats:
  users:
    - {name: hearer, password: sixteen-letters-long, roles: [listener], namespaces: [default]}
`;

test("a doorkeeper, and a loop over events, that NATS does not let in say so", async () => {
  await using broker = await startBroker(roles);
  const nats = { servers: broker.nats, user: "hearer", pass: "sixteen-letters-long" };
  const client = await connect({ control: broker.control, nats });
  const errors: unknown[] = [];
  const onError = (error: unknown) => void errors.push(error);
  const doorkeeper = client.admit(() => ({ refuse: {} }), { onError });
  const denied = { name: "PermissionDenied", code: "PERMISSION_DENIED" };
  await assert.rejects(doorkeeper.ready, denied);
  assert.equal(errors.length, 1);
  await assert.rejects(deadline(client.events({ namespace: "other" }).next(), "the end"), denied);
  await client.close();
});

describe("admission by a handler", () => {
  let stage: Stage;
  before(async () => {
    stage = await Stage.open(endpoints);
  });
  after(() => stage[Symbol.asyncDispose]());

  /** The answer to a handshake that is refused. */
  async function refusal(): Promise<IncomingMessage> {
    const socket = new WebSocket(`${stage.broker.url}/door/lobby`);
    const [, response] = await deadline(once(socket, "unexpected-response"), "a refusal");
    response.resume();
    return response;
  }

  test("the handler sees the handshake, and the open event what it says", async () => {
    const expireTime = new Date(Math.floor(Date.now() / 1000) * 1000 + 3_600_000);
    const asked: HandshakeRequest[] = [];
    await using doorkeeper = stage.client.admit(
      (handshake) => {
        asked.push(handshake);
        const headers = [["Set-Cookie", "x=1"] as const, ["Set-Cookie", "y=2"] as const];
        const client = { user: "ann", attributes: { tenant: "t1" }, groups: ["b", "a"] };
        return { accept: { ...client, subprotocol: "v2", headers, expireTime } };
      },
      { namespace: "door" },
    );
    await doorkeeper.ready;
    await using feed = await stage.events({ namespace: "door", kinds: ["open"] });
    const headers = { Authorization: "Bearer hunter2" };
    const socket = new WebSocket(`${stage.broker.url}/door/lobby?x=1`, ["v1", "v2"], { headers });
    const [response] = await deadline(once(socket, "upgrade"), "the upgrade");
    assert.deepEqual(response.headers["set-cookie"], ["x=1", "y=2"]);
    const { opened } = await feed.next("open");
    assert.deepEqual(
      [opened.user, opened.attributes, opened.groups, opened.subprotocol, opened.expireTime],
      ["ann", { tenant: "t1" }, ["a", "b"], "v2", expireTime],
    );
    const [handshake] = asked;
    assert.ok(handshake);
    assert.equal(handshake.connectionId, opened.id);
    assert.deepEqual(
      [handshake.url, handshake.pathValues, handshake.subprotocols, handshake.headers.Authorization],
      ["/door/lobby?x=1", { room: "lobby" }, ["v1", "v2"], "Bearer hunter2"],
    );
    socket.terminate();
  });

  test("what is sent before the answer is the client's first message", async () => {
    let sent: Promise<unknown> | undefined;
    await using doorkeeper = stage.client.admit(
      ({ connectionId }) => {
        sent = stage.client.connection(connectionId).send("hello");
        return { accept: {} };
      },
      { namespace: "door" },
    );
    await doorkeeper.ready;
    await using peer = await stage.dial("/door/lobby");
    assert.equal(await peer.messages.next(), "hello");
    await sent;
  });

  test("status and headers of a refusal are the handler's", async () => {
    const answer = { refuse: { status: 401, headers: { "WWW-Authenticate": "Bearer" } } };
    await using doorkeeper = stage.client.admit(() => answer, { namespace: "door" });
    await doorkeeper.ready;
    const { statusCode, headers } = await refusal();
    assert.deepEqual([statusCode, headers["www-authenticate"]], [401, "Bearer"]);
  });

  test("the client of a handler that throws is refused, and the next one is asked about", async () => {
    const errors: unknown[] = [];
    const handler = () => Promise.reject(new Error("no database"));
    const onError = (error: unknown) => void errors.push(error);
    await using doorkeeper = stage.client.admit(handler, { namespace: "door", onError });
    await doorkeeper.ready;
    assert.equal((await refusal()).statusCode, 500);
    assert.equal((await refusal()).statusCode, 500);
    assert.equal(errors.length, 2);
  });

  test("once closed nobody is asked", async () => {
    const doorkeeper = stage.client.admit(() => ({ accept: {} }), { namespace: "door" });
    await doorkeeper.ready;
    await doorkeeper.close();
    assert.equal((await refusal()).statusCode, 503);
  });
});
