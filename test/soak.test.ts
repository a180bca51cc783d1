/** The soak in short: that it works and that its judge sees what it is to see. Never how fast. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { staticIdentity, TestCa } from "../src/authority/testing.ts";
import { SpiffeError } from "../src/base/errors.ts";
import type { X509Svid } from "../src/x509/index.ts";
import { fakeSoak } from "./soak/fake-soak.ts";
import { MOMENT_NAMES } from "./soak/faults.ts";
import { missedByFake } from "./soak/goals.ts";
import { Random } from "./soak/random.ts";
import { SHOW_MS, Witness } from "./soak/witness.ts";

const START = Date.now();

async function svidUntil(ms: number): Promise<X509Svid> {
  const ca = await TestCa.create();
  const svid = await ca.issue({ id: "spiffe://example.org/a", notAfter: new Date(START + ms) });
  return (await staticIdentity({ svid, bundles: ca.x509Bundle() })).x509.x509Svid();
}

/** A witness whose source and clock the test sets. */
function staged(svid: X509Svid) {
  const stage = { now: START, busy: 0, read: () => svid };
  const clocks = { now: () => stage.now, busy: () => stage.busy };
  const witness = new Witness(() => stage.read(), clocks);
  /** Time passes, in steps as a reader makes them. */
  const pass = (ms: number) => {
    for (let left = ms; left > 0; left -= 5) {
      stage.now += Math.min(5, left);
      witness.look();
    }
  };
  const throwing = (code: "ERR_SPIFFE_EXPIRED" | "ERR_SPIFFE_REVOKED") => {
    stage.read = () => {
      throw new SpiffeError(code, "staged");
    };
  };
  return { stage, witness, pass, throwing, kinds: () => witness.violations.map(({ kind }) => kind) };
}

describe("the soak's witness", () => {
  it("sees an SVID that is handed out after its end, and none before", async () => {
    const svid = await svidUntil(10_000);
    const { stage, witness, kinds } = staged(svid);
    stage.now = svid.expiresAt.getTime();
    witness.look();
    assert.deepEqual(kinds(), []);
    stage.now++;
    witness.look();
    assert.deepEqual(kinds(), ["expired"]);
  });

  it("allows ERR_SPIFFE_EXPIRED in an outage until the client was served, and nowhere else", async () => {
    const { witness, pass, throwing, kinds } = staged(await svidUntil(10_000));
    throwing("ERR_SPIFFE_EXPIRED");
    witness.look();
    assert.deepEqual(kinds(), ["thrown"]);
    const outage = witness.begin("outage");
    pass(3_000);
    witness.heal(outage);
    pass(500);
    witness.sent("aa");
    pass(SHOW_MS);
    assert.equal(kinds().filter((kind) => kind === "thrown").length, 1);
    assert.ok(outage.expired > 800);
    assert.deepEqual([witness.outagesAbove(3_400), witness.outagesAbove(3_600), witness.slowestReturn], [1, 0, 500]);
    pass(5);
    assert.equal(kinds().filter((kind) => kind === "thrown").length, 2);
  });

  it("allows ERR_SPIFFE_REVOKED in a redaction and not in an outage", async () => {
    for (const [kind, allowed] of [
      ["redaction", true],
      ["outage", false],
    ] as const) {
      const { witness, throwing, kinds } = staged(await svidUntil(10_000));
      witness.begin(kind);
      throwing("ERR_SPIFFE_REVOKED");
      witness.look();
      assert.deepEqual(kinds(), allowed ? [] : ["thrown"]);
    }
  });

  it("allows ERR_SPIFFE_EXPIRED after a fault that came before the client was over the last, and not after one alone", async () => {
    for (const [isOver, thrown] of [
      [true, 1],
      [false, 0],
    ] as const) {
      const svid = await svidUntil(10_000);
      const { witness, pass, throwing, kinds } = staged(svid);
      witness.sent(svid.leaf.serialNumber);
      pass(200);
      witness.next("first");
      witness.disturbed();
      pass(500);
      if (isOver) witness.sent(svid.leaf.serialNumber);
      pass(5);
      witness.next("second");
      throwing("ERR_SPIFFE_EXPIRED");
      pass(5);
      assert.equal(kinds().length, thrown);
      // Once it was served, it has to have something to show again.
      witness.sent("bb");
      pass(SHOW_MS);
      assert.equal(kinds().includes("thrown"), isOver);
      pass(5);
      assert.equal(kinds().includes("thrown"), true);
    }
  });

  it("misses an SVID that is not seen in its time, unless a fault came in between", async () => {
    for (const [disturb, missed] of [
      [false, 1],
      [true, 0],
    ] as const) {
      const { witness, pass } = staged(await svidUntil(10_000));
      pass(1_000);
      witness.sent("aa");
      witness.sent("bb");
      witness.seen("bb");
      pass(SHOW_MS);
      if (disturb) witness.disturbed();
      pass(5);
      assert.deepEqual([witness.missed, witness.due], [missed, 1 + missed]);
    }
  });

  it("holds no time against the client in which others had the processor, but that in which it had it itself", async () => {
    for (const [busy, missed] of [
      [0, 0],
      [900, 0],
      [1_900, 1],
    ] as const) {
      const { stage, witness, pass } = staged(await svidUntil(10_000));
      pass(1_000);
      witness.sent("aa");
      stage.now += 2_000;
      stage.busy += busy;
      witness.look();
      assert.deepEqual([witness.missed, witness.starvedMs], [missed, 2_000 - busy]);
    }
  });

  it("does not wait for an SVID that comes again while the source has it, and does once it is gone", async () => {
    const { stage, witness, pass, throwing } = staged(await svidUntil(60_000));
    const give = stage.read;
    pass(1_000);
    const { serialNumber } = give().leaf;
    witness.sent(serialNumber);
    throwing("ERR_SPIFFE_REVOKED");
    witness.begin("redaction");
    pass(1_000);
    assert.deepEqual([witness.missed, witness.due], [0, 1]);
    witness.heal(witness.troubles[0]!);
    witness.sent(serialNumber);
    pass(SHOW_MS + 5);
    assert.deepEqual([witness.missed, witness.due], [1, 2]);
    stage.read = give;
    witness.sent(serialNumber);
    pass(SHOW_MS + 5);
    assert.deepEqual([witness.missed, witness.due], [1, 3]);
  });

  it("counts goals that were missed", () => {
    const resources = { heap: 100, files: 10 };
    const report = {
      seed: 1,
      seconds: 1,
      rotations: 10,
      reads: 10,
      outages: 1,
      due: 10,
      missed: 0,
      slowestReturnMs: 0,
    };
    const good = { ...report, tokens: 1, starvedMs: 0, faults: {}, early: resources, late: resources, violations: [] };
    const goals = { rotations: 10, reads: 10, outages: 1 };
    assert.deepEqual(missedByFake(good, goals), []);
    for (const bad of [
      { late: { heap: 121, files: 10 } },
      { late: { heap: 100, files: 13 } },
      { rotations: 9 },
      { reads: 9 },
      { outages: 0 },
      { due: 1 },
      { violations: [{ kind: "expired" as const, what: "x" }] },
    ]) {
      assert.equal(missedByFake({ ...good, ...bad }, goals).length, 1, JSON.stringify(bad));
    }
  });

  it("draws the same faults again from the same seed", () => {
    const draw = (seed: number) => {
      const random = new Random(seed);
      return Array.from({ length: 200 }, () => random.pick(MOMENT_NAMES)).join();
    };
    assert.equal(draw(7), draw(7));
    assert.notEqual(draw(7), draw(8));
    assert.equal(new Set(draw(7).split(",")).size, MOMENT_NAMES.length);
  });
});

describe("the soak in short", () => {
  it("[S-11] [S-17] [A-14] survives some seconds of faults: no expired SVID, no untyped error, no stray rejection", async () => {
    const report = await fakeSoak({
      seed: 20_261_126,
      rotations: 20,
      reads: 100,
      outages: 1,
      eachFirst: false,
      settled: 5,
      ttlMs: 1_000,
      rotateEveryMs: 100,
      say: () => {},
    });
    const judged = report.violations.filter(({ kind }) => ["expired", "untyped", "rejection"].includes(kind));
    assert.deepEqual(judged, []);
    assert.ok(report.rotations >= 20 && report.reads >= 100 && report.outages >= 1, JSON.stringify(report));
    assert.ok(report.due > 0 && report.tokens > 0);
    assert.ok(Object.keys(report.faults).some((name) => name.startsWith("outage")));
    assert.ok((report.late.files ?? 0) <= (report.early.files ?? 0) + 2, "open files");
  });
});
