import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { LIMITS, type Verdict } from "../../base/index.ts";
import {
  chooseSyncVerifier,
  nativeVerifier,
  type PublicKey,
  type SyncSignatureVerifier,
  webcryptoVerifier,
} from "../../crypto/index.ts";
import { Seeded } from "../../crypto/wasm/seeded.testing.ts";
import { WasmVerifier } from "../../crypto/wasm/verifier.ts";
import { decodedAuthorityKey } from "../authority-keys.ts";
import { fieldsOf } from "../certificate.ts";
import { type Issued, type IssueOptions, issueCa, issueLeaf, type KeyType, NOW } from "../issue.testing.ts";
import { clockAt, sourceOf, summary } from "../judge.testing.ts";
import type { X509BundleSource } from "../source.ts";
import { safeVerifyX509Svid, safeVerifyX509SvidSync, type VerifiedX509Svid } from "../verify.ts";

/** A backend with a memo of its own that says how many signatures it checked alone and how many at once. */
function watched(inner: SyncSignatureVerifier, always = false) {
  const asked = { alone: 0, batches: [] as number[], imported: [] as PublicKey[] };
  const verifier: SyncSignatureVerifier = {
    name: "watched",
    sync: true,
    importKey(key) {
      asked.imported.push(key);
      return inner.importKey(key);
    },
    noteTrusted: (key) => inner.noteTrusted?.(key),
    verify(...all) {
      asked.alone++;
      return inner.verify(...all);
    },
    batchIfFaster(checks) {
      if (always)
        return batch(
          checks,
          checks.map(({ alg, key, signature, data }) => inner.verify(alg, key, signature, data)),
        );
      return batch(checks, inner.batchIfFaster?.(checks));
    },
  };
  const batch = (checks: readonly unknown[], verdicts: boolean[] | undefined) => {
    if (verdicts !== undefined) asked.batches.push(checks.length);
    return verdicts;
  };
  const count = () => asked.alone + asked.batches.reduce((sum, size) => sum + size, 0);
  return { verifier, asked, count };
}

/** WebAssembly with tables of these keys at once, and of every key that is used eight times. */
function tabled(...issued: readonly Issued[]): SyncSignatureVerifier {
  const wasm = new WasmVerifier({ schedule: (task) => task() });
  wasm.preload(
    wasm,
    issued.map(({ certificate }) => certificate.publicKey),
  );
  return wasm as SyncSignatureVerifier;
}

/** Verdict, reason, words, place and path. */
function whole(verdict: Verdict<VerifiedX509Svid>): unknown {
  if (!verdict.ok) return verdict;
  const { id, chain, expiresAt } = verdict.value;
  return [id.uri, chain.map((certificate) => certificate.serialNumber), expiresAt];
}

/** The last octet of the signature is another one. */
function spoilt(issued: Issued): Issued {
  const der = Uint8Array.from(issued.der);
  der[der.length - 1]! ^= 1;
  return { ...issued, der };
}

const judge = (chain: readonly Issued[], bundles: X509BundleSource, verifier: SyncSignatureVerifier) =>
  safeVerifyX509SvidSync(
    chain.map(({ der }) => der),
    bundles,
    { clock: clockAt(NOW), verifier },
  );

/** The verdict by all backends, with the memo cold and warm, with tables and without: one, to the word. */
async function judged(chain: readonly Issued[], bundles: X509BundleSource, keys: readonly Issued[]): Promise<string> {
  const { batchIfFaster: _, ...lone } = watched(nativeVerifier()!).verifier;
  const reference = judge(chain, bundles, lone);
  const backends = {
    tables: tabled(...keys),
    "tables of some": tabled(...keys.slice(1)),
    "no table": tabled(),
    native: nativeVerifier()!,
    default: chooseSyncVerifier(),
    wasm: chooseSyncVerifier("wasm"),
    "native in batches": watched(nativeVerifier()!, true).verifier,
  };
  const presented = chain.map(({ der }) => der);
  for (const [name, verifier] of Object.entries(backends)) {
    for (const memo of ["cold", "warm"]) {
      assert.deepEqual(whole(judge(chain, bundles, verifier)), whole(reference), `${name}, ${memo}`);
    }
    const async = await safeVerifyX509Svid(presented, bundles, { clock: clockAt(NOW), verifier });
    assert.deepEqual(whole(async), whole(reference), `${name}, awaited`);
  }
  const web = await safeVerifyX509Svid(presented, bundles, { clock: clockAt(NOW), verifier: webcryptoVerifier });
  assert.deepEqual(whole(web), whole(reference), "webcrypto");
  return summary(reference);
}

describe("signatures of a path that are checked together", () => {
  let root: Issued;
  let between: Issued;
  let leaf: Issued;
  before(async () => {
    root = await issueCa({ subject: "root" });
    between = await issueCa({ issuer: root, subject: "between" });
    leaf = await issueLeaf(between);
  });
  const below = (issuer: Issued, subject: string, options: IssueOptions = {}) =>
    issueCa({ issuer, subject, ...options });

  it("[S-13] [S-15] have each its own verdict: leaf, intermediate or both spoilt, on every curve and across curves", async () => {
    const types: [root: KeyType, between: KeyType][] = [
      ["P-256", "P-256"],
      ["P-384", "P-384"],
      ["P-521", "P-521"],
      ["P-384", "P-256"],
      ["P-256", "P-384"],
      ["RSA-2048", "P-256"],
      ["P-256", "RSA-2048"],
    ];
    for (const [above, under] of types) {
      const ca = await issueCa({ subject: "ca", keyType: above });
      const a = await below(ca, "a", { keyType: under });
      const one = await issueLeaf(a);
      const cases: [Issued[], string][] = [
        [[one, a], "accepted"],
        [[spoilt(one), a], "x509.signature 0"],
        [[one, spoilt(a)], "x509.signature 1"],
        [[spoilt(one), spoilt(a)], "x509.signature 1"],
      ];
      for (const [chain, verdict] of cases) {
        assert.equal(await judged(chain, sourceOf([ca]), [ca, a]), verdict, `${above} above ${under}`);
      }
    }
  });

  it("are two at once where both keys have tables, and one by one where not", async () => {
    const renewed = () => below(root, "between", { keyOf: between });
    const both = watched(tabled(root, between));
    const judgeBy = (by: typeof both, chain: readonly Issued[]) => summary(judge(chain, sourceOf([root]), by.verifier));
    // the key of an intermediate is known from its first verification on
    assert.equal(judgeBy(both, [leaf, between]), "accepted");
    assert.deepEqual([both.asked.alone, both.asked.batches], [2, []]);
    for (const [chain, verdict] of [
      [[leaf, await renewed()], "accepted"],
      [[spoilt(leaf), await renewed()], "x509.signature 0"],
      [[leaf, spoilt(await renewed())], "x509.signature 1"],
    ] as const) {
      both.asked.batches.length = 0;
      assert.equal(judgeBy(both, chain), verdict);
      assert.deepEqual([both.asked.alone, both.asked.batches], [2, [2]], verdict);
    }
    assert.equal(judgeBy(both, [leaf, between]), "accepted");
    assert.deepEqual([both.asked.alone, both.asked.batches], [3, [2]], "the memo leaves the leaf's");
    for (const keys of [[root], [between], []]) {
      const some = watched(tabled(...keys));
      for (let turn = 0; turn < 3; turn++) assert.equal(judgeBy(some, [leaf, await renewed()]), "accepted");
      assert.deepEqual([some.asked.alone, some.asked.batches], [6, []]);
    }
    // eight uses of an issuer that verified bring its table
    const later = watched(tabled(root));
    for (let turn = 0; turn < 9; turn++) assert.equal(judgeBy(later, [leaf, await renewed()]), "accepted");
    assert.deepEqual([later.asked.alone, later.asked.batches], [16, [2]]);
  });

  it("are three at once below two new intermediates, less what the memo holds", async () => {
    const [a, b] = [await below(root, "a"), await below(root, "b")];
    const make = async () => {
      const upper = await below(root, "a", { keyOf: a });
      const lower = await below(upper, "b", { keyOf: b });
      return { upper, lower, chain: [await issueLeaf(lower), upper, lower] };
    };
    const by = watched(tabled(root, a, b));
    const first = await make();
    const verdict = (chain: readonly Issued[]) => summary(judge(chain, sourceOf([root]), by.verifier));
    assert.equal(verdict(first.chain), "accepted");
    by.asked.alone = 0;
    const [one, two, three, four] = [await make(), await make(), await make(), await make()];
    for (const [chain, batches, reason] of [
      [[one.chain[0]!, one.upper, spoilt(one.lower)], [3], "x509.signature 2"],
      [[spoilt(two.chain[0]!), two.upper, first.lower], [2], "x509.signature 0"],
      [[three.chain[0]!, first.upper, three.lower], [2], "accepted"],
      [four.chain, [3], "accepted"],
    ] as const) {
      by.asked.batches.length = 0;
      assert.equal(verdict(chain), reason);
      assert.deepEqual([by.asked.alone, by.asked.batches], [0, batches], reason);
    }
  });

  it("[A-7] keep a cross-signed intermediate within each trust domain, with tables and the memo warm", async () => {
    const other = await issueCa({ subject: "other root" });
    const crossed = await below(other, "between", { keyOf: between });
    const theirs = await issueLeaf(crossed, { id: "spiffe://other.org/web" });
    const [ours, others] = [sourceOf([root]), sourceOf([other], "other.org")];
    const both: X509BundleSource = { x509BundleFor: (td) => ours.x509BundleFor(td) ?? others.x509BundleFor(td) };
    const verifier = tabled(root, other, between);
    for (let turn = 0; turn < 3; turn++) {
      for (const [chain, verdict] of [
        [[leaf, between], "accepted"],
        [[theirs, crossed], "accepted"],
        [[leaf, crossed], "x509.no-path"],
        [[theirs, between], "x509.no-path"],
        [[leaf, crossed, between], "accepted"],
        [[spoilt(theirs), crossed], "x509.signature 0"],
        [[theirs, spoilt(crossed)], "x509.signature 1"],
      ] as const) {
        assert.equal(summary(judge(chain, both, verifier)), verdict);
        assert.equal(await judged(chain, both, [root, other, between]), verdict);
      }
    }
    // the authority leaves the bundle; its table and the memo stay
    assert.equal(summary(judge([theirs, crossed], sourceOf([root], "other.org"), verifier)), "x509.no-path");
  });

  it("[A-8] keep their verdicts where keys come twice, names repeat and certificates sign one another", async () => {
    const same = await below(root, "same", { keyOf: root });
    const again = await issueCa({ issuer: root, subject: "root" });
    const twin = await issueCa({ subject: "root" });
    const ab = await below(await issueCa({ subject: "b", keyOf: twin }), "a", { keyOf: between });
    const ba = await below(await issueCa({ subject: "a", keyOf: between }), "b", { keyOf: twin });
    const entry = await below(root, "b", { keyOf: twin });
    const expired = await below(root, "between", { keyOf: between, notAfter: new Date(NOW - 1) });
    const narrow = await below(root, "between", { keyOf: between, permitted: [{ uri: "elsewhere.org" }] });
    const under = await issueLeaf(same);
    const keys = [root, between, twin, again];
    for (const [chain, anchors, verdict] of [
      [[under, same], [root], "accepted"],
      [[spoilt(under), same], [root], "x509.signature 0"],
      [[under, spoilt(same)], [root], "x509.signature 1"],
      [[await issueLeaf(again), again], [root], "accepted"],
      [[await issueLeaf(again), spoilt(again)], [root], "x509.signature 0"],
      [[await issueLeaf(root), again], [root], "accepted"],
      [[await issueLeaf(root), root], [root], "accepted"],
      [[await issueLeaf(twin), twin], [root], "x509.signature 0"],
      [[await issueLeaf(ab), ab, ba], [root], "x509.no-path"],
      [[await issueLeaf(ab), ab, ba, entry], [root], "accepted"],
      [[await issueLeaf(ab), ab, ba, spoilt(entry)], [root], "x509.signature 3"],
      [[leaf, expired], [root], "x509.expired 1"],
      [[leaf, expired, between], [root], "accepted"],
      [[leaf, spoilt(between), between], [root], "accepted"],
      [[leaf, narrow], [root], "x509.name-constraints 0"],
      [[spoilt(leaf), narrow], [root], "x509.signature 0"],
      [[leaf, between], [twin, root], "accepted"],
      [[leaf, between], [twin], "x509.signature 1"],
      [[spoilt(leaf), between], [twin, root], "x509.signature 0"],
    ] as [Issued[], Issued[], string][]) {
      assert.equal(await judged(chain, sourceOf(anchors), keys), verdict);
    }
  });

  it("[S-13] [A-8] cost no key of a certificate that nobody verified anything: it is neither decoded nor prepared", async () => {
    const claim = () => issueCa({ subject: "between", issuerName: root.subject, keyOf: stranger });
    const stranger = await issueCa({ subject: "between" });
    const forged = await issueLeaf(stranger);
    const by = watched(nativeVerifier()!, true);
    const verdict = async (chain: readonly Issued[], anchor: Issued) =>
      summary(judge(chain, sourceOf([anchor]), by.verifier));
    for (let turn = 0; turn < 2; turn++) assert.equal(await verdict([forged, await claim()], root), "x509.signature 1");
    assert.equal(decodedAuthorityKey(fieldsOf(stranger.certificate).spki), undefined);
    assert.deepEqual([by.asked.imported.length, by.asked.alone, by.asked.batches], [1, 2, []]);
    // its twin: a key that an authority of its own has vouched for
    const elsewhere = await issueCa({ subject: "elsewhere" });
    assert.equal(
      await verdict([forged, await below(elsewhere, "between", { keyOf: stranger })], elsewhere),
      "accepted",
    );
    assert.equal(await verdict([forged, await claim()], root), "x509.signature 1");
    assert.deepEqual([by.asked.imported.length, by.asked.alone, by.asked.batches], [3, 4, [2]]);
  });

  it("[S-16] [A-8] are never more than a search may ask for, whatever is shown", async () => {
    for (const [keyType, most] of [
      ["P-256", LIMITS.pathSignatures],
      ["P-521", LIMITS.pathSignatures / 2],
    ] as const) {
      const top = await issueCa({ subject: "root", keyType });
      const twins = await Promise.all(Array.from({ length: 9 }, () => below(top, "root", { keyType })));
      const leaves = await Promise.all(twins.map((twin) => issueLeaf(twin)));
      const renewed = await Promise.all(twins.map((twin) => below(top, "root", { keyOf: twin })));
      const hostile = spoilt(await issueLeaf(top));
      const bundles = sourceOf([top]);
      const seen: number[] = [];
      for (let many = 1; many <= twins.length; many++) {
        const by = watched(nativeVerifier()!, true);
        for (const [i, twin] of twins.entries()) {
          assert.equal(summary(judge([leaves[i]!, twin], bundles, by.verifier)), "accepted");
        }
        const before = by.count();
        const chain = [hostile, ...renewed.slice(0, many)];
        const verdict = judge(chain, bundles, by.verifier);
        seen.push(by.count() - before);
        assert.deepEqual(whole(verdict), whole(judge(chain, bundles, nativeVerifier()!)));
      }
      assert.ok(Math.max(...seen) <= most, `${keyType}: ${seen}`);
      assert.equal(seen.at(-1), most, "the bound is reached");
    }
  });

  it("[G-4] [A-8] change no verdict of chains drawn at random", async () => {
    const random = new Seeded(20_261_127);
    const keys = await Promise.all(Array.from({ length: 4 }, () => issueCa()));
    const names = ["r", "a", "b"].flatMap((subject) => keys.map((keyOf) => issueCa({ subject, keyOf })));
    const authorities = await Promise.all(names);
    const draw = () => random.below(authorities.length);
    const pool: Drawn[] = [];
    for (let i = 0; i < 80; i++) {
      const [by, as] = [draw(), draw()];
      const made = await issueCa({
        issuer: authorities[by],
        subject: authorities[as]!.subject,
        keyOf: authorities[as],
        ...(random.below(8) === 0 && { notAfter: new Date(NOW - 1) }),
        ...(random.below(6) === 0 && { pathLength: 0 }),
        ...(random.below(10) === 0 && { permitted: [{ uri: "elsewhere.org" }] }),
      });
      pool.push({ issued: random.below(6) === 0 ? spoilt(made) : made, by, as });
    }
    const leaves: Drawn[] = [];
    for (let i = 0; i < 24; i++) {
      const by = draw();
      const made = await issueLeaf(authorities[by]!);
      leaves.push({ issued: i % 6 === 0 ? spoilt(made) : made, by, as: -1 });
    }
    const plain = await Promise.all(keys.map((key) => issueLeaf(key)));
    const wasm = tabled(...keys);
    const { batchIfFaster: _, ...lone } = watched(wasm).verifier;
    const verdicts: string[] = [];
    let batches = 0;
    for (let i = 0; i < 600; i++) {
      const leaf = random.pick(leaves);
      const above: Issued[] = [];
      let top = leaf.by;
      for (let steps = random.below(4); steps > 0; steps--) {
        const next = random.pick(pool.filter(({ as }) => as === top).concat(pool[0]!));
        above.push(next.issued);
        top = next.by;
      }
      for (let more = random.below(4); more > 0; more--)
        above.splice(random.below(above.length + 1), 0, random.pick(pool).issued);
      const anchors = [authorities[random.below(4) === 0 ? draw() : top]!, authorities[draw()]!];
      // a memo and prepared keys of its own: nothing is known but the four keys
      const by = watched(wasm);
      for (const [at, one] of plain.entries()) judge([one], sourceOf([keys[at]!]), by.verifier);
      const chain = [leaf.issued, ...above];
      const before = by.count();
      const verdict = judge(chain, sourceOf(anchors), by.verifier);
      assert.deepEqual(whole(verdict), whole(judge(chain, sourceOf(anchors), { ...lone })), `chain ${i}`);
      assert.ok(by.count() - before <= LIMITS.pathSignatures);
      batches += by.asked.batches.length;
      verdicts.push(summary(verdict));
    }
    const accepted = verdicts.filter((verdict) => verdict === "accepted").length;
    assert.ok(accepted >= 120 && accepted <= 480 && batches >= 100, `${accepted} accepted, ${batches} batches`);
    assert.ok(new Set(verdicts).size >= 8, [...new Set(verdicts)].join());
  });
});

/** A certificate of the draw, with the places of its issuer and of its own name and key. */
interface Drawn {
  readonly issued: Issued;
  readonly by: number;
  readonly as: number;
}
