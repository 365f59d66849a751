// The real broker as a process of its own, on free ports, with its data in a temporary folder.
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { deadline } from "./deadline.js";

/** The folder of this package. */
export const packageRoot = fileURLToPath(new URL("../..", import.meta.url));
const repository = join(packageRoot, "../..");

/** Where a running broker listens. */
export interface Broker extends AsyncDisposable {
  /** "ws://127.0.0.1:…" of the client port. */
  readonly url: string;
  readonly control: string;
  readonly nats: string;
  readonly node: string;
  /** Ends it by SIGTERM and returns its exit code. */
  stop(): Promise<number | null>;
  /** Ends it by SIGKILL. */
  kill(): Promise<void>;
}

interface ReadyLine {
  readonly ready: boolean;
  readonly node: string;
  readonly listen: readonly string[];
  readonly control: string;
  readonly nats: string;
}

/** The binary: `$HOLDFAST_BROKER`, or the repository's bin/broker, or one built now. */
function binary(): string {
  const given = process.env.HOLDFAST_BROKER ?? join(repository, "bin/broker");
  if (process.env.HOLDFAST_BROKER !== undefined || existsSync(given)) return given;
  const built = join(packageRoot, "build/broker");
  execFileSync("go", ["build", "-o", built, "./cmd/broker"], { cwd: repository, stdio: "inherit" });
  return built;
}

const anyPort = "127.0.0.1:0";

/** Where a broker starts. */
export interface BrokerPlace {
  /** Address of a broker that was there before. Absent: a free port. */
  readonly control?: string;
  /** As `control`, of its NATS. */
  readonly nats?: string;
  /** A NATS server that is there. Absent: its own. */
  readonly natsUrl?: string;
  /** Where its data are, also after its end. Absent: in a folder that goes with it. */
  readonly folder?: string;
  /** How soon it is held dead, "1s". */
  readonly lease?: string;
}

/** Starts a broker; `endpoints` is the YAML list under that key. Absent: the default endpoint. */
export async function startBroker(endpoints?: string, at: BrokerPlace = {}): Promise<Broker> {
  const folder = at.folder ?? mkdtempSync(join(tmpdir(), "holdfast-test-"));
  const clean = () => {
    if (at.folder === undefined) rmSync(folder, { recursive: true, force: true });
  };
  const args = ["--listen", anyPort, "--ops-listen", anyPort, "--data-dir", join(folder, "data")];
  args.push("--control-listen", at.control ?? anyPort);
  if (at.natsUrl !== undefined) args.push("--nats-url", at.natsUrl);
  else args.push("--nats-listen", (at.nats ?? anyPort).replace("nats://", ""));
  if (at.lease !== undefined) args.push("--lease-duration", at.lease);
  if (endpoints !== undefined) {
    writeFileSync(join(folder, "config.yaml"), `drain: {timeout: 2s}\nendpoints:\n${endpoints}`);
    args.push("--config", join(folder, "config.yaml"));
  }
  const child = spawn(binary(), args, { stdio: ["ignore", "pipe", "pipe"] });
  let log = "";
  child.stderr.on("data", (data: Buffer) => {
    log += data;
  });
  const exited = new Promise<number | null>((resolve) => child.once("exit", resolve));
  const line = await deadline(Promise.race([firstLine(child), exited]), "the broker's ready line", 30_000);
  if (typeof line !== "string") {
    clean();
    throw new Error(`the broker ended with ${line}:\n${log}`);
  }
  const ready = JSON.parse(line) as ReadyLine;
  const end = async (signal: NodeJS.Signals) => {
    child.kill(signal);
    const code = await deadline(exited, `the broker's end after ${signal}:\n${log}`, 30_000);
    clean();
    return code;
  };
  return {
    url: ready.listen[0] ?? "",
    control: ready.control,
    nats: ready.nats,
    node: ready.node,
    stop: () => end("SIGTERM"),
    kill: async () => void (await end("SIGKILL")),
    [Symbol.asyncDispose]: async () => void (await end("SIGTERM")),
  };
}

function firstLine(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    if (child.stdout !== null) createInterface(child.stdout).once("line", resolve);
  });
}
