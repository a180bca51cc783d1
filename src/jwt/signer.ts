/** Which key signed a token: one of the subject's own trust domain, found by at most 8 trials (JWT-20, JWT-21, S-15). */
import { accept, type Refusal, refuse, type Verdict } from "../base/index.ts";
import type { Checks } from "../crypto/index.ts";
import type { TrustDomain } from "../id/index.ts";
import type { JwtBundle, JwtBundleSource } from "./bundle.ts";
import type { JwtKey } from "./jwk-set.ts";
import type { Jws } from "./jws.ts";

/** The bundle of exactly this trust domain; what a source gives for another one is nothing. */
export function findBundle(trustDomain: TrustDomain, bundles: JwtBundleSource): Verdict<JwtBundle> {
  const bundle = bundles.jwtBundleFor(trustDomain);
  if (bundle?.trustDomain.equals(trustDomain)) return accept(bundle);
  return refuse("jwt.no-bundle", `Expected a token of a trust domain with a JWT bundle, got one of ${trustDomain}`);
}

/** The keys that a token may have been signed with, at least one and at most 8. */
export function findKeys(jws: Jws, bundle: JwtBundle): Verdict<readonly JwtKey[]> {
  const keys = bundle.candidates(jws.algorithm, jws.keyId);
  return keys.length === 0 ? noKey(jws, bundle) : accept(keys);
}

/** The key under which the token's signature verifies. */
export function* findSigner(jws: Jws, bundle: JwtBundle): Checks<Verdict<JwtKey>> {
  const keys = findKeys(jws, bundle);
  if (!keys.ok) return keys;
  const { algorithm, signature, signingInput: data } = jws;
  for (const candidate of keys.value) {
    if (yield { alg: algorithm.algorithm, key: candidate.key, signature, data, trusted: true })
      return accept(candidate);
  }
  const message = `Expected a signature by a key of ${bundle.trustDomain}, got one that does not verify`;
  return refuse("jwt.signature", message);
}

function noKey({ keyId, algorithm }: Jws, bundle: JwtBundle): Refusal {
  if (keyId !== undefined && !bundle.hasKeyId(keyId)) {
    return refuse("jwt.key-not-found", `Expected a "kid" that the bundle of ${bundle.trustDomain} has`);
  }
  if (bundle.isEmpty) return refuse("jwt.key-not-found", `Expected the bundle of ${bundle.trustDomain} to have keys`);
  return refuse("jwt.key-type", `Expected a key that fits ${algorithm.name} in the bundle of ${bundle.trustDomain}`);
}
