import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { MAX_CAPTURES, slotOf } from "./pattern.ts";
import { matchesValue } from "./value.ts";

describe("names that a rule captures", () => {
  it("have a slot each, and beyond the bound one together", () => {
    const names: string[] = [];
    const slots = Array.from({ length: 1_000 }, (_, i) => slotOf(names, `n${i}`));
    assert.deepEqual(
      slots,
      slots.map((_, i) => Math.min(i, MAX_CAPTURES)),
    );
    assert.equal(names.length, MAX_CAPTURES + 1, "no list grows with what somebody writes");
    assert.equal(slotOf(names, "n7"), 7);
  });
});

describe("a value with a capture", () => {
  it("fits nothing where nothing was captured", () => {
    const pattern = { text: "{a}", parts: [0], open: false };
    assert.equal(matchesValue(pattern, "undefined", ["undefined"]), true);
    assert.equal(matchesValue(pattern, "undefined", [undefined]), false);
    assert.equal(matchesValue(pattern, "undefined", []), false);
  });
});
