import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { isSpiffeError } from "../base/index.ts";
import { chooseVerifier } from "../crypto/index.ts";
import { TrustDomain } from "../id/index.ts";
import { X509Bundle } from "./bundle.ts";
import { Certificate, fieldsOf } from "./certificate.ts";
import type { GeneralName } from "./general-name.ts";
import { type Issued, issueCa, issueLeaf, NOW } from "./issue.testing.ts";
import { clockAt, sourceOf, summary } from "./judge.testing.ts";
import { spiffeIdOf } from "./leaf.ts";
import type { X509BundleSource } from "./source.ts";
import { type PresentedChain, safeVerifyX509Svid } from "./verify.ts";

const BACKENDS = [undefined, "wasm", "native", "webcrypto"] as const;

/** Every octet string that a certificate gives. */
function octetsOf(certificate: Certificate): Uint8Array[] {
  const { der, spki, tbs, signature, subject, issuer, extensions, publicKey } = certificate;
  const constraints = extensions.nameConstraints;
  const names = [...(extensions.names ?? []), ...(constraints?.permitted ?? []), ...(constraints?.excluded ?? [])];
  return [
    ...[der, spki, tbs, signature, subject.der, issuer.der, publicKey.spki, publicKey.importSpki],
    ...names.flatMap(({ value, directory }) => (directory === undefined ? [value] : [value, directory.der])),
    ...[extensions.authorityKeyId, extensions.subjectKeyId].filter((octets) => octets !== undefined),
  ];
}

describe("what a certificate hands out", () => {
  let ca: Issued;
  let between: Issued;
  let leaf: Issued;
  let fake: Issued;
  let evilBetween: Issued;
  let evilLeaf: Issued;
  before(async () => {
    ca = await issueCa({ names: [{ uri: "spiffe://example.org" }] });
    between = await issueCa({ issuer: ca, subject: "between" });
    leaf = await issueLeaf(between);
    // another key under the authority's name
    fake = await issueCa({ subject: "authority" });
    do evilBetween = await issueCa({ issuer: fake, subject: "between" });
    while (evilBetween.der.length !== between.der.length);
    evilLeaf = await issueLeaf(evilBetween);
  });

  const judge = async (chain: PresentedChain, bundles: X509BundleSource, backend?: (typeof BACKENDS)[number]) =>
    summary(
      await safeVerifyX509Svid(chain, bundles, { clock: clockAt(NOW), verifier: { ...chooseVerifier(backend) } }),
    );

  it("[S-14] no certificate is made of other fields than those of its bytes", async () => {
    const honest = Certificate.parse(between.der);
    const forged = { ...fieldsOf(honest), spki: evilBetween.certificate.spki };
    class Derived extends (Certificate as unknown as new (...given: unknown[]) => object) {}
    const usage = (error: unknown) => isSpiffeError(error, "ERR_SPIFFE_USAGE");
    for (const given of [[forged], [undefined, forged], [Symbol("made after its checks"), forged]]) {
      assert.throws(() => Reflect.construct(Certificate, given), usage);
      assert.throws(() => new Derived(...given), usage);
    }
    assert.equal(await judge([leaf.der, honest], sourceOf([ca])), "accepted");
  });

  it("a bundle stays what it is, whoever holds it", async () => {
    const bundles = sourceOf([ca]);
    const bundle = bundles.x509BundleFor(TrustDomain.parse("example.org"))!;
    const put = (holder: object, name: string, value: unknown) => assert.equal(Reflect.set(holder, name, value), false);
    put(bundle, "authorities", [fake.certificate]);
    put(bundle, "authoritiesNamed", () => [fake.certificate]);
    put(bundle, "trustDomain", TrustDomain.parse("other.example"));
    put(bundle.trustDomain, "name", "other.example");
    const held = { x509BundleFor: () => bundle };
    assert.notEqual(await judge([evilLeaf.der, evilBetween.der], held), "accepted");
    assert.equal(await judge([leaf.der, between.der], held), "accepted");
  });

  it("[S-14] can not change which certificate the memo knows while a signature is checked", async () => {
    for (const backend of BACKENDS) {
      for (let turns = 0; turns < 6; turns++) {
        // a copy has a memo of its own
        const verifier = { ...chooseVerifier(backend) };
        const options = { clock: clockAt(NOW), verifier };
        const certificate = Certificate.parse(between.der);
        const early = safeVerifyX509Svid([leaf.der, certificate], sourceOf([ca]), options);
        for (let turn = 0; turn < turns; turn++) await undefined;
        certificate.der.set(evilBetween.der);
        assert.equal(summary(await early), "accepted", `${backend}`);
        const verdict = async (...chain: Issued[]) =>
          summary(
            await safeVerifyX509Svid(
              chain.map(({ der }) => der),
              sourceOf([ca]),
              options,
            ),
          );
        assert.equal(await verdict(evilLeaf, evilBetween), "x509.signature 1", `${backend} after ${turns} turns`);
        assert.equal(await verdict(leaf, between), "accepted", `${backend}`);
      }
    }
  });

  it("[S-13] [S-14] is a copy: writing into any of it changes no verdict on it, by any backend", async () => {
    for (const backend of BACKENDS) {
      const [anchor, issuer, end] = [ca, between, leaf].map(({ der }) => Certificate.parse(der));
      const bundle = new X509Bundle(TrustDomain.parse("example.org"), [anchor!]);
      const source: X509BundleSource = { x509BundleFor: () => bundle };
      const verdicts = async () => [
        await judge([end!, issuer!], source, backend),
        await judge([evilLeaf.der, evilBetween.der], source, backend),
        await judge([evilLeaf.der, issuer!], source, backend),
        await judge([end!, evilBetween.der], source, backend),
      ];
      const expected = ["accepted", "x509.signature 1", "x509.signature 0", "x509.signature 1"];
      assert.deepEqual(await verdicts(), expected);
      for (const [target, other] of [
        [anchor!, fake.certificate],
        [issuer!, evilBetween.certificate],
        [end!, evilLeaf.certificate],
      ] as const) {
        const theirs = octetsOf(other);
        octetsOf(target).forEach((octets, index) => {
          if (theirs[index]?.length === octets.length) octets.set(theirs[index]);
        });
      }
      assert.deepEqual(await verdicts(), expected, `${backend}: the octets of another chain`);
      for (const target of [anchor!, issuer!, end!]) for (const octets of octetsOf(target)) octets.fill(0x61);
      assert.deepEqual(await verdicts(), expected, `${backend}: no octets of a certificate`);
      for (const name of [anchor!.subject, issuer!.issuer]) {
        assert.ok(name.equals(ca.certificate.subject) && name.toString() === "CN=authority");
      }
      assert.ok(bundle.has(ca.certificate) && !bundle.has(fake.certificate));
      assert.ok(anchor!.equals(ca.certificate) && !anchor!.equals(fake.certificate));
      assert.equal(Certificate.parse(bundle.toDer()).equals(ca.certificate), true);
    }
  });

  it("[X509-02] [X509-08] is not what names, key usage and constraints are judged by", async () => {
    const source = sourceOf([ca]);
    const web = Certificate.parse(leaf.der);
    const [name] = web.extensions.names as readonly GeneralName[];
    name!.value[name!.value.length - 1]! ^= 1;
    assert.equal(await judge([web, between.der], source), "accepted");
    assert.deepEqual(spiffeIdOf(web), spiffeIdOf(leaf.certificate));
    assert.deepEqual(web.uriSans, leaf.certificate.uriSans);

    const plain = await issueCa({ issuer: ca, subject: "plain", keyUsage: ["cRLSign"] });
    const below = await issueLeaf(plain);
    const [weak, strong] = [Certificate.parse(plain.der), Certificate.parse(between.der)];
    (weak.keyUsage as Set<string>).add("keyCertSign");
    (weak.extensions.keyUsage as Set<string>).add("keyCertSign");
    assert.equal(await judge([below.der, weak], source), "x509.key-usage 1");
    (strong.keyUsage as Set<string>).clear();
    (strong.extensions.keyUsage as Set<string>).clear();
    assert.equal(await judge([leaf.der, strong], source), "accepted");

    const narrow = await issueCa({ issuer: ca, subject: "narrow", permitted: [{ uri: "elsewhere.org" }] });
    const outside = await issueLeaf(narrow);
    const issuer = Certificate.parse(narrow.der);
    (issuer.extensions.nameConstraints!.permitted as GeneralName[]).length = 0;
    Object.assign(issuer.extensions, { nameConstraints: undefined });
    assert.equal(await judge([outside.der, issuer], source), "x509.name-constraints 0");
  });

  it("is not what the next reader gets", () => {
    const certificate = Certificate.parse(between.der);
    const before = JSON.stringify(certificate.extensions, (_, value) => (value instanceof Set ? [...value] : value));
    for (const octets of octetsOf(certificate)) octets.fill(0);
    (certificate.keyUsage as Set<string>).clear();
    (certificate.extensions.keyUsage as Set<string>).clear();
    for (const [mine, theirs] of octetsOf(certificate).map((octets, i) => [octets, octetsOf(between.certificate)[i]])) {
      assert.deepEqual(mine, theirs);
    }
    const after = JSON.stringify(certificate.extensions, (_, value) => (value instanceof Set ? [...value] : value));
    assert.equal(after, before);
    assert.deepEqual(certificate.keyUsage, between.certificate.keyUsage);
  });

  it("can not be replaced: certificates, names, keys and lists are frozen", async () => {
    const certificate = Certificate.parse(leaf.der);
    const verdict = certificate.safePublicKey();
    for (const [target, change] of [
      [certificate, { validityAt: () => "within" }],
      [certificate.subject, { isEmpty: true }],
      [verdict, { value: evilLeaf.certificate.publicKey }],
    ] as const) {
      assert.throws(() => Object.assign(target, change), TypeError);
      assert.throws(() => Object.defineProperty(target, "other", { value: 1 }), TypeError);
    }
    const bundle = sourceOf([ca]).x509BundleFor(TrustDomain.parse("example.org"))!;
    for (const list of [bundle.authorities, bundle.authoritiesNamed(ca.certificate.subject)]) {
      assert.equal(list.length, 1);
      assert.throws(() => (list as Certificate[]).push(fake.certificate), TypeError);
    }
    assert.equal(await judge([evilLeaf.der, evilBetween.der], { x509BundleFor: () => bundle }), "x509.signature 1");
    assert.equal(await judge([leaf.der, between.der], { x509BundleFor: () => bundle }), "accepted");
  });

  it("what only looks like a certificate is none", async () => {
    const { certificate } = leaf;
    for (const wrong of [
      Object.create(Certificate.prototype),
      Object.create(certificate),
      { ...certificate, der: certificate.der },
      null,
      undefined,
      "certificate",
      { length: 0 },
      new Proxy(certificate, {}),
    ]) {
      assert.equal(await judge([wrong as Certificate, between.der], sourceOf([ca])), "x509.malformed 0");
      assert.equal(await judge([leaf.der, wrong as Certificate], sourceOf([ca])), "x509.malformed 1");
    }
    assert.equal(await judge([certificate, between.certificate], sourceOf([ca])), "accepted");
  });
});
