import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { before, describe, it } from "node:test";
import type { Reason } from "../base/index.ts";
import { Certificate, safeVerifyX509Svid, verifyX509Svid, X509Bundle, X509Svid } from "../x509/index.ts";
import { type KeyType, TestCa, type TestCertificateOptions, type TestSvid } from "./testing.ts";

const ID = "spiffe://example.org/web";
const HOUR_MS = 3_600_000;
const KEY_TYPES: KeyType[] = ["ec-p256", "ec-p384", "ec-p521", "rsa-2048", "ed25519"];

const hours = (count: number) => new Date(Date.now() + count * HOUR_MS);

async function verdict(issued: Pick<TestSvid, "certificatesDer">, ...trusted: TestCa[]): Promise<Reason | "accepted"> {
  const bundles = trusted.map((ca) => ca.x509Bundle());
  const result = await safeVerifyX509Svid(issued.certificatesDer, {
    x509BundleFor: (domain) => bundles.find((bundle) => bundle.trustDomain.equals(domain)),
  });
  return result.ok ? "accepted" : result.reason;
}

describe("TestCa", () => {
  let ca: TestCa;
  let foreign: TestCa;
  let otherDomain: TestCa;

  before(async () => {
    ca = await TestCa.create();
    foreign = await TestCa.create();
    otherDomain = await TestCa.create({ trustDomain: "other.test" });
  });

  it("issues valid X509-SVIDs by default, with an empty subject and a critical SAN", async () => {
    const issued = await ca.issue({ id: ID });
    assert.equal(await verdict(issued, ca), "accepted");
    const svid = await X509Svid.parse(issued.chainDer, issued.privateKeyPkcs8);
    assert.equal(svid.id.uri, ID);
    const pem = await X509Svid.fromPem(issued.certPem, issued.keyPem);
    assert.ok(pem.leaf.equals(svid.leaf));
    // SEQUENCE {}, without the empty RDN that some TLS stacks refuse
    assert.deepEqual([...svid.leaf.subject.der], [0x30, 0x00]);
  });

  for (const keyType of KEY_TYPES) {
    it(`issues by and for ${keyType} keys`, async () => {
      const root = await TestCa.create({ keyType });
      const middle = await root.intermediate({ keyType, pathLength: 0 });
      const issued = await middle.issue({ id: ID, keyType });
      assert.equal(await verdict(issued, root), "accepted");
      assert.equal(await verdict(issued, ca), "x509.no-path");
      const svid = await X509Svid.parse(issued.chainDer, issued.privateKeyPkcs8);
      assert.equal(svid.certificates.length, 2);
      const leaf = new X509Certificate(issued.certPem);
      assert.equal(leaf.subjectAltName, `URI:${ID}`);
      const spoiled = await middle.issue({ id: ID, keyType, tamper: "signature" });
      assert.equal(await verdict(spoiled, root), "x509.signature");
    });
  }

  const wrong: [string, TestCertificateOptions, Reason][] = [
    ["expired", { id: ID, notAfter: hours(-0.5) }, "x509.expired"],
    ["not yet valid", { id: ID, notBefore: hours(0.5) }, "x509.not-yet-valid"],
    ["a CA as leaf", { id: ID, ca: true }, "x509.leaf-is-ca"],
    ["no URI name", { uriSans: [], dnsSans: ["web.example.org"] }, "x509.no-uri-san"],
    ["no names at all", { subject: { CN: "web" } }, "x509.no-uri-san"],
    ["two URI names", { uriSans: [ID, "spiffe://example.org/api"] }, "x509.several-uri-sans"],
    ["a URI name that is no SPIFFE ID", { id: "https://example.org/web" }, "x509.id"],
    ["the root path", { id: "spiffe://example.org" }, "x509.leaf-root-path"],
    [
      "a certificate-signing key usage",
      { id: ID, keyUsage: ["digitalSignature", "keyCertSign"] },
      "x509.leaf-key-usage",
    ],
    ["no digitalSignature", { id: ID, keyUsage: ["keyAgreement"] }, "x509.leaf-key-usage"],
    ["no key usage", { id: ID, keyUsage: null }, "x509.leaf-key-usage"],
    ["a key usage that is not critical", { id: ID, keyUsageCritical: false }, "x509.leaf-key-usage"],
    ["no clientAuth", { id: ID, extKeyUsage: ["serverAuth"] }, "x509.leaf-ext-key-usage"],
    ["an empty subject without a critical SAN", { id: ID, sanCritical: false }, "x509.subject-empty-san-not-critical"],
    ["another algorithm outside", { id: ID, tamper: "algorithm" }, "x509.algorithm-mismatch"],
    ["a trailing byte", { id: ID, tamper: "trailing" }, "x509.malformed"],
    ["a truncated certificate", { id: ID, tamper: (der) => der.subarray(0, -1) }, "x509.malformed"],
    ["a flipped bit of the signature", { id: ID, tamper: "signature" }, "x509.signature"],
    [
      "an unknown critical extension",
      { id: ID, extensions: [{ oid: "1.3.6.1.4.1.99999.1", critical: true, value: new Uint8Array([5, 0]) }] },
      "x509.critical-extension",
    ],
  ];
  for (const [title, options, reason] of wrong) {
    it(`makes leaves with ${title}, which are refused with ${reason}`, async () => {
      const issued = await ca.issue(options);
      assert.equal(await verdict(issued, ca), reason);
    });
  }

  const right: [string, TestCertificateOptions][] = [
    [
      "an unknown extension that is not critical",
      { extensions: [{ oid: "1.3.6.1.4.1.99999.1", value: new Uint8Array([5, 0]) }] },
    ],
    ["no extended key usage", { extKeyUsage: null }],
    ["no basic constraints", { ca: null }],
    [
      "other names beside the ID",
      { dnsSans: ["a.test"], emailSans: ["a@b.test"], ipSans: [new Uint8Array([127, 0, 0, 1])] },
    ],
    ["a subject and a SAN that is not critical", { subject: { C: "US", O: "SPIRE" }, sanCritical: false }],
    ["an end in 9999", { notAfter: new Date("9999-12-31T23:59:59Z") }],
    ["a begin in 1950", { notBefore: new Date("1950-01-01T00:00:00Z") }],
    ["further key usages", { keyUsage: ["digitalSignature", "keyEncipherment", "keyAgreement"] }],
    ["another hash", { hash: "SHA-512" }],
    ["a serial number of one byte", { serial: new Uint8Array([1]) }],
  ];
  for (const [title, options] of right) {
    it(`makes leaves with ${title}, which are accepted`, async () => {
      assert.equal(await verdict(await ca.issue({ id: ID, ...options }), ca), "accepted");
    });
  }

  it("makes leaves of foreign CAs and of another trust domain's CA", async () => {
    assert.equal(await verdict(await foreign.issue({ id: ID }), ca), "x509.no-path");
    assert.equal(await verdict(await otherDomain.issue({ id: ID }), ca, otherDomain), "x509.no-path");
    assert.equal(await verdict(await otherDomain.issue({ id: "spiffe://other.test/x" }), ca), "x509.no-bundle");
    assert.equal(await verdict(await otherDomain.issue({ id: "spiffe://other.test/x" }), ca, otherDomain), "accepted");
  });

  it("makes chains: intermediates, broken ones, path lengths, wrong intermediates", async () => {
    const middle = await ca.intermediate();
    const low = await middle.intermediate();
    const issued = await low.issue({ id: ID });
    assert.equal(issued.certificatesDer.length, 3);
    assert.equal(await verdict(issued, ca), "accepted");
    const [leaf, first, second] = issued.certificatesDer as [Uint8Array, Uint8Array, Uint8Array];
    assert.equal(await verdict({ certificatesDer: [leaf, first] }, ca), "x509.no-path");
    assert.equal(await verdict({ certificatesDer: [leaf, second, first] }, ca), "accepted");
    const short = await ca.intermediate({ pathLength: 0 });
    assert.equal(await verdict(await short.issue({ id: ID }), ca), "accepted");
    assert.equal(await verdict(await (await short.intermediate()).issue({ id: ID }), ca), "x509.path-length");
    const plain = await ca.intermediate({ ca: false });
    assert.equal(await verdict(await plain.issue({ id: ID }), ca), "x509.not-ca");
    const unable = await ca.intermediate({ keyUsage: ["digitalSignature"] });
    assert.equal(await verdict(await unable.issue({ id: ID }), ca), "x509.key-usage");
    const late = await ca.intermediate({ notAfter: hours(-0.5) });
    assert.equal(await verdict(await late.issue({ id: ID }), ca), "x509.expired");
  });

  it("makes name constraints of every kind", async () => {
    const { subject } = Certificate.parse(otherDomain.certificateDer);
    const permitted = await ca.intermediate({
      nameConstraints: { permitted: { uri: ["example.org"], dns: ["a.test"] } },
    });
    assert.equal(await verdict(await permitted.issue({ id: ID, dnsSans: ["b.a.test"] }), ca), "accepted");
    assert.equal(await verdict(await permitted.issue({ id: ID, dnsSans: ["b.test"] }), ca), "x509.name-constraints");
    const excluded = await ca.intermediate({
      nameConstraints: {
        excluded: { ip: [new Uint8Array([10, 0, 0, 0, 255, 0, 0, 0])], email: ["b.test"], directory: [subject.der] },
      },
    });
    const inside = (last: number) => new Uint8Array([last, 0, 0, 1]);
    assert.equal(await verdict(await excluded.issue({ id: ID, ipSans: [inside(11)] }), ca), "accepted");
    assert.equal(await verdict(await excluded.issue({ id: ID, ipSans: [inside(10)] }), ca), "x509.name-constraints");
    assert.equal(await verdict(await excluded.issue({ id: ID, emailSans: ["a@c.test"] }), ca), "accepted");
    assert.equal(await verdict(await excluded.issue({ id: ID, emailSans: ["a@b.test"] }), ca), "x509.name-constraints");
  });

  it("cross-signs: one leaf, two trusted roots", async () => {
    const middle = await ca.intermediate();
    const crossed = await foreign.crossSign(middle);
    const issued = await middle.issue({ id: ID });
    const both = [...issued.certificatesDer, crossed.certificateDer];
    assert.equal(await verdict({ certificatesDer: both }, ca), "accepted");
    assert.equal(await verdict({ certificatesDer: both }, foreign), "accepted");
    assert.equal(await verdict(issued, foreign), "x509.no-path");
    assert.equal(await verdict(await crossed.issue({ id: ID }), foreign), "accepted");
  });

  it("gives bundles with its root, or with itself as anchor", async () => {
    const middle = await ca.intermediate();
    const [leaf] = (await middle.issue({ id: ID })).certificatesDer as [Uint8Array];
    const own = middle.asAnchor();
    assert.equal((await verifyX509Svid([leaf], { x509BundleFor: () => own })).id.uri, ID);
    assert.ok(middle.x509Bundle().equals(X509Bundle.fromDer(ca.trustDomain, ca.certificateDer)));
  });
});
