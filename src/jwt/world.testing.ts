/** A small world for JWT tests: a trust domain with keys of every kind, a clock that stands, and one judge for all backends. */
import assert from "node:assert/strict";
import type { Clock } from "../base/index.ts";
import { chooseSyncVerifier, webcryptoVerifier } from "../crypto/index.ts";
import {
  JwtBundle,
  type JwtBundleSource,
  type JwtValidateOptions,
  safeValidateJwtSvid,
  safeValidateJwtSvidSync,
} from "./index.ts";
import { type Algorithm, makeKey, type SigningKey, sign } from "./sign.testing.ts";

/** The moment all tests take place, in milliseconds and in seconds. */
export const NOW_MS = 1_800_000_000_000;
export const NOW = 1_800_000_000;
export const AUDIENCE = "spiffe://example.org/orders";
export const SUBJECT = "spiffe://example.org/web";

export function clockAt(now: number): Clock {
  return { now: () => now, monotonic: () => 0, sleep: () => Promise.reject(new Error("no test waits")) };
}

/** Claims of a good token, with changes; a change to `undefined` leaves the claim out. */
export function claims(changes: Record<string, unknown> = {}): Record<string, unknown> {
  return { sub: SUBJECT, aud: [AUDIENCE], exp: NOW + 300, iat: NOW, ...changes };
}

export interface World {
  readonly keys: Readonly<Record<"es256" | "es384" | "es512" | "rsa", SigningKey>>;
  readonly bundle: JwtBundle;
  keyFor(algorithm: Algorithm): SigningKey;
  /** A good token by default; header and claims can be changed. */
  token(changes?: Record<string, unknown>, header?: Record<string, unknown>): Promise<string>;
  /** `accept`, or the reason of the refusal, on which all backends and drivers have to agree. */
  verdict(token: string, options?: Partial<JwtValidateOptions>, bundles?: JwtBundleSource): Promise<string>;
}

/** Makes a JWT bundle out of public JWKs, each with `kid` and `use` unless it says otherwise. */
export function bundleOf(jwks: readonly Record<string, unknown>[], trustDomain = "example.org"): JwtBundle {
  const keys = jwks.map((jwk, index) => ({ kid: `key-${index}`, use: "jwt-svid", ...jwk }));
  return JwtBundle.fromJwks(trustDomain, JSON.stringify({ keys }), "workload-api");
}

export async function makeWorld(): Promise<World> {
  const keys = {
    es256: await makeKey("ES256"),
    es384: await makeKey("ES384"),
    es512: await makeKey("ES512"),
    rsa: await makeKey("RS256"),
  };
  const bundle = bundleOf(Object.entries(keys).map(([kid, key]) => ({ ...key.publicJwk, kid })));
  assert.equal(bundle.keys.length, 4);
  const keyFor = (algorithm: Algorithm) =>
    keys[algorithm.startsWith("E") ? (algorithm.toLowerCase() as "es256") : "rsa"];
  return {
    keys,
    bundle,
    keyFor,
    token: (changes, header) => sign(keys.es256, { alg: "ES256", kid: "es256", ...header }, claims(changes)),
    async verdict(token, options, bundles = bundle) {
      const settings = { audience: AUDIENCE, clock: clockAt(NOW_MS), ...options };
      const sync = chooseSyncVerifier();
      const verdicts = [
        await safeValidateJwtSvid(token, bundles, settings),
        await safeValidateJwtSvid(token, bundles, { ...settings, verifier: webcryptoVerifier }),
        safeValidateJwtSvidSync(token, bundles, { ...settings, verifier: sync }),
        safeValidateJwtSvidSync(token, bundles, { ...settings, verifier: chooseSyncVerifier("wasm") }),
        safeValidateJwtSvidSync(token, bundles, { ...settings, verifier: chooseSyncVerifier("native") }),
      ].map((verdict) => (verdict.ok ? "accept" : verdict.reason));
      assert.equal(new Set(verdicts).size, 1, `all backends agree: ${verdicts}`);
      return verdicts[0]!;
    },
  };
}
