// Sends four messages to an echo with Node's `ws`: node node_ws.cjs URL deflate|plain [SOCKET]
"use strict";
const assert = require("node:assert/strict");
const { once } = require("node:events");
const { WebSocket } = require("ws");

const mib = 1 << 20;
const messages = [
  "Hello, κόσμε",
  Buffer.of(0, 1, 128, 255),
  `${"€".repeat((mib - 1) / 3)}x`,
  Buffer.from({ length: mib }, (_, i) => Math.imul(i, 2654435761) >>> 24),
];

async function main(url, compression, path) {
  const address = path ? `ws+unix:${path}:${new URL(url).pathname}` : url;
  const socket = new WebSocket(address, {
    perMessageDeflate: compression === "deflate" && { threshold: 0 },
    rejectUnauthorized: false, // the certificate is not what is tested
  });
  await once(socket, "open");
  for (const message of messages) {
    socket.send(message);
    const [data, isBinary] = await once(socket, "message");
    assert.equal(isBinary, typeof message !== "string");
    assert.ok(data.equals(Buffer.from(message)), `${message.length} came back otherwise`);
  }
  socket.close(1000);
  const [code] = await once(socket, "close");
  assert.equal(code, 1000);
}

main(...process.argv.slice(2));
