// WebSocket clients for the benchmarks: `node peers.mjs <url> <count>`. A number on stdin makes each of them
// send that many messages, the next one when something comes back.
import { createInterface } from "node:readline";
import WebSocket from "ws";

const [url, count] = process.argv.slice(2);
const payload = "x".repeat(100);
const peers = await Promise.all(
  Array.from({ length: Number(count) }, () => {
    const peer = { socket: new WebSocket(url), left: 0 };
    peer.socket.on("message", () => {
      if (peer.left > 0 && peer.left--) peer.socket.send(payload);
    });
    return new Promise((resolve) => peer.socket.once("open", () => resolve(peer)));
  }),
);
console.log("open");
for await (const line of createInterface(process.stdin))
  for (const peer of peers) {
    peer.left = Number(line) - 1;
    peer.socket.send(payload);
  }
