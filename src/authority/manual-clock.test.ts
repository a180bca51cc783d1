import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ManualClock } from "./testing.ts";

describe("ManualClock", () => {
  it("wakes sleepers in the order of their times and moves both times", async () => {
    const clock = new ManualClock(1_000);
    const woken: [string, number][] = [];
    const sleeper = async (name: string, ms: number) => {
      await clock.sleep(ms);
      woken.push([name, clock.now()]);
    };
    const all = [sleeper("late", 30), sleeper("early", 10), sleeper("never now", 31), sleeper("at once", 0)];
    await clock.advance(30);
    assert.deepEqual(woken, [
      ["at once", 1_000],
      ["early", 1_010],
      ["late", 1_030],
    ]);
    assert.equal(clock.monotonic(), 30);
    await clock.advance(1);
    await Promise.all(all);
  });

  it("steps the wall time alone", async () => {
    const clock = new ManualClock(1_000);
    let woken = false;
    const sleeper = clock.sleep(10).then(() => {
      woken = true;
    });
    clock.step(60_000);
    assert.equal(clock.now(), 61_000);
    assert.equal(clock.monotonic(), 0);
    await clock.advance(9);
    assert.equal(woken, false);
    await clock.advance(1);
    await sleeper;
  });

  it("ends a sleep when its signal aborts", async () => {
    const clock = new ManualClock();
    const stop = new AbortController();
    const sleeper = clock.sleep(10, stop.signal);
    stop.abort();
    await assert.rejects(sleeper, { code: "ERR_SPIFFE_ABORTED" });
    await assert.rejects(clock.sleep(10, stop.signal), { code: "ERR_SPIFFE_ABORTED" });
  });
});
