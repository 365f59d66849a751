// Every JavaScript snippet of the README, run as it stands but for the addresses.
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import WebSocket from "ws";
import { packageRoot } from "./broker.js";
import { deadline } from "./deadline.js";
import { type Program, run } from "./process.js";
import { Stage } from "./stage.js";

const readme = readFileSync(join(packageRoot, "README.md"), "utf8");

describe("README", () => {
  let stage: Stage;
  before(async () => {
    stage = await Stage.open(
      "  - path: /\n  - path: /door\n    namespace: door\n    admission: {mode: backend}\n",
    );
  });
  after(() => stage[Symbol.asyncDispose]());

  /** Runs the snippet under a heading. */
  function snippet(heading: string, ...args: string[]): Program {
    const section = readme.split(`\n## ${heading}\n`)[1]?.split("\n## ")[0] ?? "";
    const code = /```js\n(.*?)```/s.exec(section)?.[1];
    assert.ok(code, heading);
    const { control, nats } = stage.broker;
    const folder = join(packageRoot, "build/readme");
    mkdirSync(folder, { recursive: true });
    const file = join(folder, `${heading.replace(/\W+/g, "-").toLowerCase()}.mjs`);
    const here = code.replaceAll("127.0.0.1:7400", control).replaceAll("nats://127.0.0.1:4222", nats);
    // The other nodes of the snippets: nobody listens there.
    writeFileSync(
      file,
      here.replaceAll("127.0.0.1:7410", "127.0.0.1:1").replaceAll("127.0.0.1:7420", "127.0.0.1:2"),
    );
    return run(file, args);
  }

  async function ended(program: Program): Promise<string[]> {
    const { code, output } = await program.end();
    assert.equal(code, 0, output);
    return output.trim().split("\n");
  }

  test("has no snippet that is not run here", () => {
    assert.equal(readme.match(/```js\n/g)?.length, 7);
  });

  test("hear and answer", async () => {
    const program = snippet("Hear and answer");
    assert.equal(await program.line(), "listening");
    await using peer = await stage.dial("/?from=readme");
    peer.socket.send("hi");
    assert.equal(await peer.next(), "you said hi");
    peer.socket.close(1000);
    assert.deepEqual(await ended(program), ["listening", "open /?from=readme", "close 1000 PEER_CLOSE"]);
  });

  test("act on a connection", async () => {
    await using it = await stage.pair();
    const [received, facts, closed] = await ended(snippet("Act on a connection", it.handle.id));
    assert.match(received ?? "", /^the client has it after [\d.]+ ms; a ping takes [\d.]+ ms$/);
    assert.match(facts ?? "", /^ann 7 127\.0\.0\.1:\d+$/);
    assert.equal(closed, "closed true");
    assert.equal(await it.peer.next(), "text");
    assert.deepEqual(await it.peer.next(), Buffer.from([1, 2, 3]));
    assert.equal(await it.peer.next(), "one two three");
    assert.deepEqual(await it.peer.end(), { code: 4000, reason: "that was all" });
  });

  test("find connections, send to many", async () => {
    await using a = await stage.pair();
    await using b = await stage.pair();
    assert.deepEqual(await ended(snippet("Find connections, send to many")), ["true", "2 0"]);
    for (const { peer } of [a, b]) assert.equal(await peer.next(), "to all of you");
    const [first, second] = [a, b].map(({ peer }) => peer);
    for (let i = 0; i < 500; i++) {
      const [one, two] = [await first?.next(), await second?.next()].sort((x, y) => order(x) - order(y));
      assert.deepEqual([one, two], [`message ${2 * i}`, `message ${2 * i + 1}`]);
    }
  });

  test("groups, users, everyone", async () => {
    await using a = await stage.pair();
    await using b = await stage.pair();
    const lines = await ended(snippet("Groups, users, everyone", a.handle.id, b.handle.id));
    assert.deepEqual(lines, [
      "2 members, 1 reached, 0 too slow, 0 nodes silent",
      "member true",
      "member true",
      "room-7 2",
    ]);
    // Nothing orders what goes over NATS with what goes over the control API.
    assert.deepEqual([await a.peer.next(), await a.peer.next()].sort(), ["to all", "to each of your tabs"]);
    assert.deepEqual(await a.peer.end(), { code: 4001, reason: "signed out" });
    const others = [await b.peer.next(), await b.peer.next(), await b.peer.next()];
    assert.deepEqual(others.sort(), ["to all", "to everyone", "to the others"]);
  });

  test("decide who connects", async () => {
    const program = snippet("Decide who connects");
    assert.equal(await program.line(), "deciding");
    const headers = { Authorization: "Bearer hunter2" };
    const ann = new WebSocket(`${stage.broker.url}/door`, { headers });
    await deadline(once(ann, "open"), "the open");
    ann.terminate();
    const stranger = new WebSocket(`${stage.broker.url}/door`);
    const [, response] = await deadline(once(stranger, "unexpected-response"), "a refusal");
    response.resume();
    assert.equal(response.statusCode, 401);
    program.stop();
    await ended(program);
  });

  test("several addresses", async () => {
    const [node, answering] = await ended(snippet("Several addresses"));
    assert.match(node ?? "", /^10 READY \d+$/);
    assert.equal(answering, `true ${stage.broker.control}`);
  });

  test("errors", async () => {
    assert.deepEqual(await ended(snippet("Errors")), ["it has left: CONNECTION_GONE"]);
  });
});

const order = (line: unknown) => Number(String(line).split(" ")[1]);
