import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import type { Reason } from "../base/index.ts";
import { TrustDomain } from "../id/index.ts";
import { safeValidateJwtSvid } from "../jwt/index.ts";
import {
  signTestJwt,
  type TestJwtAlgorithm,
  type TestJwtKey,
  type TestJwtOptions,
  testJwtBundle,
  testJwtKey,
} from "./testing.ts";

const ORG = TrustDomain.parse("example.org");
const claims = { sub: "spiffe://example.org/web", aud: ["orders"] };
const seconds = (offset: number) => Math.floor(Date.now() / 1_000) + offset;

async function verdict(token: string, key: TestJwtKey): Promise<Reason | "accepted"> {
  const bundle = testJwtBundle(ORG, key);
  const result = await safeValidateJwtSvid(token, { jwtBundleFor: () => bundle }, { audience: "orders" });
  return result.ok ? "accepted" : result.reason;
}

describe("signTestJwt", () => {
  let key: TestJwtKey;
  before(async () => {
    key = await testJwtKey();
  });

  const algorithms: TestJwtAlgorithm[] = [
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
  ];
  for (const alg of algorithms) {
    it(`signs valid JWT-SVIDs with ${alg}`, async () => {
      const own = await testJwtKey(alg);
      assert.equal(await verdict(await signTestJwt({ key: own, claims }), own), "accepted");
      const spoil = (signature: Uint8Array) => signature.map((byte, index) => (index === 20 ? byte ^ 1 : byte));
      assert.equal(await verdict(await signTestJwt({ key: own, claims, signature: spoil }), own), "jwt.signature");
    });
  }

  const wrong: [string, Omit<TestJwtOptions, "key">, Reason][] = [
    ["another audience", { claims: { ...claims, aud: ["Orders"] } }, "jwt.audience"],
    ["no audience", { claims: { ...claims, aud: undefined } }, "jwt.audience-missing"],
    ["an expiry that passed", { claims: { ...claims, exp: seconds(-60) } }, "jwt.expired"],
    ["no expiry", { claims: { ...claims, exp: undefined } }, "jwt.expiry-missing"],
    ["a begin to come", { claims: { ...claims, nbf: seconds(60) } }, "jwt.not-yet-valid"],
    ["no subject", { claims: { aud: ["orders"] } }, "jwt.subject"],
    ["a wrong type", { claims, header: { typ: "at+jwt" } }, "jwt.type"],
    ["no algorithm", { claims, header: { alg: "none" } }, "jwt.algorithm"],
    ["a critical header", { claims, header: { crit: ["exp"] } }, "jwt.critical"],
    ["an unknown key", { claims, header: { kid: "other" } }, "jwt.key-not-found"],
    ["a header that is no JSON", { claims, header: "{" }, "jwt.malformed"],
    ["a payload that is no object", { claims: "[]" }, "jwt.malformed"],
  ];
  for (const [title, options, reason] of wrong) {
    it(`signs tokens with ${title}, which are refused with ${reason}`, async () => {
      assert.equal(await verdict(await signTestJwt({ key, ...options }), key), reason);
    });
  }

  it("signs tokens whose parts may be left out, which are accepted", async () => {
    for (const header of [{ kid: undefined }, { typ: undefined }, { typ: "JOSE" }]) {
      assert.equal(await verdict(await signTestJwt({ key, claims, header }), key), "accepted", JSON.stringify(header));
    }
    assert.equal(await verdict(await signTestJwt({ key, claims: { ...claims, iat: undefined } }), key), "accepted");
  });
});
