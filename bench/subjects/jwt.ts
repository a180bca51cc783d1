/** JWT-SVIDs: whole validation from the compact form, every token different, no cache. */
import { Buffer } from "node:buffer";
import { createPublicKey, verify, type webcrypto } from "node:crypto";
import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from "jose";
import { SpiffeBundle } from "../../src/bundle/index.ts";
import { TrustDomain } from "../../src/id/index.ts";
import { JwtBundle, safeValidateJwtSvid, safeValidateJwtSvidSync } from "../../src/jwt/index.ts";
import type { Measure } from "./measure.ts";

export const measureJwt: Measure = async ({ fixtures, amount, add, count, countAsync }) => {
  const td = TrustDomain.parse(fixtures.trustDomain);
  for (const { name, document } of fixtures.bundles) {
    const fewer = { samples: Math.min(amount.samples, 100), warmup: Math.min(amount.warmup, 10) };
    await add("jwt", name, "spiffe-edge", () => void SpiffeBundle.parse(td, document), fewer);
  }
  const { audience } = fixtures;
  for (const set of fixtures.jwt) {
    const bundle = JwtBundle.fromJwks(td, JSON.stringify(set.jwks), "spiffe-bundle");
    const source = { jwtBundleFor: (domain: TrustDomain) => (domain.equals(td) ? bundle : undefined) };
    const ours = (token: string) => safeValidateJwtSvidSync(token, source, { audience }).ok;
    const oursAsync = async (token: string) => (await safeValidateJwtSvid(token, source, { audience })).ok;
    // The use of SPIFFE bundles is unknown to jose, which would skip the keys.
    const keySet = createLocalJWKSet({ keys: set.jwks.keys.map((key) => ({ ...key, use: "sig" })) } as JSONWebKeySet);
    const jose = (token: string) =>
      jwtVerify(token, keySet, { audience, algorithms: [set.alg] }).then(
        () => true,
        () => false,
      );
    const native = nativeVerify(set.jwks.keys[0]!, set.alg);
    const pick = (i: number) => set.tokens[Math.abs(i) % set.tokens.length]!;
    const key = `jwt ${set.name}`;
    count(key, "spiffe-edge", set.tokens, ours);
    await countAsync(`${key} async`, "spiffe-edge", set.tokens, oursAsync);
    await countAsync(key, "jose", set.tokens, jose);
    count(`jwt verify ${set.alg}`, "native", set.tokens, native);
    await add("jwt", set.name, "spiffe-edge", (i) => void ours(pick(i)));
    await add("jwt", set.name, "jose", (i) => jose(pick(i)));
    await add("jwt", `${set.name} async`, "spiffe-edge", (i) => oursAsync(pick(i)));
    await add("jwt", `verify ${set.alg}`, "native", (i) => void native(pick(i)));
  }
};

/** The bare signature check: what no validation on this runtime can go below. */
function nativeVerify(jwk: object, alg: string): (token: string) => boolean {
  const key = createPublicKey({ key: jwk as webcrypto.JsonWebKey, format: "jwk" });
  const hash = `sha${alg.slice(2)}`;
  return (token) => {
    const end = token.lastIndexOf(".");
    const signature = Buffer.from(token.slice(end + 1), "base64url");
    return verify(hash, Buffer.from(token.slice(0, end), "latin1"), { key, dsaEncoding: "ieee-p1363" }, signature);
  };
}
