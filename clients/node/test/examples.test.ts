// The examples as a newcomer runs them: a process each, against a real broker.
import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import WebSocket from "ws";
import { type Broker, packageRoot, startBroker } from "./broker.js";
import { deadline } from "./deadline.js";
import { Peer } from "./peer.js";
import { type Program, run } from "./process.js";

const folder = join(packageRoot, "../../examples/node");

const endpoints = `
  - path: /
  - path: /door
    namespace: door
    subprotocols: [chat.v1]
    admission: {mode: backend, backend: {timeout: 10s}}
`;

describe("examples", () => {
  let broker: Broker;
  before(async () => {
    broker = await startBroker(endpoints);
    // What `npm ci` makes of the dependency on ../../clients/node.
    const link = join(folder, "node_modules/holdfast");
    mkdirSync(join(folder, "node_modules"), { recursive: true });
    if (!existsSync(link)) symlinkSync(packageRoot, link);
  });
  after(() => broker[Symbol.asyncDispose]());

  const start = (name: string, ...args: string[]): Program =>
    run(join(folder, name), ["--control", broker.control, "--nats", broker.nats, ...args]);
  const stop = async (program: Program) => {
    program.stop();
    const { code, output } = await program.end();
    assert.equal(code, 0, output);
  };

  test("echo", async () => {
    const first = start("echo.mjs");
    const second = start("echo.mjs");
    assert.equal(await first.line(), "echoing the namespace default");
    assert.equal(await second.line(), "echoing the namespace default");
    await using peer = await Peer.open(broker.url);
    for (let i = 0; i < 20; i++) {
      peer.socket.send(`${i}`);
      assert.equal(await peer.next(), `${i}`);
    }
    await stop(first);
    peer.socket.send(Buffer.from([0, 255]));
    assert.deepEqual(await peer.next(), Buffer.from([0, 255]), "the other one goes on");
    await stop(second);
  });

  test("door: who shows a token gets in, from a program and from a browser", async () => {
    const door = start("door.mjs", "--namespace", "door");
    assert.equal(await door.line(), "deciding who enters the namespace door");
    const url = `${broker.url}/door`;
    const program = new WebSocket(url, { headers: { Authorization: "Bearer ann-secret" } });
    await deadline(once(program, "open"), "the open of a program");
    program.terminate();
    const page = new WebSocket(url, ["chat.v1", "bearer.bob-secret"]);
    await deadline(once(page, "open"), "the open of a page");
    assert.equal(page.protocol, "chat.v1");
    page.terminate();
    const stranger = new WebSocket(url);
    const [, response] = await deadline(once(stranger, "unexpected-response"), "a refusal");
    response.resume();
    assert.deepEqual([response.statusCode, response.headers["www-authenticate"]], [401, "Bearer"]);
    await stop(door);
  });

  test("chat, with a restart between", async () => {
    let chat = run(join(folder, "chat.mjs"), [], {
      HOLDFAST_CONTROL: broker.control,
      HOLDFAST_NATS: broker.nats,
    });
    assert.equal(await chat.line(), "chatting in the namespace default, 0 there");
    await using one = await Peer.open(broker.url);
    const first = /^\* (guest-\w{4}) has joined$/.exec(String(await one.next()))?.[1];
    assert.ok(first);
    const two = await Peer.open(broker.url);
    const joined = String(await one.next());
    assert.equal(await two.next(), joined);
    await stop(chat);

    chat = start("chat.mjs");
    assert.equal(await chat.line(), "chatting in the namespace default, 2 there");
    one.socket.send("hello");
    assert.equal(await one.next(), `${first}: hello`);
    assert.equal(await two.next(), `${first}: hello`);
    two.socket.close();
    assert.equal(await one.next(), joined.replace("joined", "left"));
    await stop(chat);
  });
});
