import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ManualClock } from "../../authority/testing.ts";
import { noneCounted } from "./addresses.ts";
import { Breaker } from "./breaker.ts";
import { RetryBudget } from "./budget.ts";
import { Endpoint } from "./endpoint.ts";
import { Tries } from "./tries.ts";

const random = () => 0.5;

/** What a request at one address goes by. */
function make(share: number, max: number) {
  const clock = new ManualClock();
  const target = { tls: false, authority: "127.0.0.1:1", url: "http://127.0.0.1:1", port: 1 } as Endpoint["target"];
  const dial = { id: undefined, protocol: "http1", identity: undefined as never, clock } as const;
  const line = [new Endpoint(target, "127.0.0.1", dial)];
  const budget = new RetryBudget(share, clock);
  const breaker = new Breaker(clock, random);
  const counters = noneCounted();
  const begin = () => new Tries(line, breaker.enter()!, { max, budget, counters, random });
  return { clock, budget, counters, begin };
}

describe("[S-24] the tries of a request", () => {
  it("are as many as the budget grants: ten at once, then a share of the requests, and one a second", async () => {
    const { clock, budget, counters, begin } = make(0.5, 1);
    for (let i = 0; i < 10; i++) assert.equal(budget.take(), true);
    assert.equal(begin().again(), undefined);
    assert.equal(counters.retriesWithheld, 1);
    // the second request has earned the other half
    assert.notEqual(begin().again(), undefined);
    assert.equal(begin().again(), undefined);
    await clock.advance(500);
    assert.notEqual(begin().again(), undefined);
    await clock.advance(60_000);
    for (let i = 0; i < 100; i++) begin();
    assert.equal(budget.left, 10);
  });

  it("are no more than may be, and one where the request finds out whether the upstream is back", async () => {
    const { clock, begin } = make(1, 2);
    const request = begin();
    assert.deepEqual([request.again(), request.again(), request.again()], [18.75, 37.5, undefined]);
    // five without an answer open the breaker; the first afterwards finds out
    for (let i = 0; i < 5; i++) begin().failed();
    await clock.advance(1_000);
    const probe = begin();
    assert.equal(probe.again(), undefined);
    probe.answered();
    assert.equal(begin().again(), 18.75);
  });
});
