import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ManualClock } from "../../authority/testing.ts";
import { Deadlines } from "../deadlines.ts";
import { Breaker, type Ticket } from "./breaker.ts";
import { RetryBudget } from "./budget.ts";
import { Replay } from "./replay.ts";
import { TryTimer } from "./try-timer.ts";

describe("circuit breaker", () => {
  const make = (random = 1) => {
    const clock = new ManualClock();
    const breaker = new Breaker(clock, () => random);
    const enter = () => {
      const ticket = breaker.enter();
      assert.ok(ticket !== undefined, `refused while ${breaker.state}`);
      return ticket;
    };
    const fail = (times: number) => {
      for (let i = 0; i < times; i++) enter().failed();
    };
    return { clock, breaker, enter, fail };
  };

  it("opens at the fifth failure in a row; an answer in between starts the count anew", () => {
    const { breaker, enter, fail } = make();
    fail(4);
    enter().answered();
    fail(4);
    assert.equal(breaker.state, "closed");
    fail(1);
    assert.equal(breaker.state, "open");
    assert.equal(breaker.enter(), undefined);
  });

  it("then lets one request through at a time, which closes it or opens it for longer", async () => {
    const { clock, breaker, enter, fail } = make();
    fail(5);
    await clock.advance(999);
    assert.equal(breaker.enter(), undefined);
    await clock.advance(1);
    const probe = enter();
    assert.equal(`${probe.probe} ${breaker.state}`, "true half-open");
    assert.equal(breaker.enter(), undefined);
    probe.failed();
    await clock.advance(1_999);
    assert.equal(breaker.enter(), undefined);
    await clock.advance(1);
    enter().answered();
    assert.equal(breaker.state, "closed");
    assert.equal(enter().probe, false);
    fail(5);
    await clock.advance(1_000);
    assert.equal(breaker.state, "half-open");
  });

  it("stays open for thirty seconds at most, and a quarter less by chance", async () => {
    const { clock, breaker, enter, fail } = make();
    fail(5);
    for (let i = 0; i < 10; i++) {
      await clock.advance(30_000);
      enter().failed();
    }
    await clock.advance(29_999);
    assert.equal(breaker.state, "open");
    const early = make(0);
    early.fail(5);
    await early.clock.advance(750);
    assert.equal(early.breaker.state, "half-open");
  });

  it("a probe that its caller gives up leaves room for the next", async () => {
    const { clock, breaker, enter, fail } = make();
    fail(5);
    await clock.advance(1_000);
    const probe = enter();
    assert.equal(breaker.enter(), undefined);
    probe.left();
    assert.equal(enter().probe, true);
  });

  it("requests of an earlier time have no say, and each speaks once", async () => {
    const { clock, breaker, enter, fail } = make();
    const old: Ticket[] = [enter(), enter(), enter()];
    fail(5);
    old[0]?.answered();
    assert.equal(breaker.state, "open");
    await clock.advance(1_000);
    const probe = enter();
    old[1]?.left();
    assert.equal(breaker.enter(), undefined);
    probe.answered();
    probe.failed();
    old[2]?.failed();
    fail(4);
    assert.equal(breaker.state, "closed");
  });
});

describe("retry budget", () => {
  it("grants what is in reserve, then a share of the requests", () => {
    const budget = new RetryBudget(0.1, new ManualClock());
    const granted = (times: number) => Array.from({ length: times }, () => budget.take()).filter(Boolean).length;
    assert.equal(granted(20), 10);
    for (let i = 0; i < 35; i++) budget.earn();
    assert.equal(granted(20), 3);
    for (let i = 0; i < 100_000; i++) budget.earn();
    assert.equal(granted(20), 10);
  });

  it("grants one each second beside the share", async () => {
    const clock = new ManualClock();
    const budget = new RetryBudget(0, clock);
    while (budget.take());
    await clock.advance(999);
    assert.equal(budget.take(), false);
    await clock.advance(1);
    assert.equal(budget.take(), true);
    assert.equal(budget.take(), false);
    await clock.advance(3_600_000);
    assert.equal(Array.from({ length: 20 }, () => budget.take()).filter(Boolean).length, 10);
  });
});

describe("what a try needs", () => {
  it("a body is kept whole up to 64 KiB, or not at all", () => {
    const replay = new Replay(true);
    replay.add(new Uint8Array(65_535));
    replay.add(new Uint8Array(1));
    assert.equal(`${replay.whole} ${replay.chunks.length}`, "true 2");
    replay.add(new Uint8Array(1));
    assert.equal(`${replay.whole} ${replay.chunks.length}`, "false 0");
    const unwanted = new Replay(false);
    unwanted.add(new Uint8Array(1));
    assert.equal(`${unwanted.whole} ${unwanted.chunks.length}`, "false 0");
  });

  it("the timer of a try counts from its newest start, and not once it is stopped", async () => {
    const clock = new ManualClock();
    let late = 0;
    const timer = new TryTimer(new Deadlines(clock), 100, () => late++);
    timer.start();
    await clock.advance(60);
    timer.start();
    await clock.advance(60);
    assert.equal(late, 0);
    timer.stop();
    await clock.advance(1_000);
    assert.equal(late, 0);
    timer.start();
    await clock.advance(100);
    assert.equal(late, 1);
  });
});
