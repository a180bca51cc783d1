import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ManualClock } from "../authority/testing.ts";
import type { Decision } from "../policy/index.ts";
import { type Confirming, confirmAll } from "./confirming.ts";

const ALLOW: Decision = { verdict: "allow", reason: "policy.allowed", mode: "enforce" };
const DENY: Decision = { verdict: "deny", reason: "policy.authorizer-denied", mode: "enforce" };
const UNCONFIRMED = "policy.authorizer-timeout";

/** Who is denied, and why, where each is asked about in such a way; the error where that fails. */
async function denied(ask: Confirming<string>["ask"]): Promise<unknown> {
  const found: Record<string, string> = {};
  const say = (one: string, { reason }: Decision) => void (found[one] = reason);
  const asking = confirmAll(["first", "second", "third"], { clock: new ManualClock(), ask, denied: say });
  return asking.then(() => found, String);
}

describe("[S-26] asking again about those that run", () => {
  it("whom the authorizer denies is denied, and who has gone is nobody's business", async () => {
    const said = { first: ALLOW, second: DENY };
    const ask = (one: string) => (one === "third" ? undefined : Promise.resolve(said[one as "first"]));
    assert.deepEqual(await denied(ask), { second: DENY.reason });
  });

  it("a question that fails, at once or later, denies the one it is about", async () => {
    const fails = () => {
      throw new Error("nobody was asked");
    };
    const failing = (wrong: string, how: () => Promise<Decision>) => (one: string) =>
      one === wrong ? how() : Promise.resolve(ALLOW);
    assert.deepEqual(await denied(failing("second", () => Promise.reject(new Error("no answer")))), {
      second: UNCONFIRMED,
    });
    assert.deepEqual(await denied(failing("first", fails)), { first: UNCONFIRMED });
    // the twin
    assert.deepEqual(await denied(failing("first", () => Promise.resolve(ALLOW))), {});
  });

  it("whose turn comes after the time is over is denied without a question", async () => {
    const clock = new ManualClock();
    const asked: string[] = [];
    const all = Array.from({ length: 70 }, (_, i) => `${i}`);
    const gone: string[] = [];
    const asking = confirmAll(all, {
      clock,
      ask(one, signal) {
        asked.push(one);
        if (signal.aborted) return Promise.resolve(ALLOW);
        return new Promise((resolve) => signal.addEventListener("abort", () => resolve(ALLOW)));
      },
      denied: (one, { reason }) => void gone.push(`${one} ${reason}`),
    });
    await clock.advance(900);
    await asking;
    assert.equal(asked.length, 64);
    assert.deepEqual(
      gone,
      all.slice(64).map((one) => `${one} ${UNCONFIRMED}`),
    );
  });
});
