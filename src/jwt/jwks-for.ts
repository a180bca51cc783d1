/** JWT bundles as what `jose` takes for a key. */
import { accept, refuse, unwrap, type Verdict } from "../base/index.ts";
import { type PublicJwk, type PublicKey, runChecks } from "../crypto/index.ts";
import type { JwtBundleSource } from "./bundle.ts";
import { readClaims } from "./claims.ts";
import { parseJws } from "./jws.ts";
import { findBundle, findKeys, findSigner } from "./signer.ts";

/** The parts of a token, as `jose` hands them to a key function. */
export interface TokenParts {
  readonly protected?: string;
  readonly payload: string | Uint8Array;
  readonly signature: string;
  /** Only in JSON serialization, which a JWT-SVID must not have. */
  readonly header?: unknown;
}

/** Finds the key of a token. The first argument, which `jose` gives, is not needed: the token holds it. */
export type JwksKeyFunction = (protectedHeader: unknown, token: TokenParts) => Promise<PublicJwk>;

/** One JWK per key, because `jose` keeps what it prepared by the object. */
const JWKS = new WeakMap<PublicKey, PublicJwk>();

/**
 * Makes the key argument of `jose`'s `jwtVerify` out of bundles, for programs that verify by `jose` already.
 *
 * The key comes from the bundle of the trust domain in the token's `sub`, and from no other; a token without `kid` is tried
 * with up to 8 keys that fit. Shape, header, algorithm and claims are held to the rules of JWT-SVIDs. What is left to `jose` is
 * the signature, `exp` and `nbf` — and `aud` **only if you pass `audience`**: without it a token for anybody passes.
 * `validateJwtSvid` does all of it, and has no such gap.
 *
 * @param bundles where the JWT bundle of the subject's trust domain is looked up, on every call
 * @returns a function that rejects with SpiffeError `ERR_SPIFFE_JWT_VERIFY`, `reason` names the rule (JWT-SVID §2 to §4)
 *
 * @example
 * ```ts
 * import { jwtVerify } from "jose";
 * import { jwksFor, TrustDomain } from "spiffe-edge";
 * import { signTestJwt, testJwtBundle, testJwtKey } from "spiffe-edge/testing";
 * const key = await testJwtKey("ES256");
 * const bundle = testJwtBundle(TrustDomain.parse("example.org"), key);
 * const token = await signTestJwt({ key, claims: { sub: "spiffe://example.org/web", aud: "orders" } });
 * const { payload } = await jwtVerify(token, jwksFor(bundle), { audience: "orders" });
 * console.assert(payload.sub === "spiffe://example.org/web");
 * ```
 */
export function jwksFor(bundles: JwtBundleSource): JwksKeyFunction {
  return async (_protectedHeader, token) => unwrap(await keyOf(token, bundles), "ERR_SPIFFE_JWT_VERIFY");
}

async function keyOf(token: TokenParts, bundles: JwtBundleSource): Promise<Verdict<PublicJwk>> {
  const { protected: header, payload, signature } = token ?? {};
  const compact = typeof header === "string" && typeof payload === "string" && token.header === undefined;
  if (!compact) return refuse("jwt.malformed", "Expected the parts of a compact JWS");
  const jws = parseJws(`${header}.${payload}.${signature}`);
  if (!jws.ok) return jws;
  const claims = readClaims(jws.value.payload);
  if (!claims.ok) return claims;
  const bundle = findBundle(claims.value.id.trustDomain, bundles);
  if (!bundle.ok) return bundle;
  const keys = findKeys(jws.value, bundle.value);
  if (!keys.ok) return keys;
  // one key leaves the check to jose; of several, the signature says which it is
  const [only, ...others] = keys.value;
  const signer = others.length === 0 ? accept(only!) : await runChecks(findSigner(jws.value, bundle.value));
  return signer.ok ? accept(jwkOf(signer.value.key)) : signer;
}

function jwkOf(key: PublicKey): PublicJwk {
  let jwk = JWKS.get(key);
  if (jwk === undefined) JWKS.set(key, (jwk = Object.freeze(key.toJwk())));
  return jwk;
}
