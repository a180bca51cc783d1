import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Clock, systemClock, timeOf } from "./clock.ts";
import { isSpiffeError } from "./errors.ts";

describe("[S-17] a clock", () => {
  it("tells a number or no time at all", () => {
    const at = (now: () => unknown) => timeOf({ ...systemClock, now } as Clock);
    for (const now of [0, -1, 1.5, 2 ** 45])
      assert.equal(
        at(() => now),
        now,
      );
    for (const now of [
      Number.NaN,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
      "5",
      null,
      undefined,
      5n,
      new Date(5),
    ])
      assert.ok(Number.isNaN(at(() => now)), String(now));
    const none = () => {
      throw new Error("no clock");
    };
    assert.ok(Number.isNaN(at(none)));
    assert.ok(Number.isFinite(timeOf(systemClock)));
  });

  it("waits for nothing where there is nothing to wait for, and not for whoever has gone", async () => {
    const gone = AbortSignal.abort(new Error("gone"));
    for (const ms of [0, -1, Number.NaN, Number.NEGATIVE_INFINITY]) await systemClock.sleep(ms);
    for (const ms of [0, 3_600_000, Number.POSITIVE_INFINITY])
      await assert.rejects(systemClock.sleep(ms, gone), (error) => isSpiffeError(error, "ERR_SPIFFE_ABORTED"));
    const going = new AbortController();
    const wait = systemClock.sleep(Number.POSITIVE_INFINITY, going.signal);
    going.abort();
    await assert.rejects(wait, (error) => isSpiffeError(error, "ERR_SPIFFE_ABORTED"));
  });
});
