import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseDuration } from "./connection.ts";
import { duration, ms, percentile } from "./format.ts";
import { parsePort } from "./ports.ts";

describe("numbers for people", () => {
  it("writes milliseconds with one decimal, tiny ones with two", () => {
    assert.deepEqual([3.149, 0.1, 0.0421, 250].map(ms), ["3.1 ms", "0.1 ms", "0.04 ms", "250.0 ms"]);
  });

  it("writes durations in at most two units", () => {
    const cases: [number, string][] = [
      [-5, "0 s"],
      [400, "0 s"],
      [45_000, "45 s"],
      [150_000, "2 min 30 s"],
      [3_600_000, "1 h"],
      [3_605_000, "1 h"],
      [90_061_000, "1 d 1 h"],
    ];
    for (const [value, text] of cases) assert.equal(duration(value), text);
  });

  it("takes percentiles by nearest rank, in any order", () => {
    const samples = [5, 1, 4, 2, 3];
    assert.deepEqual([percentile(samples, 0.5), percentile(samples, 0.99), percentile([7], 0)], [3, 5, 7]);
    assert.deepEqual(samples, [5, 1, 4, 2, 3]);
  });
});

describe("numbers of the command line", () => {
  it("reads durations and refuses what is none", () => {
    assert.deepEqual(["500ms", "30s", "5m", "60m"].map(parseDuration), [500, 30_000, 300_000, 3_600_000]);
    for (const text of ["", "0s", "30", "1h", "1.5s", "-1s", "61m", "1e3ms", "s"]) {
      assert.throws(() => parseDuration(text), { code: "ERR_SPIFFE_USAGE" }, text);
    }
  });

  it("reads ports and refuses what is none", () => {
    assert.deepEqual(["0", "443", "65535"].map(parsePort), [0, 443, 65_535]);
    for (const text of ["", "65536", "-1", "0x50", "80 ", "http", "100000"]) {
      assert.throws(() => parsePort(text), { code: "ERR_SPIFFE_USAGE" }, text);
    }
  });
});
