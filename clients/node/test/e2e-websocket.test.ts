// What passes between a WebSocket client and a backend, seen from both ends.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Peer } from "./peer.js";
import { Stage } from "./stage.js";

const endpoints = `
  - path: /
  - {path: /control, namespace: control, events: [open, message, close, ping, pong]}
  - {path: /chosen, namespace: chosen, subprotocols: [v2.chat, v1.chat]}
  - {path: /guarded, namespace: guarded, origins: ["https://app.example.org"]}
`;

describe("WebSocket to backend and back", () => {
  let stage: Stage;
  before(async () => {
    stage = await Stage.open(endpoints);
  });
  after(() => stage[Symbol.asyncDispose]());

  test("open, messages and close come in order, numbered without gaps", async () => {
    await using feed = await stage.events({ kinds: ["close", "message", "open"] });
    const peer = await stage.dial("/?room=7");
    for (let i = 0; i < 100; i++) peer.socket.send(`m${i}`);
    peer.socket.close(4321, "over");
    const open = await feed.next("open");
    assert.equal(open.seq, 1);
    assert.deepEqual(
      [open.opened.url, open.opened.state, open.opened.node],
      ["/?room=7", "OPEN", stage.broker.node],
    );
    for (let i = 0; i < 100; i++) {
      const message = await feed.next("message");
      assert.deepEqual(
        [message.seq, message.data, message.connection.id],
        [i + 2, `m${i}`, open.connection.id],
      );
    }
    const { seq, closed } = await feed.next("close");
    assert.deepEqual(
      [seq, closed.code, closed.reason, closed.wasClean, closed.cause],
      [102, 4321, "over", true, "PEER_CLOSE"],
    );
    assert.deepEqual([closed.messagesIn, closed.messagesOut], [100, 0]);
    assert.equal((await peer.end()).code, 4321);
  });

  for (const size of [0, 1, 125, 126, 127, 65_535, 65_536]) {
    test(`${size} bytes, text and binary, both ways`, async () => {
      await using feed = await stage.events({ kinds: ["message"] });
      await using it = await stage.pair();
      const bytes = Buffer.alloc(size, "h");
      it.peer.socket.send(bytes.toString());
      it.peer.socket.send(bytes);
      const text = await feed.next("message");
      const binary = await feed.next("message");
      assert.ok(text.opcode === "text" && text.data === bytes.toString());
      assert.ok(binary.opcode === "binary" && bytes.equals(binary.data));
      await it.handle.send(text.data);
      await it.handle.send(binary.data);
      assert.equal(await it.peer.next(), bytes.toString());
      assert.deepEqual(await it.peer.next(), bytes);
    });
  }

  test("a message in fragments is one message, also with a ping between them", async () => {
    await using feed = await stage.events({ kinds: ["message"] });
    await using peer = await stage.dial();
    peer.socket.send("frag", { fin: false });
    peer.socket.ping("between");
    peer.socket.send("men", { fin: false });
    peer.socket.send("ted");
    assert.equal((await feed.next("message")).data, "fragmented");
    assert.equal(await peer.pongs.next(), "between");
  });

  test("text is any Unicode, binary any bytes", async () => {
    await using feed = await stage.events({ kinds: ["message"] });
    await using it = await stage.pair();
    const text = "aé€😀\u0000\u{10ffff}";
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    it.peer.socket.send(text);
    it.peer.socket.send(bytes);
    assert.equal((await feed.next("message")).data, text);
    assert.deepEqual(Buffer.from((await feed.next("message")).data as Uint8Array), bytes);
    await it.handle.send(text);
    assert.equal(await it.peer.next(), text);
  });

  test("pings and pongs of a client are events where the endpoint asks for them", async () => {
    await using feed = await stage.events({ namespace: "control" });
    await using peer = await stage.dial("/control");
    await feed.next("open");
    peer.socket.ping("are you there");
    peer.socket.pong("nobody asked");
    const ping = await feed.next("ping");
    assert.deepEqual([Buffer.from(ping.payload).toString(), ping.seq], ["are you there", 1]);
    assert.equal(await peer.pongs.next(), "are you there");
    const pong = await feed.next("pong");
    assert.equal(Buffer.from(pong.payload).toString(), "nobody asked");
  });

  test("close codes and reasons reach the backend", async () => {
    for (const [code, reason] of [
      [1000, ""],
      [1001, "going"],
      [3000, "é".repeat(61)],
      [4999, "x"],
    ] as const) {
      await using feed = await stage.events({ kinds: ["close"] });
      const peer = await stage.dial();
      peer.socket.close(code, reason);
      const { closed } = await feed.next("close");
      assert.deepEqual(
        [closed.code, closed.reason, closed.sentCode, closed.wasClean],
        [code, reason, code, true],
      );
      await peer.end();
    }
  });

  test("a close without a code, and an end without a close", async () => {
    await using feed = await stage.events({ kinds: ["close"] });
    const silent = await stage.dial();
    silent.socket.close();
    const none = (await feed.next("close")).closed;
    assert.deepEqual([none.code, none.wasClean, none.cause], [1005, true, "PEER_CLOSE"]);
    assert.equal((await silent.end()).code, 1005);
    const cut = await stage.dial();
    cut.socket.terminate();
    const lost = (await feed.next("close")).closed;
    assert.deepEqual(
      [lost.code, lost.sentCode, lost.wasClean, lost.cause],
      [1006, 0, false, "TRANSPORT_ERROR"],
    );
  });

  test("close codes and reasons reach the client", async () => {
    for (const [code, reason] of [
      [1000, ""],
      [1001, "x"],
      [1011, "x"],
      [3000, "é".repeat(61)],
      [4999, "x"],
    ] as const) {
      await using feed = await stage.events({ kinds: ["close"] });
      await using it = await stage.pair();
      assert.deepEqual(await it.handle.close({ code, reason }), { code, reason, wasClean: true });
      assert.deepEqual(await it.peer.end(), { code, reason });
      const { closed } = await feed.next("close");
      assert.deepEqual([closed.sentCode, closed.sentReason, closed.cause], [code, reason, "BACKEND_CLOSE"]);
    }
  });

  test("a message over the limit closes with 1009, a broken frame with 1002", async () => {
    await using feed = await stage.events({ kinds: ["close"] });
    const big = await stage.dial();
    big.socket.send(Buffer.alloc((1 << 20) + 1));
    assert.equal((await big.end()).code, 1009);
    assert.equal((await feed.next("close")).closed.cause, "MESSAGE_TOO_LARGE");
    const broken = await stage.dial();
    const { _socket: tcp } = broken.socket as unknown as { _socket: NodeJS.WritableStream };
    tcp.write(Buffer.from([0x83, 0x80, 0, 0, 0, 0]));
    assert.equal((await broken.end()).code, 1002);
    const { closed } = await feed.next("close");
    assert.deepEqual(
      [closed.cause, closed.fault, closed.sentCode],
      ["PROTOCOL_FAULT", "INVALID_OPCODE", 1002],
    );
  });

  test("the endpoint's preferred subprotocol is chosen, or none", async () => {
    await using feed = await stage.events({ namespace: "chosen", kinds: ["open"] });
    for (const [offered, chosen] of [
      [["v1.chat", "v2.chat"], "v2.chat"],
      [["v1.chat"], "v1.chat"],
    ] as const) {
      await using peer = await stage.dial("/chosen", [...offered]);
      assert.equal(peer.socket.protocol, chosen);
      assert.equal((await feed.next("open")).opened.subprotocol, chosen);
    }
    await using bare = await stage.dial("/chosen");
    assert.equal(bare.socket.protocol, "");
    assert.equal((await feed.next("open")).opened.subprotocol, "");
  });

  test("an origin that is not allowed is refused with 403; no event follows", async () => {
    await using feed = await stage.events({ namespace: "guarded", kinds: ["open"] });
    const url = `${stage.broker.url}/guarded`;
    await assert.rejects(Peer.open(url, [], { origin: "https://evil.example.org" }), /403/);
    await using allowed = await Peer.open(url, [], { origin: "https://app.example.org" });
    assert.equal((await feed.next("open")).seq, 1);
    assert.equal(allowed.socket.readyState, allowed.socket.OPEN);
    await assert.rejects(Peer.open(`${stage.broker.url}/nowhere`), /404/);
  });
});
