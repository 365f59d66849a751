// Builds dist/ for whoever installs this package as a folder. For such a dependency npm makes a link and runs
// this, but installs nothing here, so on a fresh clone what the build needs is installed first.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

function run(...args) {
  const { status, error } = spawnSync("npm", args, {
    cwd: root,
    stdio: "inherit",
    shell: process.platform === "win32",
  });
  if (error !== undefined) throw error;
  if (status !== 0) process.exit(status ?? 1);
}

if (!existsSync(`${root}/node_modules/typescript`))
  run("ci", "--ignore-scripts", "--include=dev", "--global=false");
run("run", "build");
