import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Repeats } from "../src/repeats.js";

describe("repeats", () => {
  test("the same sequence number comes through once", () => {
    const repeats = new Repeats();
    const seen = [
      ["open", 1],
      ["open", 1],
      ["message", 2],
      ["message", 3],
      ["message", 2],
      ["message", 3],
      ["message", 4],
    ] as const;
    assert.deepEqual(
      seen.map(([kind, seq]) => repeats.isRepeat("a", kind, seq)),
      [false, true, false, false, true, true, false],
    );
  });

  test("after a close nothing of that connection comes through, whatever its number", () => {
    const repeats = new Repeats();
    assert.equal(repeats.isRepeat("a", "close", undefined), false, "the close of a lost node has no number");
    for (const kind of ["close", "message", "ping", "writable", "open"] as const)
      assert.equal(repeats.isRepeat("a", kind, 9), true, kind);
    assert.equal(repeats.isRepeat("b", "open", 1), false);
  });

  test("the first close comes through, whether or not anything else did, and whatever its number", () => {
    const repeats = new Repeats();
    repeats.isRepeat("a", "message", 5);
    for (const [id, seq] of [
      ["a", 3],
      ["unheard of", 7],
    ] as const) {
      assert.equal(repeats.isRepeat(id, "close", seq), false, id);
      assert.equal(repeats.isRepeat(id, "close", seq), true, id);
    }
  });

  test("a close that is forgotten comes through again: open and closed connections share the memory", () => {
    const repeats = new Repeats(2);
    repeats.isRepeat("a", "close", undefined);
    repeats.isRepeat("b", "open", 1);
    assert.equal(repeats.isRepeat("a", "close", undefined), true);
    repeats.isRepeat("c", "open", 1);
    assert.equal(repeats.isRepeat("a", "close", undefined), false);
  });

  test("control events repeat the number of the event before them and come through", () => {
    const repeats = new Repeats();
    assert.equal(repeats.isRepeat("a", "message", 5), false);
    for (const kind of ["ping", "pong", "writable", "ping"] as const)
      assert.equal(repeats.isRepeat("a", kind, 5), false, kind);
  });

  test("memory is bounded: the least recently heard of is forgotten", () => {
    const repeats = new Repeats(2);
    repeats.isRepeat("a", "open", 1);
    repeats.isRepeat("b", "open", 1);
    repeats.isRepeat("a", "message", 2);
    repeats.isRepeat("c", "open", 1);
    assert.equal(repeats.isRepeat("a", "message", 2), true);
    assert.equal(repeats.isRepeat("b", "open", 1), false, "forgotten");
  });
});
