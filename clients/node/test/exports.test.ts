import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import * as holdfast from "../src/index.js";
import { packageRoot } from "./broker.js";

describe("package", () => {
  test("the public names are these: one more is a promise, one less a break", () => {
    assert.deepEqual(Object.keys(holdfast).sort(), [
      "Cancelled",
      "ConnectionClosing",
      "ConnectionNotFound",
      "ConnectionPaused",
      "DeadlineExceeded",
      "HoldfastError",
      "InvalidArgument",
      "MessageExpired",
      "NodeNotFound",
      "NotConfirmed",
      "PermissionDenied",
      "QueueFull",
      "RateLimited",
      "SendFailures",
      "SkippedAfterFailure",
      "SlowConsumer",
      "TooManyGroups",
      "Unavailable",
      "connect",
    ]);
  });

  test("the README names every error class", () => {
    const readme = readFileSync(join(packageRoot, "README.md"), "utf8");
    for (const [name, value] of Object.entries(holdfast))
      if (typeof value === "function" && value.prototype instanceof Error)
        assert.ok(readme.includes(`\`${name}\``), name);
  });

  test("every export of a source file has a doc comment", () => {
    const folder = join(packageRoot, "src");
    for (const file of readdirSync(folder).filter((name) => name.endsWith(".ts") && name !== "index.ts")) {
      const lines = readFileSync(join(folder, file), "utf8").split("\n");
      for (const [index, line] of lines.entries())
        if (/^export (?!\*|\{|type \{)/.test(line))
          assert.match(lines[index - 1] ?? "", /\*\/$/, `${file}: ${line}`);
    }
  });

  test("no source or test file is longer than 250 lines", () => {
    for (const folder of ["src", "test"].map((name) => join(packageRoot, name)))
      for (const file of readdirSync(folder).filter((name) => name.endsWith(".ts"))) {
        const { length } = readFileSync(join(folder, file), "utf8").trimEnd().split("\n");
        assert.ok(length <= 250, `${file}: ${length} lines, split it by concern`);
      }
  });
});
