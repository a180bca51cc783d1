import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { isSpiffeError, LIMITS, type SpiffeError } from "../base/index.ts";
import { webcryptoVerifier } from "../crypto/index.ts";
import { TrustDomain } from "../id/index.ts";
import { X509Bundle } from "./bundle.ts";
import { type Issued, issue, issueCa, issueLeaf, NOW } from "./issue.testing.ts";
import { clockAt, judge, judged, sourceOf, summary } from "./judge.testing.ts";
import { safeVerifyX509Svid, safeVerifyX509SvidSync, verifyX509Svid, verifyX509SvidSync } from "./verify.ts";

const HOUR = 3_600_000;

describe("verification of a peer", () => {
  let ca: Issued;
  let leaf: Issued;
  before(async () => {
    ca = await issueCa({ names: [{ uri: "spiffe://example.org" }] });
    leaf = await issueLeaf(ca);
  });

  it("[X509-30] gives the ID, the path used and the earliest end on it", async () => {
    const between = await issueCa({ issuer: ca, subject: "between", notAfter: new Date(NOW + HOUR) });
    const below = await issueLeaf(between);
    const stranger = await issueCa({ subject: "stranger" });
    const verdict = await judge([below, stranger, between], [ca]);
    assert.ok(verdict.ok);
    const { id, chain, expiresAt } = verdict.value;
    assert.equal(id.uri, "spiffe://example.org/web");
    assert.deepEqual(
      chain.map((certificate) => certificate.subject.toString()),
      ["CN=leaf", "CN=between", "CN=authority"],
    );
    assert.equal(expiresAt.getTime(), NOW + HOUR);
    assert.ok(Object.isFrozen(verdict.value) && Object.isFrozen(chain));
  });

  it("[X509-30] throws with code, reason and place by default, at once and asynchronously", async () => {
    const options = { clock: clockAt(NOW) };
    const bundles = sourceOf([ca]);
    assert.equal((await verifyX509Svid([leaf.der], bundles, options)).id.path, "/web");
    assert.equal(verifyX509SvidSync([leaf.certificate], bundles, options).id.path, "/web");
    const late = { clock: clockAt(NOW + 48 * HOUR) };
    const expired = (error: SpiffeError) => {
      return (
        isSpiffeError(error, "ERR_SPIFFE_X509_VERIFY") &&
        error.reason === "x509.expired" &&
        error.message.startsWith("The leaf: ")
      );
    };
    await assert.rejects(verifyX509Svid([leaf.der], bundles, late), expired);
    assert.throws(() => verifyX509SvidSync([leaf.der], bundles, late), expired);
  });

  it("[S-8] refuses to verify at once by WebCrypto", () => {
    const verifier = webcryptoVerifier as never;
    assert.throws(
      () => verifyX509SvidSync([leaf.der], sourceOf([ca]), { clock: clockAt(NOW), verifier }),
      (error) => isSpiffeError(error, "ERR_SPIFFE_BACKEND"),
    );
  });

  it("[X509-36] [ID-25] [A-7] takes the authorities of the leaf's own trust domain and no others", async () => {
    const other = await issueCa({ subject: "other" });
    const foreign = await issueLeaf(ca, { id: "spiffe://other.org/web" });
    const both = (id: Issued[], otherOrg: Issued[]) => {
      const [a, b] = [sourceOf(id), sourceOf(otherOrg, "other.org")];
      return { x509BundleFor: (domain: TrustDomain) => a.x509BundleFor(domain) ?? b.x509BundleFor(domain) };
    };
    assert.equal(await judged([foreign], [ca]), "x509.no-bundle", "no bundle of other.org");
    assert.equal(await judged([foreign], both([ca], [other])), "x509.no-path", "other.org has another authority");
    assert.equal(await judged([foreign], both([ca], [])), "x509.no-path", "other.org's bundle is empty");
    assert.equal(await judged([foreign], both([], [ca])), "accepted");
    assert.equal(await judged([leaf], both([ca], [other])), "accepted");
  });

  it("[X509-36] [A-7] refuses a bundle that a source gives for another trust domain", async () => {
    const bundle = new X509Bundle(TrustDomain.parse("other.org"), [ca.certificate]);
    assert.equal(await judged([leaf], { x509BundleFor: () => bundle }), "x509.no-bundle");
    assert.equal(await judged([leaf], { x509BundleFor: () => null as never }), "x509.no-bundle");
    const right = new X509Bundle(TrustDomain.parse("example.org"), [ca.certificate]);
    assert.equal(await judged([leaf], { x509BundleFor: () => right }), "accepted");
  });

  it("[A-7] refuses an authority that shares only its name with the bundle's", async () => {
    const twin = await issueCa({ names: [{ uri: "spiffe://example.org" }] });
    assert.deepEqual(twin.certificate.subject.der, ca.certificate.subject.der);
    assert.equal(await judged([leaf], [twin]), "x509.signature 0");
    assert.equal(await judged([leaf], [ca]), "accepted");
    assert.equal(await judged([leaf], [twin, ca]), "accepted", "key rollover: both");
    assert.equal(await judged([leaf, twin], [ca]), "accepted");
    assert.equal(await judged([leaf, ca], [twin]), "x509.signature 0", "the right one presented, not trusted");
  });

  it("[X509-36] refuses everything by an empty bundle", async () => {
    assert.equal(await judged([leaf], []), "x509.no-path");
    assert.equal(await judged([leaf, ca], []), "x509.no-path");
    assert.equal(await judged([leaf], [ca]), "accepted");
  });

  it("[X509-40] follows the bundle of now: an authority that left is trusted no more", async () => {
    let bundle = sourceOf([ca]);
    const bundles = { x509BundleFor: (domain: TrustDomain) => bundle.x509BundleFor(domain) };
    assert.equal(await judged([leaf], bundles), "accepted");
    bundle = sourceOf([await issueCa({ subject: "next" })]);
    assert.equal(await judged([leaf], bundles), "x509.no-path");
    bundle = sourceOf([ca]);
    assert.equal(await judged([leaf], bundles), "accepted");
  });

  it("[X509-05] refuses a chain that begins with an authority", async () => {
    assert.equal(await judged([ca], [ca]), "x509.leaf-root-path 0");
    const named = await issueCa({ issuer: ca, subject: "named", names: [{ uri: "spiffe://example.org/ca" }] });
    assert.equal(await judged([named], [ca]), "x509.leaf-is-ca 0");
    assert.equal(await judged([leaf, ca], [ca]), "accepted");
  });

  it("[X509-37] [S-17] takes each certificate within its validity alone, to the moment", async () => {
    const [begin, end] = [new Date(NOW - HOUR), new Date(NOW + HOUR)];
    const brief = { notBefore: begin, notAfter: end };
    const between = await issueCa({ issuer: ca, subject: "between", ...brief });
    const root = await issueCa({ subject: "brief root", ...brief });
    for (const [what, chain, authority, index] of [
      ["leaf", [await issueLeaf(ca, brief)], ca, " 0"],
      ["intermediate", [await issueLeaf(between), between], ca, " 1"],
      ["authority", [await issueLeaf(root)], root, ""],
    ] as const) {
      const at = (now: number) => judged(chain, [authority], { now });
      assert.equal(await at(begin.getTime()), "accepted", what);
      assert.equal(await at(end.getTime()), "accepted", what);
      assert.equal(await at(begin.getTime() - 1), `x509.not-yet-valid${index}`, what);
      assert.equal(await at(end.getTime() + 1), `x509.expired${index}`, what);
      assert.equal(await at(Number.NaN), `x509.expired 0`, what);
    }
  });

  it("[S-17] a clock that throws or tells no time accepts nothing, in either driver", async () => {
    const clock = (now: () => unknown) => ({ ...clockAt(NOW), now: now as () => number });
    const verdicts = async (now: () => unknown) => {
      const options = { clock: clock(now) };
      const presented = [leaf.der];
      return [
        summary(safeVerifyX509SvidSync(presented, sourceOf([ca]), options)),
        summary(await safeVerifyX509Svid(presented, sourceOf([ca]), options)),
      ].join();
    };
    assert.equal(await verdicts(() => NOW), "accepted,accepted");
    const odd = [
      Number.NaN,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
      undefined,
      null,
      `${NOW}`,
      BigInt(NOW),
    ];
    const bad = [...odd, new Date(NOW), [NOW], { valueOf: () => NOW }, true].map((value) => () => value);
    for (const now of [...bad, () => assert.fail("no time today")]) {
      assert.equal(await verdicts(now), "x509.expired 0,x509.expired 0", String(now));
    }
    const expired = (error: unknown) =>
      isSpiffeError(error, "ERR_SPIFFE_X509_VERIFY") && error.reason === "x509.expired";
    const options = { clock: clock(() => Number.NaN) };
    await assert.rejects(verifyX509Svid([leaf.der], sourceOf([ca]), options), expired);
    assert.throws(() => verifyX509SvidSync([leaf.der], sourceOf([ca]), options), expired);
  });

  it("[X509-37] takes validity up to the year 9999", async () => {
    const notAfter = new Date(Date.UTC(9999, 11, 31, 23, 59, 59));
    const root = await issueCa({ subject: "eternal", notAfter });
    assert.equal(
      await judged([await issueLeaf(root, { notAfter })], [root], { now: NOW + 1000 * 365 * 24 * HOUR }),
      "accepted",
    );
    assert.equal(
      await judged([await issueLeaf(root)], [root], { now: NOW + 1000 * 365 * 24 * HOUR }),
      "x509.expired 0",
    );
  });

  it("[X509-37] refuses a spoilt signature on every link", async () => {
    const between = await issueCa({ issuer: ca, subject: "between" });
    const below = await issueLeaf(between);
    const spoilt = (issued: Issued) => {
      const der = Uint8Array.from(issued.der);
      der[der.length - 1]! ^= 1;
      return der;
    };
    assert.equal(await judged([below, between], [ca]), "accepted");
    assert.equal(await judged([spoilt(below), between], [ca]), "x509.signature 0");
    assert.equal(await judged([below, spoilt(between)], [ca]), "x509.signature 1");
    // the signed part changed, the signature whole: another ID in the leaf
    const renamed = Uint8Array.from(below.der);
    renamed[Buffer.from(renamed).indexOf("org/web") + 4] = "x".charCodeAt(0);
    assert.equal(await judged([renamed, between], [ca]), "x509.signature 0");
  });

  it("[S-15] does not look at the authority's own signature", async () => {
    const spoilt = await issueCa({ subject: "spoilt", tamper: (der) => void (der[der.length - 1]! ^= 1) });
    assert.equal(await judged([await issueLeaf(spoilt)], [spoilt]), "accepted");
    const old = await issueCa({ subject: "old", keyType: "RSA-2048", hash: "SHA-1" });
    assert.equal(await judged([await issueLeaf(old)], [old]), "accepted");
  });

  it("[S-15] refuses SHA-1 on any link, and takes SHA-2 there", async () => {
    const rsa = await issueCa({ subject: "rsa", keyType: "RSA-2048" });
    assert.equal(await judged([await issueLeaf(rsa, { hash: "SHA-1" })], [rsa]), "x509.algorithm 0");
    assert.equal(await judged([await issueLeaf(rsa, { hash: "SHA-512" })], [rsa]), "accepted");
    assert.equal(await judged([await issueLeaf(ca, { hash: "SHA-1" })], [ca]), "x509.algorithm 0");
    const between = await issueCa({ issuer: rsa, subject: "between", hash: "SHA-1" });
    assert.equal(await judged([await issueLeaf(between), between], [rsa]), "x509.algorithm 1");
    assert.equal(await judged([await issueLeaf(rsa, { pss: true, hash: "SHA-1" })], [rsa]), "x509.algorithm 0");
  });

  it("[S-15] refuses a signature of another kind than its algorithm says", async () => {
    const rsa = await issueCa({ subject: "rsa", keyType: "RSA-2048" });
    const pss = await issueLeaf(rsa, { pss: true });
    assert.equal(await judged([pss], [rsa]), "accepted");
    const wrongSalt = await issueLeaf(rsa, { pss: true, saltLength: 20 });
    assert.equal(await judged([wrongSalt], [rsa]), "x509.algorithm 0");
    const holder = await issueCa({ subject: "pss", keyType: "RSA-PSS-2048" });
    assert.equal(await judged([await issueLeaf(holder)], [holder]), "accepted");
  });

  for (const type of ["P-256", "P-384", "P-521", "RSA-2048", "RSA-3072", "RSA-PSS-2048", "Ed25519"] as const) {
    it(`[X509-30] takes chains of ${type} keys`, async () => {
      const root = await issueCa({ subject: "root", keyType: type });
      const between = await issueCa({ issuer: root, subject: "between", keyType: type });
      const below = await issueLeaf(between, { keyType: type });
      assert.equal(await judged([below, between], [root]), "accepted");
      assert.equal(await judged([below], [root]), "x509.no-path");
    });
  }

  it("[X509-30] takes a P-521 authority that signs with SHA-256, on every runtime and backend", async () => {
    const root = await issueCa({ subject: "root", keyType: "P-521", hash: "SHA-256" });
    const below = await issueLeaf(root, { hash: "SHA-256" });
    assert.equal(await judged([below], [root]), "accepted");
    assert.equal(
      await judged(
        [await issueLeaf(await issueCa({ subject: "root", keyType: "P-521" }), { hash: "SHA-256" })],
        [root],
      ),
      "x509.signature 0",
    );
  });

  it("[X509-37] refuses an unknown critical extension anywhere on the path, and takes it uncritical", async () => {
    const extension = (critical: boolean) => ({
      extensions: [{ oid: "1.3.6.1.4.1.99999.1", critical, value: Uint8Array.of(5, 0) }],
    });
    for (const [critical, wanted] of [
      [true, "x509.critical-extension"],
      [false, "accepted"],
    ] as const) {
      const root = await issueCa({ subject: "root", ...extension(critical) });
      const between = await issueCa({ issuer: ca, subject: "between", ...extension(critical) });
      const place = (index: string) => (critical ? wanted + index : wanted);
      assert.equal(await judged([await issueLeaf(ca, extension(critical))], [ca]), place(" 0"));
      assert.equal(await judged([await issueLeaf(between), between], [ca]), place(" 1"));
      assert.equal(await judged([await issueLeaf(root)], [root]), place(""));
    }
  });

  it("[X509-08] [X509-37] wants cA and keyCertSign of every issuer", async () => {
    for (const [what, changes, reason] of [
      ["no cA", { ca: false }, "x509.not-ca"],
      ["no basic constraints", { ca: null }, "x509.not-ca"],
      ["no keyCertSign", { keyUsage: ["cRLSign", "digitalSignature"] as const }, "x509.key-usage"],
    ] as const) {
      const between = await issueCa({ issuer: ca, subject: "between", ...changes });
      assert.equal(await judged([await issueLeaf(between), between], [ca]), `${reason} 1`, what);
      const root = await issueCa({ subject: "root", ...changes });
      assert.equal(await judged([await issueLeaf(root)], [root]), reason, what);
    }
    const between = await issueCa({ issuer: ca, subject: "between", keyUsage: ["keyCertSign"] });
    assert.equal(await judged([await issueLeaf(between), between], [ca]), "accepted");
    // RFC 5280 does not look at an anchor's key usage; where there is one it must fit
    const plainRoot = await issueCa({ subject: "root", keyUsage: null });
    assert.equal(await judged([await issueLeaf(plainRoot)], [plainRoot]), "accepted");
    const plain = await issueCa({ issuer: ca, subject: "between", keyUsage: null });
    assert.equal(await judged([await issueLeaf(plain), plain], [ca]), "x509.key-usage 1");
  });

  it("[X509-05] refuses a leaf that was issued by another leaf", async () => {
    const below = await issueLeaf(leaf, { id: "spiffe://example.org/admin" });
    assert.equal(await judged([below, leaf], [ca]), "x509.not-ca 1");
    assert.equal(await judged([await issueLeaf(ca, { id: "spiffe://example.org/admin" }), leaf], [ca]), "accepted");
  });

  it("[X509-37] refuses an authority of version 1", async () => {
    const old = await issue({ subject: "old", version: null });
    assert.equal(await judged([await issueLeaf(old)], [old]), "x509.not-ca");
  });

  it("[X509-37] refuses an empty issuer name", async () => {
    const nameless = await issueCa({ subject: Uint8Array.of(0x30, 0) });
    assert.equal(await judged([await issueLeaf(nameless)], [nameless]), "x509.malformed 0");
  });

  it("[X509-38] takes an intermediate as authority, without its root and whoever signed it", async () => {
    const between = await issueCa({ issuer: ca, subject: "between" });
    const below = await issueLeaf(between);
    assert.equal(await judged([below], [between]), "accepted");
    assert.equal(await judged([below, between], [between]), "accepted");
    assert.equal(await judged([leaf], [between]), "x509.no-path", "its root is not trusted with it");
  });

  it("[X509-38] trusts no leaf for being in the bundle", async () => {
    assert.equal(await judged([leaf], [leaf]), "x509.no-path");
    const self = await issue({
      subject: "leaf",
      names: [{ uri: "spiffe://example.org/web" }],
      keyUsage: ["digitalSignature"],
    });
    assert.equal(await judged([self], [self]), "x509.not-ca");
  });

  it("[S-15] refuses weak keys of intermediates and authorities", async () => {
    const weak = { keyType: "RSA-1024" } as const;
    const root = await issueCa({ subject: "root", ...weak });
    assert.equal(await judged([await issueLeaf(root)], [root]), "key.weak");
    const between = await issueCa({ issuer: ca, subject: "between", ...weak });
    assert.equal(await judged([await issueLeaf(between), between], [ca]), "key.weak 1");
  });

  it("[S-7] bounds the chain by count and bytes", async () => {
    const stranger = await issueCa({ subject: "stranger" });
    const filled = (count: number) => [leaf, ...Array.from({ length: count - 1 }, () => stranger)];
    assert.equal(await judged(filled(LIMITS.chainLength), [ca]), "accepted");
    assert.equal(await judged(filled(LIMITS.chainLength + 1), [ca]), "x509.chain-too-large");
    assert.equal(await judged([], [ca]), "x509.chain-empty");
    for (const chain of [null, undefined, "", leaf.der, { length: 1, 0: leaf.der }] as never[])
      assert.equal(summary(safeVerifyX509SvidSync(chain, sourceOf([ca]))), "x509.chain-empty");
    const huge = { extensions: [{ oid: "1.2.3", value: new Uint8Array(LIMITS.chainBytes / 2) }] };
    const large = await issueCa({ subject: "large", ...huge });
    assert.equal(await judged([leaf, large], [ca]), "accepted");
    assert.equal(await judged([leaf, large, large], [ca]), "x509.chain-too-large");
  });

  it("names the certificate that can not be read", async () => {
    assert.equal(await judged([leaf, Uint8Array.of(0x30, 0)], [ca]), "x509.malformed 1");
    assert.equal(await judged([undefined as unknown as Uint8Array], [ca]), "x509.malformed 0");
  });
});
