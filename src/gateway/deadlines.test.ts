import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ManualClock } from "../authority/testing.ts";
import { systemClock } from "../base/index.ts";
import { Deadlines } from "./deadlines.ts";

describe("deadlines", () => {
  const make = () => {
    const clock = new ManualClock();
    const told: string[] = [];
    const deadlines = new Deadlines(clock);
    const wait = (ms: number, name: string, from?: number) => deadlines.after(ms, () => told.push(name), from);
    return { clock, told, deadlines, wait };
  };

  it("are told in time, in order, and each once", async () => {
    const { clock, told, wait } = make();
    wait(100, "a");
    wait(50, "b");
    await clock.advance(10);
    wait(100, "c");
    await clock.advance(39);
    assert.deepEqual(told, []);
    await clock.advance(1);
    assert.deepEqual(told, ["b"]);
    await clock.advance(50);
    assert.deepEqual(told, ["b", "a"]);
    await clock.advance(1_000);
    assert.deepEqual(told, ["b", "a", "c"]);
    wait(100, "again");
    await clock.advance(100);
    assert.deepEqual(told.slice(3), ["again"]);
  });

  it("may go on from a time that is past", async () => {
    const { clock, told, deadlines, wait } = make();
    deadlines.after(100, () => void wait(100, "longer", 30));
    wait(100, "b");
    await clock.advance(40);
    wait(100, "c");
    await clock.advance(89);
    assert.deepEqual(told, ["b"]);
    await clock.advance(1);
    assert.deepEqual(told, ["b", "longer"]);
    await clock.advance(10);
    assert.deepEqual(told, ["b", "longer", "c"]);
  });

  it("are not told once they are forgotten, first, last and between", async () => {
    const { clock, told, wait } = make();
    const all = ["a", "b", "c", "d"].map((name) => wait(100, name));
    all[0]?.cancel();
    all[2]?.cancel();
    all[2]?.cancel();
    all[3]?.cancel();
    await clock.advance(100);
    assert.deepEqual(told, ["b"]);
    all[1]?.cancel();
  });

  it("leave no timer behind when the last one is forgotten", async () => {
    let sleeping = 0;
    const counting = {
      ...systemClock,
      sleep: (ms: number, signal?: AbortSignal) => {
        sleeping++;
        return systemClock.sleep(ms, signal).finally(() => sleeping--);
      },
    };
    const turn = () => new Promise((resolve) => setTimeout(resolve, 5));
    const real = new Deadlines(counting);
    const first = real.after(60_000, () => {});
    const other = real.after(90_000, () => {});
    await turn();
    assert.equal(sleeping, 2);
    first.cancel();
    const second = real.after(60_000, () => {});
    await turn();
    assert.equal(sleeping, 2);
    second.cancel();
    await turn();
    assert.equal(sleeping, 1);
    other.cancel();
    await turn();
    assert.equal(sleeping, 0);
  });

  it("go on with the timer that runs where one comes in the turn in which the last one is forgotten, and are told", async () => {
    const clock = new ManualClock();
    let begun = 0;
    const counting = {
      now: () => clock.now(),
      monotonic: () => clock.monotonic(),
      sleep: (ms: number, signal?: AbortSignal) => {
        begun++;
        return clock.sleep(ms, signal);
      },
    };
    const turn = () => new Promise((resolve) => setTimeout(resolve, 5));
    const deadlines = new Deadlines(counting);
    const told: string[] = [];
    for (let i = 0; i < 10; i++) deadlines.after(100, () => told.push("forgotten")).cancel();
    const last = deadlines.after(100, () => told.push("kept"));
    await turn();
    assert.equal(begun, 1);
    await clock.advance(60);
    last.cancel();
    await turn();
    deadlines.after(100, () => told.push("later"));
    assert.equal(begun, 2);
    await clock.advance(99);
    assert.deepEqual(told, []);
    await clock.advance(1);
    assert.deepEqual(told, ["later"]);
  });
});
