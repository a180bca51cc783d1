import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { readInstant } from "./read.ts";

describe("a time of a rule", () => {
  const read = (text: unknown) => {
    const told: string[] = [];
    const instant = readInstant(text, ["until"], ({ what }) => told.push(what));
    return instant === undefined ? told.join() : new Date(instant).toISOString();
  };

  it("has its zone, and may leave out seconds", () => {
    for (const [text, instant] of [
      ["2026-12-15T00:00Z", "2026-12-15T00:00:00.000Z"],
      ["2026-12-31T23:59:59Z", "2026-12-31T23:59:59.000Z"],
      ["2028-02-29T12:30:15.5Z", "2028-02-29T12:30:15.500Z"],
      ["2026-01-01T00:00:00+23:59", "2025-12-31T00:01:00.000Z"],
    ] as const)
      assert.equal(read(text), instant);
    assert.equal(read(new Date(0)), "1970-01-01T00:00:00.000Z");
  });

  it("is on a day and at an hour that there are", () => {
    for (const text of ["00-10T00:00", "13-10T00:00", "01-00T00:00", "04-31T00:00", "02-29T00:00", "01-01T24:00"])
      assert.match(read(`2026-${text}:00Z`), / does not exist$/, text);
    for (const text of ["00:60:00", "00:00:60", "24:00:00"])
      assert.match(read(`2026-01-01T${text}Z`), / does not exist$/, text);
  });

  it("is nothing else", () => {
    const good = "2026-12-15T00:00:00Z";
    for (const text of [`on ${good}`, `${good} (or so)`, `${good}\n`, "2026-12-15", "2026-12-15T00:00:00", 5, null, {}])
      assert.match(read(text), / is no time$/, String(text));
    for (const zone of ["+24:00", "+23:60", "z", "+0100", " Z"])
      assert.match(read(`2026-12-15T00:00:00${zone}`), / is no time$/, zone);
    assert.equal(read(good), "2026-12-15T00:00:00.000Z");
  });
});
