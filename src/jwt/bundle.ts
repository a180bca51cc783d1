/** JWT bundles: the keys with which one trust domain signs JWT-SVIDs. */
import { accept, LIMITS, unwrap, type Verdict } from "../base/index.ts";
import type { JwsAlgorithm, PublicJwk } from "../crypto/index.ts";
import { encodeBase64 } from "../encoding/base64.ts";
import { TrustDomain } from "../id/index.ts";
import { type BundleWarning, fits, type JwkSetProfile, type JwtKey, parseJwkSet, readJwtKeys } from "./jwk-set.ts";

/** A JWT key as a JWK of a SPIFFE bundle (JWT-SVID §6.1). */
export type JwtJwk = PublicJwk & { use: "jwt-svid"; kid?: string; alg?: string };

/** Who knows the JWT bundle of a trust domain. No bundle means that its tokens are not trusted. */
export interface JwtBundleSource {
  jwtBundleFor(trustDomain: TrustDomain): JwtBundle | undefined;
}

/**
 * The JWT keys of one trust domain. A bundle without keys is legal, and trusts nothing.
 *
 * @example
 * ```ts
 * import { JwtBundle } from "spiffe-edge";
 * const bundle = JwtBundle.fromJwks("example.org", '{"keys":[]}', "workload-api");
 * console.assert(bundle.isEmpty);
 * ```
 */
export class JwtBundle implements JwtBundleSource {
  readonly trustDomain: TrustDomain;
  readonly keys: readonly JwtKey[];
  /** What was left out of the document the bundle came from. */
  readonly warnings: readonly BundleWarning[];
  readonly #byKeyId: ReadonlyMap<string, readonly JwtKey[]>;

  private constructor(trustDomain: TrustDomain, keys: readonly JwtKey[], warnings: readonly BundleWarning[]) {
    this.trustDomain = trustDomain;
    this.keys = Object.freeze(keys.map((key) => Object.freeze({ ...key })));
    this.warnings = Object.freeze([...warnings]);
    const byKeyId = new Map<string, JwtKey[]>();
    for (const key of this.keys) {
      if (key.keyId === undefined) continue;
      const same = byKeyId.get(key.keyId);
      if (same === undefined) byKeyId.set(key.keyId, [key]);
      else same.push(key);
    }
    this.#byKeyId = byKeyId;
  }

  /**
   * Reads a JWK set. An element that is no usable JWT key is left out, with an entry in {@link JwtBundle.warnings}; a
   * document that is not a JWK set is refused whole.
   *
   * @param trustDomain a trust domain or its name: the document does not say so itself (BND-16)
   * @param jwks UTF-8 bytes or text, at most 4 MiB and 10,000 keys
   * @param profile `workload-api` takes elements without `use` and `kid`, `spiffe-bundle` does not
   * @throws SpiffeError `ERR_SPIFFE_BUNDLE` with `bundle.malformed` or `bundle.too-large` (RFC 7517 §5, JWT-SVID §6)
   */
  static fromJwks(trustDomain: TrustDomain | string, jwks: Uint8Array | string, profile: JwkSetProfile): JwtBundle {
    return unwrap(JwtBundle.safeFromJwks(trustDomain, jwks, profile), "ERR_SPIFFE_BUNDLE");
  }

  /** Like {@link JwtBundle.fromJwks}, but returns a verdict and never throws. */
  static safeFromJwks(
    trustDomain: TrustDomain | string,
    jwks: Uint8Array | string,
    profile: JwkSetProfile,
  ): Verdict<JwtBundle> {
    const domain = TrustDomain.safeParse(typeof trustDomain === "object" ? trustDomain?.name : trustDomain);
    if (!domain.ok) return domain;
    const set = parseJwkSet(jwks);
    if (!set.ok) return set;
    const { keys, warnings } = readJwtKeys(set.value.elements, profile);
    return accept(new JwtBundle(domain.value, keys, warnings));
  }

  /** Makes a bundle of keys that are at hand; `warnings` say what was left out on the way. */
  static fromKeys(
    trustDomain: TrustDomain,
    keys: readonly JwtKey[],
    warnings: readonly BundleWarning[] = [],
  ): JwtBundle {
    return new JwtBundle(trustDomain, keys, warnings);
  }

  /** Whether there is no key, and so nothing is trusted. */
  get isEmpty(): boolean {
    return this.keys.length === 0;
  }

  /** This bundle for its own trust domain, none for every other. */
  jwtBundleFor(trustDomain: TrustDomain): JwtBundle | undefined {
    return this.trustDomain.equals(trustDomain) ? this : undefined;
  }

  /** Whether the bundle has a key of that name. */
  hasKeyId(keyId: string): boolean {
    return this.#byKeyId.has(keyId);
  }

  /**
   * The keys a token may have been signed with: those of its `kid`, or all when it has none, as far as they fit its
   * algorithm. Never more than 8 (S-15).
   */
  candidates(algorithm: JwsAlgorithm, keyId?: string): readonly JwtKey[] {
    const found: JwtKey[] = [];
    for (const key of keyId === undefined ? this.keys : (this.#byKeyId.get(keyId) ?? [])) {
      if (!fits(key, algorithm)) continue;
      found.push(key);
      if (found.length === LIMITS.keyTrials) break;
    }
    return found;
  }

  /** Whether both are of the same trust domain and hold the same keys, in any order. */
  equals(other: JwtBundle): boolean {
    if (!this.trustDomain.equals(other.trustDomain)) return false;
    const [mine, theirs] = [fingerprints(this), fingerprints(other)];
    return mine.size === theirs.size && [...mine].every((key) => theirs.has(key));
  }

  /**
   * The JWK set, as a SPIFFE bundle holds it and the Workload API may send it (JWT-30). Its keys have `use` `jwt-svid`, which
   * `jose` does not take for signature keys: give that `jwksFor` instead.
   *
   * @example
   * ```ts
   * import { JwtBundle } from "spiffe-edge";
   * const bundle = JwtBundle.fromJwks("example.org", '{"keys":[]}', "workload-api");
   * console.assert(JSON.stringify(bundle.toJwks()) === '{"keys":[]}');
   * ```
   */
  toJwks(): { keys: JwtJwk[] } {
    return {
      keys: this.keys.map(({ key, keyId, algorithm }) => ({
        ...key.toJwk(),
        use: "jwt-svid",
        ...(keyId !== undefined && { kid: keyId }),
        ...(algorithm !== undefined && { alg: algorithm }),
      })),
    };
  }
}

function fingerprints(bundle: JwtBundle): Set<string> {
  return new Set(
    bundle.keys.map(({ key, keyId, algorithm }) => JSON.stringify([keyId, algorithm, encodeBase64(key.spki)])),
  );
}
