// A broker on free ports, WebSocket clients that only count, and the arithmetic of the results.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** Starts a broker and answers its ready line, with `stop`. */
export async function startBroker() {
  const binary =
    process.env.HOLDFAST_BROKER ?? fileURLToPath(new URL("../../../bin/broker", import.meta.url));
  const data = mkdtempSync(join(tmpdir(), "holdfast-bench-"));
  const ports = ["listen", "control-listen", "ops-listen", "nats-listen"].flatMap((flag) => [
    `--${flag}`,
    "127.0.0.1:0",
  ]);
  const child = spawn(binary, [...ports, "--data-dir", data], { stdio: ["ignore", "pipe", "inherit"] });
  const line = await new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`the broker ended with ${code}`)));
    createInterface(child.stdout).once("line", resolve);
  });
  child.removeAllListeners("exit");
  const stop = () => {
    child.kill();
    child.once("exit", () => rmSync(data, { recursive: true, force: true }));
  };
  return { ...JSON.parse(line), stop };
}

/** Opens WebSocket clients in a process of their own, so that their CPU is not counted here. */
export async function startPeers(url, count) {
  const child = spawn(
    process.execPath,
    [fileURLToPath(new URL("peers.mjs", import.meta.url)), url, `${count}`],
    {
      stdio: ["pipe", "pipe", "inherit"],
    },
  );
  await new Promise((resolve) => createInterface(child.stdout).once("line", resolve));
  /** Makes each client send that many messages; an echo is answered with the next. */
  const send = (messages) => child.stdin.write(`${messages}\n`);
  return { send, stop: () => child.kill() };
}

/** Runs something that does `count` operations, and answers rate and client CPU per operation. */
export async function measure(count, operation) {
  const cpuBefore = process.cpuUsage();
  const before = performance.now();
  await operation();
  const ms = performance.now() - before;
  const { user, system } = process.cpuUsage(cpuBefore);
  return { "per s": (count / ms) * 1000, "CPU µs": (user + system) / count };
}

/** `count` operations by 32 concurrent callers, with the spread of their latencies. */
export async function concurrently(count, operation) {
  const latencies = new Float64Array(count);
  let next = 0;
  const caller = async () => {
    for (let i = next++; i < count; i = next++) {
      const before = performance.now();
      await operation();
      latencies[i] = performance.now() - before;
    }
  };
  const result = await measure(count, () => Promise.all(Array.from({ length: 32 }, caller)));
  latencies.sort();
  return { ...result, "p50 ms": latencies[count >> 1], "p99 ms": latencies[Math.floor(count * 0.99)] };
}

/** Collects results by name, and prints the median, lowest and highest of each. */
export class Results {
  #values = new Map();

  add(name, result) {
    for (const [unit, value] of Object.entries(result)) {
      const key = `${name.padEnd(30)} ${unit.padEnd(7)}`;
      this.#values.set(key, [...(this.#values.get(key) ?? []), value]);
    }
  }

  print() {
    for (const [key, values] of this.#values) {
      values.sort((x, y) => x - y);
      const [median, low, high] = [values[values.length >> 1], values[0], values.at(-1)].map((value) =>
        value.toFixed(value < 100 ? 2 : 0),
      );
      console.log(`${key} ${median.padStart(9)}   ${low} – ${high}`);
    }
  }
}
