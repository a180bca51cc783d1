import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { chooseSyncVerifier, type SignatureVerifier, type SyncSignatureVerifier } from "../../crypto/index.ts";
import { Certificate } from "../certificate.ts";
import { type Issued, issueCa, issueLeaf, NOW } from "../issue.testing.ts";
import { clockAt, sourceOf, summary } from "../judge.testing.ts";
import type { X509BundleSource } from "../source.ts";
import { safeVerifyX509SvidSync } from "../verify.ts";
import { IssuerMemo, issuerMemoOf } from "./issuer-memo.ts";

const HOUR = 3_600_000;

/** A backend of its own, so with a memo of its own, that counts what it is asked. */
function counting(): SyncSignatureVerifier & { count: number } {
  const inner = chooseSyncVerifier("native");
  const verifier = {
    name: "counting",
    sync: true as const,
    count: 0,
    importKey: inner.importKey,
    verify(...parameters: Parameters<typeof inner.verify>) {
      verifier.count++;
      return inner.verify(...parameters);
    },
  };
  return verifier;
}

describe("the memo of issuers", () => {
  let ca: Issued;
  let between: Issued;
  let leaf: Issued;
  before(async () => {
    ca = await issueCa({ names: [{ uri: "spiffe://example.org" }] });
    between = await issueCa({ issuer: ca, subject: "between", notAfter: new Date(NOW + HOUR), pathLength: 0 });
    leaf = await issueLeaf(between);
  });

  const judge = (
    chain: readonly Issued[],
    bundles: X509BundleSource,
    verifier: SyncSignatureVerifier,
    now = NOW,
  ): string => {
    const presented = chain.map(({ der }) => der);
    return summary(safeVerifyX509SvidSync(presented, bundles, { clock: clockAt(now), verifier }));
  };

  it("[S-14] spares the signature of an issuer that was seen, never that of a leaf", async () => {
    const verifier = counting();
    assert.equal(judge([leaf, between], sourceOf([ca]), verifier), "accepted");
    assert.equal(verifier.count, 2);
    assert.equal(judge([leaf, between], sourceOf([ca]), verifier), "accepted");
    assert.equal(verifier.count, 3, "the leaf's alone");
    assert.equal(judge([await issueLeaf(between), between], sourceOf([ca]), verifier), "accepted");
    assert.equal(verifier.count, 4);
  });

  it("[S-14] judges dates, path length, constraints, anchors and trust domains although the signature is known", async () => {
    const verifier = counting();
    const warm = () => assert.equal(judge([leaf, between], sourceOf([ca]), verifier), "accepted");
    warm();
    assert.equal(judge([leaf, between], sourceOf([ca]), verifier, NOW + 2 * HOUR), "x509.expired 1");
    const deeper = await issueCa({ issuer: between, subject: "deeper" });
    const below = await issueLeaf(deeper);
    assert.equal(judge([below, deeper, between], sourceOf([ca]), verifier), "x509.path-length 1");
    const other = await issueCa({ subject: "other" });
    assert.equal(judge([leaf, between], sourceOf([other]), verifier), "x509.no-path", "the anchor left the bundle");
    assert.equal(judge([leaf, between], sourceOf([ca], "other.org"), verifier), "x509.no-bundle");
    const foreign = await issueLeaf(between, { id: "spiffe://other.org/web" });
    assert.equal(judge([foreign, between], sourceOf([ca]), verifier), "x509.no-bundle");
    warm();
    const narrow = await issueCa({ issuer: ca, subject: "narrow", permitted: [{ uri: "elsewhere.org" }] });
    const outside = await issueLeaf(narrow);
    const before = judge([outside, narrow], sourceOf([ca]), verifier);
    assert.equal(before, "x509.name-constraints 0");
    assert.equal(judge([outside, narrow], sourceOf([ca]), verifier), before);
  });

  it("[S-14] [A-7] keeps a cross-signed intermediate within each trust domain although the memo is warm", async () => {
    const verifier = counting();
    const [a, b] = [ca, await issueCa({ subject: "other authority" })];
    const underA = await issueCa({ issuer: a, subject: "crossed" });
    const underB = await issueCa({ issuer: b, subject: "crossed", keyOf: underA });
    const inA = await issueLeaf(underA);
    const inB = await issueLeaf(underB, { id: "spiffe://other.org/web" });
    const [bundleA, bundleB] = [sourceOf([a]), sourceOf([b], "other.org")];
    const both: X509BundleSource = { x509BundleFor: (td) => bundleA.x509BundleFor(td) ?? bundleB.x509BundleFor(td) };
    for (let turn = 0; turn < 2; turn++) {
      assert.equal(judge([inA, underA], both, verifier), "accepted");
      assert.equal(judge([inB, underB], both, verifier), "accepted");
      assert.equal(judge([inA, underB], both, verifier), "x509.no-path");
      assert.equal(judge([inB, underA], both, verifier), "x509.no-path");
    }
  });

  it("[S-14] holds a pair of this key and this certificate, and no failure", async () => {
    const verifier = counting();
    const twin = await issueCa({ subject: "authority", names: [{ uri: "spiffe://example.org" }] });
    assert.equal(judge([leaf, between], sourceOf([ca]), verifier), "accepted");
    // another key under the same name, and the same certificate with one bit of its signature changed
    assert.notEqual(judge([leaf, between], sourceOf([twin]), verifier), "accepted");
    const spoilt = Uint8Array.from(between.der);
    spoilt[spoilt.length - 1]! ^= 1;
    const count = verifier.count;
    for (let turn = 0; turn < 2; turn++) {
      assert.equal(judge([leaf, { ...between, der: spoilt }], sourceOf([ca]), verifier), "x509.signature 1");
    }
    assert.equal(verifier.count, count + 2, "checked anew each time");
    assert.equal(judge([leaf, between], sourceOf([ca]), verifier), "accepted");
  });

  it("[S-14] takes no certificate for another one, however alike, and none for the one it decoded", async () => {
    const verifier = counting();
    assert.equal(judge([leaf, between], sourceOf([ca]), verifier), "accepted");
    const memo = issuerMemoOf(verifier as SignatureVerifier);
    const known = memo.decoded(between.der);
    assert.ok(known?.equals(between.certificate));
    assert.ok(memo.has(ca.certificate.publicKey, between.certificate));
    for (let at = 0; at < between.der.length; at += 3) {
      const other = Uint8Array.from(between.der);
      other[at]! ^= 1;
      assert.equal(memo.decoded(other), undefined, `octet ${at}`);
      const parsed = Certificate.safeParse(other);
      if (parsed.ok) assert.equal(memo.has(ca.certificate.publicKey, parsed.value), false, `octet ${at}`);
      assert.notEqual(judge([leaf, { ...between, der: other }], sourceOf([ca]), verifier), "accepted", `octet ${at}`);
    }
    for (const other of [between.der.subarray(1), between.der.subarray(0, -1), [...between.der], null, ""]) {
      assert.equal(memo.decoded(other), undefined);
    }
    assert.equal(memo.has(leaf.certificate.publicKey, between.certificate), false, "another key");
    assert.equal(memo.decoded(leaf.der), undefined, "a leaf is never in it");
    assert.equal(judge([leaf, between], sourceOf([ca]), verifier), "accepted");
  });

  it("[S-14] belongs to one backend and forgets the oldest", () => {
    const [one, other] = [counting(), counting()];
    const key = between.certificate.publicKey;
    assert.equal(issuerMemoOf(one as SignatureVerifier), issuerMemoOf(one as SignatureVerifier));
    issuerMemoOf(one as SignatureVerifier).add(key, leaf.certificate);
    assert.equal(issuerMemoOf(one as SignatureVerifier).has(key, leaf.certificate), true);
    assert.equal(issuerMemoOf(other as SignatureVerifier).has(key, leaf.certificate), false);
    const memo = new IssuerMemo();
    memo.add(key, leaf.certificate);
    const numbered = (index: number) => {
      const der = Uint8Array.from(leaf.der);
      // the last octets of its signature
      der.set([index >> 8, index & 255], der.length - 2);
      return Certificate.parse(der);
    };
    for (let i = 0; i < 255; i++) memo.add(key, numbered(i));
    assert.equal(memo.has(key, leaf.certificate), true);
    for (let i = 255; i < 1_000; i++) memo.add(key, numbered(i));
    assert.equal(memo.size, 256);
    assert.equal(memo.has(key, leaf.certificate), false);
    assert.equal(memo.has(key, numbered(999)), true);
  });
});
