import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ManualClock } from "../authority/manual-clock.ts";
import { drainPoint, keep } from "./lifetime.ts";

function life(drainAt: number, endAt: number) {
  const log: string[] = [];
  const state = { forsaken: false };
  return {
    log,
    state,
    drainAt,
    endAt,
    isForsaken: () => state.forsaken,
    drain: () => void log.push("drain"),
    end: () => void log.push("end"),
  };
}

describe("keep", () => {
  it("[S-9] drains once and ends at the time, at most a second late", async () => {
    const clock = new ManualClock();
    const one = life(clock.now() + 9_000, clock.now() + 10_000);
    const release = keep(clock, one);
    await clock.advance(8_900);
    assert.deepEqual(one.log, []);
    await clock.advance(1_000);
    assert.deepEqual(one.log, ["drain"]);
    await clock.advance(1_100);
    assert.deepEqual(one.log.slice(0, 2), ["drain", "end"]);
    release();
  });

  it("[S-9] [S-17] sees a step of the wall clock, and a far end never comes early", async () => {
    const clock = new ManualClock();
    const far = life(Infinity, Date.UTC(9999, 11, 31));
    const near = life(Infinity, clock.now() + 86_400_000);
    const releases = [keep(clock, far), keep(clock, near)];
    await clock.advance(1_000);
    assert.deepEqual(near.log, []);
    clock.step(86_400_000);
    await clock.advance(500);
    assert.equal(near.log[0], "end");
    assert.deepEqual(far.log, []);
    for (const release of releases) release();
  });

  it("[S-9] ends what lost its identity or its peer's bundle at once, and nothing else", async () => {
    const clock = new ManualClock();
    const [lost, kept] = [life(Infinity, Infinity), life(Infinity, Infinity)];
    const releases = [keep(clock, lost), keep(clock, kept)];
    await clock.advance(1_000);
    assert.deepEqual(lost.log, []);
    lost.state.forsaken = true;
    await clock.advance(500);
    assert.deepEqual([lost.log, kept.log], [["end"], []]);
    for (const release of releases) release();
  });

  it("[S-9] [S-17] ends every connection when the clock tells no time", async () => {
    const clock = new ManualClock();
    const far = life(Infinity, clock.now() + 86_400_000);
    const release = keep(clock, far);
    await clock.advance(1_000);
    assert.deepEqual(far.log, []);
    clock.now = () => Number.NaN;
    await clock.advance(500);
    assert.equal(far.log[0], "end");
    release();
  });

  it("leaves released connections alone and starts anew after the last one", async () => {
    const clock = new ManualClock();
    const gone = life(Infinity, clock.now() + 1_000);
    keep(clock, gone)();
    const next = life(Infinity, clock.now() + 1_000);
    const release = keep(clock, next);
    await clock.advance(1_600);
    assert.deepEqual(gone.log, []);
    assert.equal(next.log[0], "end");
    release();
  });
});

describe("drainPoint", () => {
  it("[S-9] lies in the last tenth of the life, spread", () => {
    const points = new Set<number>();
    for (let i = 0; i < 1_000; i++) {
      const point = drainPoint(1_000, 11_000);
      assert.ok(point >= 10_000 && point <= 11_000);
      points.add(point);
    }
    assert.ok(points.size > 900);
  });
});
