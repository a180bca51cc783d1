import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { before, describe, it } from "node:test";
import { inspect } from "node:util";
import { SpiffeId, TrustDomain } from "../id/index.ts";
import { Certificate, safeVerifyX509Svid, X509Bundle, X509Svid } from "../x509/index.ts";
import { Generation, type IssuedX509 } from "./generation.ts";

const ORG = TrustDomain.parse("example.org");
const NOW = Date.UTC(2026, 5, 1, 12);
const HOUR_MS = 3_600_000;

describe("what the authority issues", () => {
  let generation: Generation;
  let ca: Certificate;
  let issued: IssuedX509;
  let svid: X509Svid;

  before(async () => {
    generation = await Generation.create(ORG, NOW, 24 * HOUR_MS);
    ca = Certificate.parse(generation.certificate);
    issued = await generation.issueX509(SpiffeId.parse("spiffe://example.org/web"), NOW, HOUR_MS);
    svid = await X509Svid.parse(issued.certificates, issued.privateKey);
  });

  it("[X509-08] [X509-09] [X509-10] [X509-11] [X509-21] is signed by a CA certificate of the trust domain", () => {
    assert.equal(ca.isCa, true);
    assert.deepEqual([...(ca.keyUsage ?? [])], ["keyCertSign", "cRLSign"]);
    assert.deepEqual(ca.uriSans, ["spiffe://example.org"]);
    assert.equal(ca.notBefore.getTime(), NOW - 10_000);
    assert.equal(ca.notAfter.getTime(), NOW + 24 * HOUR_MS);
    const native = new X509Certificate(generation.certificate);
    assert.ok(native.verify(native.publicKey));
    assert.equal(native.ca, true);
  });

  it("[X509-01] [X509-04] [X509-15] [X509-17] [X509-18] [X509-19] [X509-20] [X509-22] [X509-23] has the shape of a leaf", async () => {
    const { leaf } = svid;
    assert.deepEqual(leaf.uriSans, ["spiffe://example.org/web"]);
    assert.equal(leaf.isCa, false);
    assert.deepEqual([...(leaf.keyUsage ?? [])], ["digitalSignature", "keyEncipherment", "keyAgreement"]);
    const native = new X509Certificate(leaf.der);
    assert.deepEqual(leaf.extensions.extKeyUsage, ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]);
    assert.ok(native.verify(new X509Certificate(generation.certificate).publicKey));
    assert.equal(leaf.notBefore.getTime(), NOW - 10_000);
    assert.equal(leaf.notAfter.getTime(), NOW + HOUR_MS);
    assert.equal(issued.expiresAt, NOW + HOUR_MS);
    const bundle = X509Bundle.fromDer(ORG, generation.certificate);
    const at = (now: number) => ({ clock: { now: () => now, monotonic: () => 0, sleep: async () => {} } });
    const verify = (now: number) => safeVerifyX509Svid(svid.certificates, { x509BundleFor: () => bundle }, at(now));
    assert.equal((await verify(NOW)).ok, true);
    assert.equal((await verify(NOW + 2 * HOUR_MS)).ok, false);
  });

  it("has serial numbers of 128 random bits and names that differ between generations", async () => {
    const serials = [ca.serialNumber, svid.leaf.serialNumber];
    for (const serial of serials) assert.match(serial, /^[4-7][0-9a-f]{31}$/);
    assert.equal(new Set(serials).size, 2);
    const next = Certificate.parse((await Generation.create(ORG, NOW, HOUR_MS)).certificate);
    assert.notDeepEqual(next.subject.der, ca.subject.der);
    assert.deepEqual(svid.leaf.issuer.der, ca.subject.der);
    assert.equal(ca.isSelfIssued, true);
  });

  it("never outlives its CA, and lives a fraction of a second at least as long as asked", async () => {
    const id = SpiffeId.parse("spiffe://example.org/web");
    assert.equal((await generation.issueX509(id, NOW + 23.5 * HOUR_MS, HOUR_MS)).expiresAt, NOW + 24 * HOUR_MS);
    assert.equal((await generation.issueX509(id, NOW + 1, 1_000)).expiresAt, NOW + 2_000);
    assert.equal(generation.lastX509Expiry, NOW + 24 * HOUR_MS);
    await generation.issueJwt(id, ["a"], NOW + 1, 1_000);
    assert.equal(generation.lastJwtExpiry, NOW + 2_000);
  });

  it("[S-28] keeps its keys: nothing that prints a generation shows one, and the JWK is public", () => {
    const shown = `${JSON.stringify(generation)} ${inspect(generation, { depth: 10, showHidden: true })}`;
    assert.deepEqual(Object.keys(generation.jwk).sort(), ["crv", "kid", "kty", "x", "y"]);
    assert.ok(!/"d"|privateKey|pkcs8/i.test(shown), shown.slice(0, 2_000));
  });
});
