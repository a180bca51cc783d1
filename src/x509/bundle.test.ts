import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { before, describe, it } from "node:test";
import { isSpiffeError, LIMITS } from "../base/index.ts";
import { TrustDomain } from "../id/index.ts";
import { X509Bundle } from "./bundle.ts";
import { type Issued, issueCa } from "./issue.testing.ts";
import { summary } from "./judge.testing.ts";

const concat = (...parts: Uint8Array[]) => Uint8Array.from(parts.flatMap((part) => [...part]));

describe("X509Bundle", () => {
  let a: Issued;
  let b: Issued;
  before(async () => {
    [a, b] = [await issueCa({ subject: "a" }), await issueCa({ subject: "b" })];
  });
  const from = (der: Uint8Array, domain: string | TrustDomain = "example.org") => X509Bundle.safeFromDer(domain, der);

  it("[X509-56] holds every certificate of concatenated DER once", () => {
    const bundle = X509Bundle.fromDer("example.org", concat(a.der, b.der, a.der));
    assert.deepEqual(
      bundle.authorities.map((one) => one.subject.toString()),
      ["CN=a", "CN=b"],
    );
    assert.equal(bundle.trustDomain.name, "example.org");
    assert.equal(bundle.isEmpty, false);
    assert.ok(bundle.has(a.certificate) && bundle.has(b.certificate));
    assert.equal(X509Bundle.fromDer("example.org", a.der).has(b.certificate), false);
    assert.ok(Object.isFrozen(bundle.authorities));
  });

  it("[X509-56] may be empty, and then trusts nothing", () => {
    const bundle = X509Bundle.fromDer("example.org", new Uint8Array());
    assert.equal(bundle.isEmpty, true);
    assert.equal(bundle.has(a.certificate), false);
  });

  it("[S-11] refuses bytes left over and anything that is no certificate, as a whole", () => {
    const trailing = from(concat(a.der, Uint8Array.of(0)));
    assert.equal(summary(trailing), "bundle.malformed");
    assert.equal(summary(from(concat(a.der, Uint8Array.of(0x30, 0)))), "x509.malformed 1");
    assert.equal(summary(from(a.der.subarray(0, -1))), "bundle.malformed");
    assert.equal(summary(from(concat(a.der, b.der))), "accepted");
    assert.throws(
      () => X509Bundle.fromDer("example.org", Uint8Array.of(1)),
      (error) => isSpiffeError(error, "ERR_SPIFFE_BUNDLE") && error.reason === "bundle.malformed",
    );
  });

  it("bounds its size", () => {
    assert.equal(summary(from(new Uint8Array(LIMITS.bundle + 1))), "bundle.too-large");
    const many = new Uint8Array((LIMITS.bundleKeys + 1) * 2);
    for (let i = 0; i < many.length; i += 2) many[i] = 0x30;
    assert.equal(summary(from(many)), "bundle.too-large");
    assert.equal(summary(from(many.subarray(2))), "x509.malformed 0");
    const block = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    const blocks = (count: number) => X509Bundle.safeFromPem("example.org", block.repeat(count));
    assert.equal(summary(blocks(LIMITS.bundleKeys + 1)), "bundle.too-large");
    assert.equal(summary(blocks(LIMITS.bundleKeys)), "x509.malformed 0");
  });

  it("refuses a trust domain that is none", () => {
    assert.equal(summary(from(a.der, "Example.org")), "id.trust-domain-character");
    assert.equal(summary(from(a.der, TrustDomain.parse("example.org"))), "accepted");
  });

  it("reads and writes PEM", () => {
    const bundle = X509Bundle.fromDer("example.org", concat(a.der, b.der));
    const again = X509Bundle.fromPem("example.org", bundle.toPem());
    assert.ok(again.equals(bundle));
    const foreign = bundle.toPem().replaceAll("CERTIFICATE", "PRIVATE KEY");
    assert.equal(summary(X509Bundle.safeFromPem("example.org", foreign)), "bundle.malformed");
    assert.equal(X509Bundle.safeFromPem("example.org", "nothing").ok, false);
  });

  it("writes DER that it reads", () => {
    const bundle = X509Bundle.fromDer("example.org", concat(a.der, b.der));
    assert.deepEqual(bundle.toDer(), concat(a.der, b.der));
    assert.ok(X509Bundle.fromDer("example.org", bundle.toDer()).equals(bundle));
    assert.equal(X509Bundle.fromDer("example.org", new Uint8Array()).toDer().length, 0);
  });

  it("saves into a file and loads it again, for the trust domain that the reader says", async () => {
    const folder = mkdtempSync(join(tmpdir(), "bundle-"));
    try {
      const path = join(folder, "bundle.pem");
      const broken = (reason: string) => (error: unknown) =>
        isSpiffeError(error, "ERR_SPIFFE_BUNDLE") && error.reason === reason;
      const bundle = X509Bundle.fromDer("example.org", concat(a.der, b.der));
      await bundle.save(path);
      assert.deepEqual(readdirSync(folder), ["bundle.pem"]);
      assert.equal(statSync(path).mode & 0o777, 0o600);
      assert.ok((await X509Bundle.load("example.org", path)).equals(bundle));
      assert.equal((await X509Bundle.load(TrustDomain.parse("other.org"), path)).trustDomain.name, "other.org");
      await assert.rejects(X509Bundle.load("Example.org", path), broken("id.trust-domain-character"));
      writeFileSync(path, bundle.toPem().slice(0, -40));
      await assert.rejects(X509Bundle.load("example.org", path), broken("encoding.pem"));
      writeFileSync(path, bundle.toPem().padEnd(LIMITS.bundle + 1, "\n"));
      await assert.rejects(X509Bundle.load("example.org", path), broken("encoding.too-large"));
      await X509Bundle.fromDer("example.org", new Uint8Array()).save(path);
      await assert.rejects(X509Bundle.load("example.org", path), broken("encoding.pem"), "trusts nothing");
      const missing = join(folder, "missing.pem");
      await assert.rejects(X509Bundle.load("example.org", missing), (e) => isSpiffeError(e, "ERR_SPIFFE_CONFIG"));
      await assert.rejects(bundle.save(folder), (e) => isSpiffeError(e, "ERR_SPIFFE_CONFIG"));
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it("compares by trust domain and certificates, in any order", async () => {
    const bundle = X509Bundle.fromDer("example.org", concat(a.der, b.der));
    assert.equal(bundle.equals(X509Bundle.fromDer("example.org", concat(b.der, a.der))), true);
    assert.equal(bundle.equals(X509Bundle.fromDer("example.org", a.der)), false);
    assert.equal(X509Bundle.fromDer("example.org", a.der).equals(bundle), false, "one that has more is another");
    assert.equal(X509Bundle.fromDer("example.org", a.der).equals(X509Bundle.fromDer("example.org", b.der)), false);
    const c = await issueCa({ subject: "b" });
    assert.equal(bundle.equals(X509Bundle.fromDer("example.org", concat(a.der, c.der))), false, "one is replaced");
    assert.equal(bundle.equals(X509Bundle.fromDer("other.org", concat(a.der, b.der))), false);
  });

  it("finds authorities by their name, byte for byte", async () => {
    const twin = await issueCa({ subject: "a" });
    const bundle = X509Bundle.fromDer("example.org", concat(a.der, b.der, twin.der));
    assert.equal(bundle.authoritiesNamed(a.certificate.subject).length, 2);
    assert.equal(bundle.authoritiesNamed(b.certificate.subject).length, 1);
    assert.equal(bundle.authoritiesNamed((await issueCa({ subject: "A" })).certificate.subject).length, 0);
  });

  it("shows names, not bytes, in JSON", () => {
    const shown = JSON.parse(JSON.stringify(X509Bundle.fromDer("example.org", a.der)));
    assert.equal(shown.trustDomain, "example.org");
    assert.equal(shown.authorities[0].subject, "CN=a");
  });
});
