/** The soak of the gateway in short: that it works on this runtime and that its judge sees what it is to see. Never how fast. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { missedByGateway } from "./soak-gateway/goals.ts";
import { type GatewaySoakReport, gatewaySoak } from "./soak-gateway/soak.ts";

const SHORT = { reloads: 8, rotations: 8, flat: false };

let seen: GatewaySoakReport;

describe("the soak of the gateway in short", () => {
  it("[S-26] [G-3] reloads and rotations under load lose no request", async () => {
    seen = await gatewaySoak({ ...SHORT, atLeastMs: 0, say: () => {} });
    assert.deepEqual(missedByGateway(seen, SHORT), []);
  });

  it("its judge sees a lost, a doubled and a wrong request, a refused reload and growth", () => {
    const held = { rss: 100_000_000, files: 20 };
    const measured = { early: held, late: held };
    assert.deepEqual(missedByGateway({ ...seen, ...measured }, { ...SHORT, flat: true }), []);
    for (const bad of [
      { numbers: seen.numbers.with(7, 0) },
      { numbers: seen.numbers.with(7, 2) },
      { numbers: [...seen.numbers, 1] },
      { lost: [{ number: 1, by: "kept HTTP/2", what: "timeout" }] },
      { logged: seen.logged - 1 },
      { reloads: 7 },
      { refusedReloads: 1 },
      { rotations: 7 },
      { code: 3 },
      { stderr: "a warning" },
      { by: { ...seen.by, "kept HTTP/2": 0 } },
      { late: { ...held, rss: 200_000_000 } },
      { late: { ...held, files: 40 } },
    ]) {
      const missed = missedByGateway({ ...seen, ...measured, ...bad }, { ...SHORT, flat: true });
      assert.equal(missed.length, 1, JSON.stringify(Object.keys(bad)));
    }
  });
});
