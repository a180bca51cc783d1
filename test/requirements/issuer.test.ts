/** Rows of the standards about who issues and who publishes: what the embedded authority and the bundle writer make. */
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { before, describe, it } from "node:test";
import { Generation } from "../../src/authority/generation.ts";
import { SpiffeBundle } from "../../src/bundle/index.ts";
import { SpiffeId, TrustDomain } from "../../src/id/index.ts";
import { JwtBundle, safeValidateJwtSvid } from "../../src/jwt/index.ts";
import { Certificate, safeVerifyX509Svid, X509Bundle, X509Svid } from "../../src/x509/index.ts";

const ORG = TrustDomain.parse("example.org");
const OTHER = TrustDomain.parse("other.test");
const NOW = Date.UTC(2026, 5, 1, 12);
const HOUR_MS = 3_600_000;
const WEB = SpiffeId.parse("spiffe://example.org/web");

const clock = { now: () => NOW, monotonic: () => 0, sleep: async () => {} };

/** What a trust domain publishes, out of the keys of its authority. */
function bundleOf(domain: TrustDomain, generation: Generation): SpiffeBundle {
  const x509 = X509Bundle.fromDer(domain, generation.certificate);
  const jwt = JwtBundle.fromJwks(domain, JSON.stringify({ keys: [generation.jwk] }), "workload-api");
  return SpiffeBundle.of(domain, { x509, jwt, sequence: 7n, refreshHintMs: 300_000 });
}

describe("the authority of a trust domain", () => {
  let generation: Generation;
  let other: Generation;
  let svid: X509Svid;
  let token: string;

  before(async () => {
    generation = await Generation.create(ORG, NOW, 24 * HOUR_MS);
    other = await Generation.create(OTHER, NOW, 24 * HOUR_MS);
    const { certificates, privateKey } = await generation.issueX509(WEB, NOW, HOUR_MS);
    svid = await X509Svid.parse(certificates, privateKey);
    token = await generation.issueJwt(WEB, ["orders"], NOW, HOUR_MS);
  });

  it("[ID-20] [ID-21] [ID-22] carries an SVID itself: one URI name, the trust domain's own ID without path", () => {
    for (const [domain, { certificate }] of [
      [ORG, generation],
      [OTHER, other],
    ] as const) {
      const { names, isCa } = Certificate.parse(certificate);
      assert.deepEqual(
        names.map(({ kind }) => kind),
        ["uri"],
      );
      const id = SpiffeId.parse(Certificate.parse(certificate).uriSans[0]!);
      assert.ok(isCa && id.equals(domain.id) && id.path === "");
    }
  });

  it("[ID-23] an X.509-SVID holds ID and public key in its signed part: neither can be replaced", async () => {
    const source = { x509BundleFor: () => X509Bundle.fromDer(ORG, generation.certificate) };
    const verdict = async (der: Uint8Array) => {
      const verified = await safeVerifyX509Svid([der], source, { clock });
      return verified.ok ? "accepted" : verified.reason;
    };
    const { leaf } = svid;
    const changed = (from: Uint8Array, to: Uint8Array) => {
      const der = Buffer.from(leaf.der);
      const at = der.indexOf(from);
      assert.equal(at, der.lastIndexOf(from));
      der.set(to, at);
      return new Uint8Array(der);
    };
    const foreign = await other.issueX509(WEB, NOW, HOUR_MS);
    const [own, theirs] = [leaf.spki, Certificate.parse(foreign.certificates).spki];
    assert.equal(own.length, theirs.length);
    assert.equal(await verdict(leaf.der), "accepted");
    assert.equal(
      await verdict(changed(Buffer.from(WEB.uri), Buffer.from("spiffe://example.org/api"))),
      "x509.signature",
    );
    assert.equal(await verdict(changed(own, theirs)), "x509.signature");
  });

  it("[ID-23] [JWT-10] a JWT-SVID holds ID and audience in its signed part, and the audience asked for alone", async () => {
    const { jwt } = bundleOf(ORG, generation);
    const verdict = async (text: string) => {
      const judged = await safeValidateJwtSvid(text, jwt, { audience: "orders", clock });
      return judged.ok ? judged.value.audience.join() : judged.reason;
    };
    const [header, payload, signature] = token.split(".") as [string, string, string];
    const claims = JSON.parse(Buffer.from(payload, "base64url").toString());
    const changed = (member: object) =>
      [header, Buffer.from(JSON.stringify({ ...claims, ...member })).toString("base64url"), signature].join(".");
    assert.equal(await verdict(token), "orders");
    assert.equal(await verdict(changed({})), "orders");
    assert.equal(await verdict(changed({ sub: "spiffe://example.org/api" })), "jwt.signature");
    assert.equal(await verdict(changed({ aud: ["orders", "bills"] })), "jwt.signature");
  });
});

describe("the bundle that an authority publishes", () => {
  let document: { keys: Record<string, unknown>[]; spiffe_sequence: unknown; spiffe_refresh_hint: unknown };
  let generation: Generation;

  before(async () => {
    generation = await Generation.create(ORG, NOW, 24 * HOUR_MS);
    document = JSON.parse(bundleOf(ORG, generation).toJson());
  });

  it("[BND-01] [BND-03] [BND-06] [BND-07] [BND-09] is a JWK set with sequence and refresh hint, whole numbers", () => {
    assert.deepEqual(Object.keys(document), ["keys", "spiffe_sequence", "spiffe_refresh_hint"]);
    assert.deepEqual([document.spiffe_sequence, document.spiffe_refresh_hint], [7, 300]);
    assert.equal(document.keys.length, 2);
  });

  it("[X509-50] [X509-51] [X509-52] [X509-53] has its CA as one self-signed certificate, without key ID", () => {
    const [jwk, ...more] = document.keys.filter(({ use }) => use === "x509-svid");
    assert.equal(more.length, 0);
    assert.deepEqual(Object.keys(jwk!).sort(), ["crv", "kty", "use", "x", "x5c", "y"]);
    const [encoded, ...others] = jwk!.x5c as string[];
    assert.equal(others.length, 0);
    assert.equal(encoded, Buffer.from(generation.certificate).toString("base64"));
    const native = new X509Certificate(Buffer.from(encoded!, "base64"));
    assert.ok(native.ca && native.verify(native.publicKey) && native.issuer === native.subject);
    const { x, y } = native.publicKey.export({ format: "jwk" });
    assert.deepEqual([jwk!.x, jwk!.y], [x, y]);
  });

  it("[JWT-30] [JWT-31] [BND-12] [BND-13] [BND-15] has its JWT key with use and key ID, and nothing beyond", () => {
    const [jwk, ...more] = document.keys.filter(({ use }) => use === "jwt-svid");
    assert.equal(more.length, 0);
    assert.deepEqual(Object.keys(jwk!).sort(), ["crv", "kid", "kty", "use", "x", "y"]);
    assert.equal(jwk!.kid, generation.jwk.kid);
  });

  it("[BND-18] shares no key with another trust domain's, nor one kind of key with the other", async () => {
    const theirs = JSON.parse(bundleOf(OTHER, await Generation.create(OTHER, NOW, HOUR_MS)).toJson());
    const points = [...document.keys, ...theirs.keys].map(({ x, y }) => `${x} ${y}`);
    assert.equal(new Set(points).size, 4);
  });
});
