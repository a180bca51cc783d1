/** The soak of the gateway in short: that it works on this runtime and that its judge sees what it is to see. Never how fast. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { notFlat, type Sample } from "./soak-gateway/flatness.ts";
import { missedByGateway } from "./soak-gateway/goals.ts";
import { type GatewaySoakReport, gatewaySoak } from "./soak-gateway/soak.ts";

const SHORT = { reloads: 8, rotations: 8, drains: 1, flat: false };

let seen: GatewaySoakReport;

/** Samples of ten minutes at 500 requests a second: a heap with some noise, memory with garbage that comes and goes. */
const TEN_MINUTES: readonly Sample[] = Array.from({ length: 60 }, (_, i) => ({
  requests: i * 5_000,
  heap: 20_000_000 + ((i * 37) % 11) * 50_000,
  rss: 200_000_000 + ((i * 13) % 7) * 12_000_000,
  files: 20 + (i % 3),
}));
const changed = (how: (sample: Sample, i: number) => Partial<Sample>) =>
  TEN_MINUTES.map((sample, i) => ({ ...sample, ...how(sample, i) }));

describe("the soak of the gateway in short", () => {
  it("[S-26] [G-3] reloads, rotations and drains under load lose no request", async () => {
    seen = await gatewaySoak({ ...SHORT, atLeastMs: 0, say: () => {} });
    assert.deepEqual(missedByGateway(seen, SHORT), []);
    assert.equal(seen.drained.served, SHORT.drains);
    assert.equal(seen.samples.length, SHORT.reloads);
    for (const { rss, heap, files } of seen.samples) assert.ok(rss > heap && heap > 1_000_000 && files > 5);
  });

  it("its judge sees a lost, a doubled and a wrong request, a refused reload, a drain that loses, and growth", () => {
    const goals = { ...SHORT, flat: true };
    const good = { ...seen, samples: TEN_MINUTES };
    assert.deepEqual(missedByGateway(good, goals), []);
    const { drained, numbers } = seen;
    const refused = { number: drained.first, by: "kept HTTP/2", what: "the stream closed with code 7" };
    for (const bad of [
      { numbers: numbers.with(7, 0) },
      { numbers: numbers.with(7, 2) },
      { numbers: [...numbers, 1] },
      { lost: [{ number: 1, by: "kept HTTP/2", what: "timeout" }] },
      { logged: seen.logged - 1 },
      { reloads: 7 },
      { refusedReloads: 1 },
      { rotations: 7 },
      { code: 3 },
      { stderr: "a warning" },
      { by: { ...seen.by, "kept HTTP/2": 0 } },
      { numbers: numbers.with(drained.first, 2) },
      { drained: { ...drained, unanswered: [...drained.unanswered, refused] } },
      { drained: { ...drained, rounds: 0 } },
      { drained: { ...drained, abandoned: 1 } },
      { drained: { ...drained, codes: [0, 3, 0] } },
      { drained: { ...drained, stderr: "a warning" } },
      { samples: [] },
    ]) {
      const missed = missedByGateway({ ...good, ...bad }, goals);
      assert.equal(missed.length, 1, JSON.stringify(Object.keys(bad)));
    }
    // what had no answer and never arrived is no loss
    const fair = { drained: { ...drained, unanswered: [refused] }, numbers: numbers.with(drained.first, 0) };
    const others = drained.unanswered.filter(({ number }) => number !== drained.first).length;
    assert.equal(missedByGateway({ ...good, ...fair }, goals).length, others);
  });

  it("its judge of memory sees 100 bytes a request, native memory and descriptors that stay, and no garbage", () => {
    assert.deepEqual(notFlat(TEN_MINUTES), []);
    for (const [what, samples] of [
      [/^the heap grew/, changed(({ heap, requests }) => ({ heap: heap + requests * 100 }))],
      [/^resident memory grew/, changed(({ rss }, i) => ({ rss: rss + i * 2_000_000 }))],
      [/^descriptors grew/, changed(({ files }, i) => ({ files: files + Math.floor(i / 3) }))],
      [/requests between the medians are too few/, changed(({ requests }) => ({ requests: requests / 10 }))],
      [/^memory was measured 20 times/, TEN_MINUTES.slice(0, 20)],
      [/^the heap grew/, changed(() => ({ heap: Number.NaN }))],
    ] as const) {
      const found = notFlat(samples);
      assert.equal(found.length, 1, found.join("; "));
      assert.match(found[0]!, what);
    }
    // growth before the warm-up is over is none
    assert.deepEqual(notFlat(changed(({ heap }, i) => ({ heap: i < 20 ? heap / 2 : heap }))), []);
  });
});
