import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { LIMITS } from "../../base/index.ts";
import type { SignatureCheck } from "../../crypto/index.ts";
import { fromHex } from "../../crypto/octets.ts";
import { TrustDomain } from "../../id/index.ts";
import { X509Bundle } from "../bundle.ts";
import { Certificate } from "../certificate.ts";
import { type Issued, type IssueOptions, issueCa, issueLeaf, NOW, type TestExtension } from "../issue.testing.ts";
import { judge, judged, summary } from "../judge.testing.ts";
import { findPath } from "./search.ts";

/** Every order of a list. */
function orders<T>(list: readonly T[]): T[][] {
  if (list.length < 2) return [[...list]];
  return list.flatMap((first, index) =>
    orders(list.filter((_, other) => other !== index)).map((rest) => [first, ...rest]),
  );
}

/** Runs a search by hand: `answer` decides each signature; gives the checks that were asked. */
function traced(chain: readonly Issued[], anchors: readonly Issued[], answer: (check: SignatureCheck) => boolean) {
  const bundle = new X509Bundle(
    TrustDomain.parse("example.org"),
    anchors.map((anchor) => anchor.certificate),
  );
  const presented = chain.map((issued) => issued.certificate);
  const search = findPath({ presented, anchorsNamed: (name) => bundle.authoritiesNamed(name), now: NOW });
  const checks: SignatureCheck[] = [];
  let step = search.next();
  while (!step.done) {
    checks.push(step.value);
    step = search.next(answer(step.value));
  }
  return { checks, verdict: summary(step.value) };
}

const subjectKeyId = (hex: string): TestExtension => ({ oid: "2.5.29.14", value: fromHex(`0404${hex}`) });
const authorityKeyId = (hex: string): TestExtension => ({ oid: "2.5.29.35", value: fromHex(`30068004${hex}`) });

describe("path search", () => {
  let root: Issued;
  before(async () => {
    root = await issueCa({ subject: "root" });
  });
  const below = (issuer: Issued, subject: string, options: IssueOptions = {}) =>
    issueCa({ issuer, subject, ...options });

  it("[X509-30] finds the path whatever the order of the intermediates, and not without one of them", async () => {
    const a = await below(root, "a");
    const b = await below(a, "b");
    const c = await below(b, "c");
    const leaf = await issueLeaf(c);
    for (const order of orders([a, b, c])) {
      const verdict = await judge([leaf, ...order], [root]);
      assert.ok(verdict.ok);
      assert.equal(verdict.value.chain.map((one) => one.subject).join(), "CN=leaf,CN=c,CN=b,CN=a,CN=root");
    }
    for (const missing of [a, b, c]) {
      assert.equal(await judged([leaf, ...[a, b, c].filter((one) => one !== missing)], [root]), "x509.no-path");
    }
  });

  it("[X509-30] lets duplicates, the root and unrelated certificates pass", async () => {
    const a = await below(root, "a");
    const leaf = await issueLeaf(a);
    const stranger = await issueCa({ subject: "stranger" });
    const elsewhere = await below(stranger, "elsewhere", { notAfter: new Date(NOW - 1000) });
    assert.equal(await judged([leaf, a, a, a], [root]), "accepted");
    assert.equal(await judged([leaf, leaf, a, leaf], [root]), "accepted");
    assert.equal(await judged([leaf, root, a], [root]), "accepted");
    assert.equal(await judged([leaf, elsewhere, a, stranger], [root]), "accepted");
    assert.equal(await judged([leaf, elsewhere, stranger], [root]), "x509.no-path");
  });

  it("[X509-12] takes an intermediate whose own ID is in another trust domain", async () => {
    const a = await below(root, "a", { names: [{ uri: "spiffe://other.org" }] });
    assert.equal(await judged([await issueLeaf(a), a], [root]), "accepted");
    assert.equal(await judged([await issueLeaf(a, { id: "spiffe://other.org/web" }), a], [root]), "x509.no-bundle");
  });

  it("[X509-37] finds the way past an expired certificate with the same name and key", async () => {
    const a = await below(root, "a");
    const old = await below(root, "a", { keyOf: a, notAfter: new Date(NOW - 1000) });
    const leaf = await issueLeaf(a);
    assert.equal(await judged([leaf, old, a], [root]), "accepted");
    assert.equal(await judged([leaf, a, old], [root]), "accepted");
    assert.equal(await judged([leaf, old], [root]), "x509.expired 1");
  });

  it("[X509-37] follows a cross-signature to the authority that is trusted", async () => {
    const other = await issueCa({ subject: "other root" });
    const a = await below(root, "a");
    const crossed = await below(other, "a", { keyOf: a });
    const leaf = await issueLeaf(a);
    assert.equal(await judged([leaf, a, crossed], [root]), "accepted");
    assert.equal(await judged([leaf, a, crossed], [other]), "accepted");
    assert.equal(await judged([leaf, a], [other]), "x509.no-path");
    // the root itself, signed by the other
    const rootCrossed = await below(other, "root", { keyOf: root });
    assert.equal(await judged([leaf, a, rootCrossed], [other]), "accepted");
    assert.equal(await judged([leaf, a, rootCrossed], [root, other]), "accepted");
  });

  it("[A-7] keeps an intermediate that is cross-signed in two trust domains within each leaf's own", async () => {
    const other = await issueCa({ subject: "other root" });
    const a = await below(root, "a");
    const crossed = await below(other, "a", { keyOf: a });
    const ours = await issueLeaf(a);
    const theirs = await issueLeaf(a, { id: "spiffe://other.org/web" });
    assert.equal(await judged([ours, a, crossed], [root]), "accepted");
    assert.equal(await judged([theirs, a, crossed], [root]), "x509.no-bundle");
    assert.equal(await judged([theirs, a, crossed], [other], { trustDomain: "other.org" }), "accepted");
    assert.equal(await judged([theirs, a], [other], { trustDomain: "other.org" }), "x509.no-path");
  });

  it("[X509-37] carries on over a new key of the same authority, by self-issued certificates", async () => {
    const next = await issueCa({ issuer: root, subject: "root" });
    assert.equal(next.certificate.isSelfIssued, true);
    const leaf = await issueLeaf(next);
    assert.equal(await judged([leaf, next], [root]), "accepted");
    assert.equal(await judged([leaf], [root]), "x509.signature 0");
    assert.equal(await judged([leaf], [next]), "accepted");
    assert.equal(await judged([leaf], [root, next]), "accepted");
  });

  it("[A-8] ends on loops of certificates that sign one another", async () => {
    const [a, b] = [await issueCa({ subject: "a" }), await issueCa({ subject: "b" })];
    const ab = await below(b, "a", { keyOf: a });
    const ba = await below(a, "b", { keyOf: b });
    const leaf = await issueLeaf(a);
    assert.equal(await judged([leaf, ab, ba], [root]), "x509.no-path");
    const entry = await below(root, "b", { keyOf: b });
    assert.equal(await judged([leaf, ab, ba, entry], [root]), "accepted");
  });

  it("[X509-14] honours path lengths of authorities and intermediates", async () => {
    const wide = await issueCa({ subject: "wide", pathLength: 1 });
    const a = await below(wide, "a");
    const b = await below(a, "b");
    assert.equal(await judged([await issueLeaf(wide)], [wide]), "accepted");
    assert.equal(await judged([await issueLeaf(a), a], [wide]), "accepted");
    assert.equal(await judged([await issueLeaf(b), b, a], [wide]), "x509.path-length 1");
    const zero = await below(root, "zero", { pathLength: 0 });
    const under = await below(zero, "under");
    assert.equal(await judged([await issueLeaf(zero), zero], [root]), "accepted");
    assert.equal(await judged([await issueLeaf(under), under, zero], [root]), "x509.path-length 1");
    // a later, larger constraint does not widen an earlier one
    const narrow = await below(root, "narrow", { pathLength: 1 });
    const loose = await below(narrow, "loose", { pathLength: 5 });
    const third = await below(loose, "third");
    assert.equal(await judged([await issueLeaf(loose), narrow, loose], [root]), "accepted");
    assert.equal(await judged([await issueLeaf(third), narrow, loose, third], [root]), "x509.path-length 3");
  });

  it("[X509-14] does not count self-issued intermediates", async () => {
    const zero = await issueCa({ subject: "zero", pathLength: 0 });
    const again = await issueCa({ issuer: zero, subject: "zero" });
    assert.equal(await judged([await issueLeaf(again), again], [zero]), "accepted");
    const other = await below(zero, "other");
    assert.equal(await judged([await issueLeaf(other), other], [zero]), "x509.path-length 1");
  });

  it("[S-13] asks for signatures from the authority downwards, each key only after its own was verified", async () => {
    const a = await below(root, "a");
    const b = await below(a, "b");
    const leaf = await issueLeaf(b);
    const { checks, verdict } = traced([leaf, b, a], [root], () => true);
    assert.equal(verdict, "accepted");
    const keys = [root, a, b].map((issued) => issued.certificate.publicKey);
    assert.deepEqual(
      checks.map(({ key }) => keys.findIndex((known) => known.equals(key))),
      [0, 1, 2],
    );
    const stopped = traced([leaf, b, a], [root], () => false);
    assert.equal(stopped.checks.length, 1, "nothing below an unverified link is used");
    assert.equal(stopped.verdict, "x509.signature 2");
    const half = traced([leaf, b, a], [root], ({ key }) => key.equals(keys[0]!));
    assert.deepEqual([half.checks.length, half.verdict], [2, "x509.signature 1"]);
  });

  it("[S-13] uses no key of a chain that names no trusted authority", async () => {
    const stranger = await issueCa({ subject: "stranger" });
    const a = await below(stranger, "a");
    const { checks, verdict } = traced([await issueLeaf(a), a, stranger], [root], () => true);
    assert.deepEqual([checks.length, verdict], [0, "x509.no-path"]);
  });

  it("[S-16] asks for each signature once", async () => {
    const twins = await Promise.all(Array.from({ length: 4 }, () => below(root, "root")));
    const leaf = await issueLeaf(root);
    const { checks } = traced([leaf, ...twins], [root], ({ data }) => !isSigned(data, leaf));
    const asked = checks.map(({ key, data }) => `${key.spki.join()} ${data.join()}`);
    assert.equal(asked.length, 4 + 4 * 3 + 5, "every pair of an issuer and a certificate below it");
    assert.equal(new Set(asked).size, asked.length);
  });

  it("[S-16] [A-8] gives up after a fixed count of signatures, with its own reason", async () => {
    // as far as names tell, every certificate may have signed every other one
    const twins = await Promise.all(Array.from({ length: 9 }, () => below(root, "root")));
    const leaf = await issueLeaf(root);
    const { checks, verdict } = traced([leaf, ...twins], [root], ({ data }) => !isSigned(data, leaf));
    assert.deepEqual([checks.length, verdict], [LIMITS.pathSignatures, "x509.work-limit"]);
    assert.equal(traced([leaf, ...twins], [root], () => true).verdict, "accepted");
    const anchors = await Promise.all(
      Array.from({ length: LIMITS.pathSignatures + 1 }, () => issueCa({ subject: "root" })),
    );
    assert.equal(traced([leaf], anchors, () => false).verdict, "x509.work-limit");
    assert.equal(traced([leaf], anchors.slice(1), () => false).verdict, "x509.signature 0");
  });

  it("[S-16] [A-8] gives up after half as many signatures by large keys", async () => {
    const large = await issueCa({ subject: "large", keyType: "P-521" });
    const twins = await Promise.all(
      Array.from({ length: 9 }, () => issueCa({ issuer: large, subject: "large", keyType: "P-521" })),
    );
    const leaf = await issueLeaf(large);
    const { checks, verdict } = traced([leaf, ...twins], [large], ({ data }) => !isSigned(data, leaf));
    assert.deepEqual([checks.length, verdict], [LIMITS.pathSignatures / 2, "x509.work-limit"]);
    assert.equal(await judged([leaf, ...twins], [large]), "accepted");
  });

  it("[S-16] [A-8] gives up after a quarter as many signatures by the largest RSA keys", async () => {
    const byKeysOf = async (octets: number) => {
      const ca = (number: number, issuer?: Issued) =>
        issueCa({ issuer, subject: "large", keyType: "RSA-2048", spki: rsaKey(octets, number) });
      const large = await ca(0);
      const twins = await Promise.all(Array.from({ length: 9 }, (_, number) => ca(number + 1, large)));
      const leaf = await issueLeaf(large);
      const { checks, verdict } = traced([leaf, ...twins], [large], ({ data }) => !isSigned(data, leaf));
      assert.equal(traced([leaf, ...twins], [large], () => true).verdict, "accepted");
      return [checks.length, verdict];
    };
    assert.deepEqual(await byKeysOf(512), [LIMITS.pathSignatures, "x509.work-limit"]);
    assert.deepEqual(await byKeysOf(513), [LIMITS.pathSignatures / 4, "x509.work-limit"]);
  });

  it("[S-15] asks nothing of a key that is not of the signature's kind", async () => {
    const signer = await issueCa({ subject: "signer", keyType: "RSA-2048" });
    const other = await issueCa({ subject: "signer", keyType: "P-256" });
    const leaf = await issueLeaf(signer);
    const wrong = traced([leaf], [other], () => true);
    assert.deepEqual([wrong.checks.length, wrong.verdict], [0, "x509.signature 0"]);
    const right = traced([leaf], [signer], () => true);
    assert.deepEqual([right.checks.length, right.verdict], [1, "accepted"]);
  });

  it("[S-15] foresees nothing of a key that is not of the signature's kind", async () => {
    const between = await below(root, "between");
    const twin = await issueCa({ subject: "between", keyType: "RSA-2048" });
    const key = between.certificate.publicKey; // decoded, so that what may follow is said
    const foreseen = async (signer: Issued) =>
      traced([await issueLeaf(signer), between], [root], () => true).checks.map(({ next }) => next?.key.equals(key));
    assert.deepEqual(await foreseen(between), [true, undefined]);
    assert.deepEqual(await foreseen(twin), [undefined]);
  });

  it("[S-16] [A-8] gives up after a fixed count of steps", async () => {
    // thirty signatures make hundreds of paths; expired certificates beside them cost steps and no signature
    const twins = await Promise.all(Array.from({ length: 5 }, () => below(root, "root")));
    const expired = { notAfter: new Date(NOW - 1000) };
    const ballast = await Promise.all(Array.from({ length: 4 }, () => below(root, "root", expired)));
    const leaf = await issueLeaf(root);
    const heavy = traced([leaf, ...twins, ...ballast], [root], ({ data }) => !isSigned(data, leaf));
    assert.equal(heavy.verdict, "x509.work-limit");
    assert.ok(heavy.checks.length < LIMITS.pathSignatures);
    const light = traced([leaf, ...twins], [root], ({ data }) => !isSigned(data, leaf));
    assert.deepEqual([light.checks.length, light.verdict], [5 + 5 * 4 + 6, "x509.signature 0"]);
  });

  it("[S-16] [A-8] counts authorities of the bundle as steps, also those that may not issue", async () => {
    const right = await issueCa({ subject: "many" });
    const expired = await issueCa({ subject: "many", notAfter: new Date(NOW - 1000) });
    const leaf = await issueLeaf(right);
    // a step for each authority, and one for the leaf below the right one
    const below = (count: number) => [...renumbered(expired, count), right];
    assert.equal(traced([leaf], below(LIMITS.pathSteps - 2), () => true).verdict, "accepted");
    assert.equal(traced([leaf], below(LIMITS.pathSteps - 1), () => true).verdict, "x509.work-limit");
    assert.equal(traced([leaf], renumbered(expired, LIMITS.pathSteps), () => true).verdict, "x509.expired");
    assert.equal(traced([leaf], renumbered(expired, LIMITS.pathSteps + 1), () => true).verdict, "x509.work-limit");
  });

  it("[X509-37] takes key identifiers as a hint: they order authorities, and forbid nothing", async () => {
    const [one, two] = ["01020304", "05060708"];
    const first = await issueCa({ subject: "many", extensions: [subjectKeyId(one)] });
    const second = await issueCa({ subject: "many", extensions: [subjectKeyId(two)] });
    const leaf = await issueLeaf(second, { extensions: [authorityKeyId(two)] });
    const { checks } = traced([leaf], [first, second], () => true);
    assert.ok(checks[0]?.key.equals(second.certificate.publicKey), "the named key is tried first");
    assert.equal(await judged([leaf], [first, second]), "accepted");
    const misleading = await issueLeaf(second, { extensions: [authorityKeyId(one)] });
    assert.equal(await judged([misleading], [first, second]), "accepted");
    assert.equal(await judged([misleading], [second]), "accepted");
    const plain = [await issueCa({ subject: "many" }), await issueCa({ subject: "many" })] as const;
    for (const anchors of [
      [first, second],
      [...plain, second],
    ])
      assert.equal(await judged([await issueLeaf(second)], anchors), "accepted", "a leaf that names no key");
    assert.equal(await judged([await issueLeaf(plain[1], { extensions: [authorityKeyId(one)] })], plain), "accepted");
    assert.equal(await judged([await issueLeaf(second)], [first]), "x509.signature 0");
  });

  it("[X509-37] refuses key identifiers that are critical, which no issuer may make them", async () => {
    const ca = (critical: boolean) =>
      issueCa({ subject: "ids", extensions: [{ ...subjectKeyId("01020304"), critical }] });
    const leaf = (issuer: Issued, critical: boolean) =>
      issueLeaf(issuer, { extensions: [{ ...authorityKeyId("01020304"), critical }] });
    const [plain, critical] = [await ca(false), await ca(true)];
    assert.equal(await judged([await leaf(plain, false)], [plain]), "accepted");
    assert.equal(await judged([await leaf(plain, true)], [plain]), "x509.critical-extension 0");
    assert.equal(await judged([await leaf(critical, false)], [critical]), "x509.critical-extension");
  });

  it("[X509-37] tells a foreign authority of the same name from a spoilt signature by key identifiers", async () => {
    const [own, foreign] = ["01020304", "05060708"];
    const ca = await issueCa({ subject: "same", extensions: [subjectKeyId(own)] });
    const twin = await issueCa({ subject: "same", extensions: [subjectKeyId(foreign)] });
    const leaf = await issueLeaf(twin, { extensions: [authorityKeyId(foreign)] });
    assert.equal(await judged([leaf], [ca]), "x509.no-path");
    assert.equal(await judged([leaf], [twin]), "accepted");
    const claims = await issueLeaf(twin, { extensions: [authorityKeyId(own)] });
    assert.equal(await judged([claims], [ca]), "x509.signature 0");
  });
});

/** A certificate many times, each with a serial number of its own; an authority's own signature is not looked at. */
function renumbered(issued: Issued, count: number): Issued[] {
  const at = Buffer.from(issued.der).indexOf(Buffer.from(issued.certificate.serialNumber, "hex"));
  return Array.from({ length: count }, (_, number) => {
    const der = new Uint8Array(issued.der);
    new DataView(der.buffer).setUint32(at + 4, number);
    return { ...issued, der, certificate: Certificate.parse(der) };
  });
}

/** An RSA key of so many octets, which only has to look like one; each number gives another. */
function rsaKey(octets: number, number: number): Uint8Array {
  const block = (tag: string, hex: string) => `${tag}82${(hex.length / 2).toString(16).padStart(4, "0")}${hex}`;
  const modulus = `00${"ff".repeat(octets - 2)}${number.toString(16).padStart(2, "0")}ff`;
  const key = block("30", `${block("02", modulus)}0203010001`);
  return fromHex(block("30", `300d06092a864886f70d0101010500${block("03", `00${key}`)}`));
}

function isSigned(data: Uint8Array, issued: Issued): boolean {
  return Buffer.from(data).equals(issued.certificate.tbs);
}
