import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { bin, run } from "../../scripts/lib/run.ts";
import { accept, refuse } from "../../src/base/index.ts";
import { runtime } from "../../src/runtime/detect.ts";
import { skipMissing } from "../support/skip.ts";
import {
  chainCase,
  compare,
  type DifferentialResult,
  differChains,
  differTokens,
  type Judged,
  tokenCase,
} from "./differential.ts";
import { ACCEPTED_HERE, REFUSED_HERE } from "./exceptions.ts";
import { call, type Mutant, type Target, throwing } from "./mutants.ts";
import { fuzzAll, fuzzTarget, mutantOf } from "./mutation.ts";
import { opensslMissing } from "./oracles/openssl.ts";
import { refused } from "./oracles/oracle.ts";
import { TARGETS } from "./targets/index.ts";

const SEED = 20_260_701;
const MUTANTS = 3_000;
/** The most entries that the lists of differences may have. */
const CEILING = 70;

function check(name: string, { cases, valid, accepted, findings, listed }: DifferentialResult): void {
  const lines = findings.map(({ label, message }) => `--seed ${SEED} --case ${label}: ${message}`);
  assert.deepEqual(lines, []);
  assert.ok(valid >= 0.2 * cases, `${valid} of ${cases} valid`);
  assert.ok(accepted >= valid && accepted < cases);
  console.log(`${name}: ${cases} cases, ${accepted} accepted, ${listed.size} kinds of listed differences met`);
}

describe("random input against other implementations", () => {
  const chains =
    "[G-4] [X509-30] [X509-37] chains: no verdict differs from openssl, node:crypto, pkijs without a listed reason";
  it(chains, skipMissing(chains, opensslMissing()), async () => check("chains", await differChains(SEED, 100)));

  it("[G-4] [JWT-14] tokens: no verdict differs from jose without a listed reason", async () => {
    check("tokens", await differTokens(SEED, 400));
  });

  it("[G-4] the lists of differences are closed, with a reason each", () => {
    const length = ACCEPTED_HERE.length + REFUSED_HERE.length;
    console.log(`differences: ${ACCEPTED_HERE.length} accepted here, ${REFUSED_HERE.length} refused here`);
    assert.ok(length <= CEILING);
    for (const { why } of [...ACCEPTED_HERE, ...REFUSED_HERE]) assert.ok(why.length > 10);
    for (const { requirement } of REFUSED_HERE) assert.match(requirement, /^(?:X509|JWT|S)-\d+$/);
  });
});

describe("mutants of everything that is read from outside", () => {
  const total = TARGETS.reduce((sum, { share }) => sum + share, 0);
  for (const target of TARGETS) {
    it(`[G-4] [A-8] ${target.name}: typed answers in bounded time, no changed bytes accepted`, async () => {
      const { mutants, accepted, calls, findings } = await fuzzTarget(
        target,
        SEED,
        Math.ceil((MUTANTS * target.share) / total),
      );
      const lines = findings.map(({ label, message }) => `--seed ${SEED} --case ${label}: ${message}`);
      assert.deepEqual(lines, []);
      assert.ok(mutants >= 60 && calls >= mutants && accepted < calls);
    });
  }
});

describe("the fuzzer itself", () => {
  const judged: Judged = { label: "x/0", traits: [], ours: "accepted", opinions: [], input: [] };

  it("[G-4] the same seed and number give the same input, others give others", () => {
    assert.deepEqual(chainCase(SEED, 5), chainCase(SEED, 5));
    assert.notDeepEqual(chainCase(SEED, 5).leaf, chainCase(SEED + 1, 5).leaf);
    assert.deepEqual(tokenCase(SEED, 5), tokenCase(SEED, 5));
    assert.notEqual(tokenCase(SEED, 5).token, tokenCase(SEED, 6).token);
    for (const target of TARGETS) {
      assert.deepEqual(mutantOf(target, SEED, 7).input, mutantOf(target, SEED, 7).input, target.name);
    }
  });

  it("[G-4] reports an acceptance that an oracle refuses, unless it is listed", () => {
    const listed = new Map<object, number>();
    const opinions = [["openssl", refused("20 unable to get local issuer certificate")]] as const;
    assert.equal(compare({ ...judged, opinions }, listed).length, 1);
    assert.equal(listed.size, 0);
    assert.deepEqual(compare({ ...judged, opinions, traits: ["wrong-key-identifier"] }, listed), []);
    assert.equal(listed.size, 1);
  });

  it("[G-4] reports a refusal that an oracle accepts, unless a requirement asks for it", () => {
    const opinions = [["openssl", { accepted: true, says: "" }]] as const;
    assert.equal(compare({ ...judged, ours: "x509.signature", opinions }, new Map()).length, 1);
    assert.deepEqual(compare({ ...judged, ours: "x509.leaf-is-ca", opinions }, new Map()), []);
  });

  it("[G-4] reports a verdict other than the case was made for, and backends that differ", () => {
    assert.equal(compare({ ...judged, expected: "accepted", ours: "x509.expired" }, new Map()).length, 1);
    assert.equal(compare({ ...judged, expected: "refused" }, new Map()).length, 1);
    assert.equal(compare({ ...judged, ours: "accepted or x509.signature" }, new Map()).length, 1);
    assert.deepEqual(compare({ ...judged, expected: "accepted" }, new Map()), []);
    assert.deepEqual(compare({ ...judged, expected: "refused", ours: "x509.expired" }, new Map()), []);
  });

  it("[G-4] reports answers that are not typed, that take too long, that repeat secrets, that have no grounds", async () => {
    const target = (one: Mutant["calls"][number]): Target => ({
      name: "made-up",
      share: 1,
      mutate: () => ({ input: ["the input"], secrets: ["a very long secret"], calls: [one] }),
    });
    const findings = async (one: Mutant["calls"][number]) => (await fuzzTarget(target(one), SEED, 1)).findings;
    // By both clocks: the fuzzer takes the lesser of them, and other threads of the process add to that of the processor.
    const busy = (ms: number) => {
      const [started, before] = [performance.now(), process.cpuUsage()];
      while (performance.now() - started < ms || process.cpuUsage(before).user < ms * 1_000);
      return accept(1);
    };
    const wrong = [
      call("throws", () => JSON.parse("{")),
      throwing("throws what is not ours", () => JSON.parse("{")),
      call("rejects", () => Promise.reject(new TypeError("x"))),
      call("says nothing", () => undefined as never),
      call("knows no reason", () => refuse("x509.nonsense" as never, "A sentence")),
      call("has no sentence", () => refuse("x509.expired", "")),
      call("tells", () => refuse("jwt.signature", "It was a very long secret")),
      call("takes long", () => busy(60)),
      call(
        "accepts",
        () => accept(1),
        () => "without grounds",
      ),
    ];
    for (const one of wrong) {
      const [finding, ...more] = await findings(one);
      assert.ok(finding?.message.startsWith(one.name), one.name);
      assert.deepEqual([finding?.label, finding?.input, more], ["made-up/0", ["the input"], []]);
    }
    const right = [
      call("refuses", () => refuse("x509.expired", "A sentence")),
      call(
        "accepts",
        async () => accept(1),
        () => undefined,
      ),
      call("takes little", () => busy(1)),
    ];
    for (const one of right) assert.deepEqual(await findings(one), [], one.name);
  });

  it("[G-4] gives each target its share", async () => {
    const counts = new Map<string, number>();
    const target = (name: string, share: number): Target => ({ name, share, mutate: () => ({ input: [], calls: [] }) });
    const result = await fuzzAll([target("a", 3), target("b", 1)], SEED, 40, ({ name }, { mutants }) => {
      counts.set(name, mutants);
    });
    assert.equal(result.mutants, 40);
    assert.deepEqual(Object.fromEntries(counts), { a: 30, b: 10 });
  });
});

describe("npm run fuzz", () => {
  const fuzz = (...args: string[]) => run(bin("node"), ["scripts/fuzz.ts", ...args], { timeoutMs: 100_000 });

  it("[G-4] ends with a line that sums up, or repeats one case", async () => {
    const { name } = runtime;
    const all = await fuzz("--runtime", name, "--seed", "3", "--mutants", "100", "--chains", "2", "--tokens", "5");
    const last = all.stdout.trim().split("\n").at(-1) ?? "";
    assert.match(last, new RegExp(`^✓ ${name}: seed 3: 7 differential cases, 1\\d\\d mutants, .* 0 findings, `));
    assert.equal(all.code, 0);
    const one = await fuzz("--runtime", name, "--seed", "3", "--case", "token/17");
    assert.match(one.stdout, new RegExp(`✓ ${name}: token/17 of seed 3: 0 findings`));
  });

  it("[G-4] tells a wrong call from a finding", async () => {
    const { code, output } = await fuzz("--runtime", "deno2");
    assert.equal(code, 2);
    assert.match(output, /deno2 is not known\nusage: npm run fuzz/);
  });
});
