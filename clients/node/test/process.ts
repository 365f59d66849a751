// Programs that a test runs as processes of their own: examples, and the snippets of the README.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { deadline } from "./deadline.js";

/** A program under way. */
export interface Program {
  /** The next line that it prints. */
  line(): Promise<string>;
  /** Its exit code, and everything it printed; fails when it does not end. */
  end(): Promise<{ code: number | null; output: string }>;
  /** Asks it to end. */
  stop(): void;
}

/** Runs a program by this Node. */
export function run(file: string, args: readonly string[], env: Record<string, string> = {}): Program {
  const child = spawn(process.execPath, [file, ...args], {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const exit = once(child, "close");
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const printed: string[] = [];
  let errors = "";
  child.stderr.on("data", (data: Buffer) => {
    errors += data;
  });
  const output = () => [...printed, errors].join("\n");
  return {
    async line() {
      const { value, done } = await deadline(lines.next(), `a line of ${file}\n${output()}`);
      if (done) throw new Error(`${file} ended:\n${output()}`);
      printed.push(value);
      return value;
    },
    async end() {
      const [code] = (await deadline(exit, `the end of ${file}\n${output()}`)) as [number | null];
      for (let next = await lines.next(); !next.done; next = await lines.next()) printed.push(next.value);
      return { code, output: output() };
    },
    stop: () => void (child as ChildProcess).kill("SIGTERM"),
  };
}
