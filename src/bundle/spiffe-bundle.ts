/** The SPIFFE bundle of one trust domain (SPIFFE Trust Domain and Bundle §4): as a value, and its document. */
import { type OptionNames, onlyKnown } from "../base/check-options.ts";
import { accept, SpiffeError, unwrap, type Verdict } from "../base/index.ts";
import { TrustDomain } from "../id/index.ts";
import { type BundleWarning, JwtBundle, type JwtJwk } from "../jwt/index.ts";
import { parseBundleJson } from "../jwt/jwk-set.ts";
import { X509Bundle } from "../x509/index.ts";
import { type AuthorityJwk, authorityJwk } from "./authority-jwk.ts";
import { MAX_SEQUENCE, readBundle, type SpiffeBundleParts } from "./read-bundle.ts";
import type { BundleSource } from "./source.ts";
import { type WitJwk, type WitKey, witJwk } from "./wit-key.ts";

const KNOWN: OptionNames<SpiffeBundleParts> = {
  x509: true,
  jwt: true,
  witKeys: true,
  sequence: true,
  refreshHintMs: true,
  warnings: true,
};

/** The constructor, for this folder alone: the parts are the trust domain's, and in range. */
export let makeSpiffeBundle: (trustDomain: TrustDomain, parts: SpiffeBundleParts) => SpiffeBundle;

/**
 * Everything one trust domain publishes about its keys. X.509 authorities, JWT keys and WIT keys are apart, and each may be
 * empty, which means that no SVID of that kind is trusted.
 *
 * @example
 * ```ts
 * import { SpiffeBundle } from "spiffe-edge";
 * const bundle = SpiffeBundle.parse("example.org", '{"keys":[],"spiffe_sequence":7,"spiffe_refresh_hint":300}');
 * console.assert(bundle.sequence === 7n && bundle.refreshHintMs === 300_000 && bundle.isEmpty);
 * ```
 */
export class SpiffeBundle implements BundleSource {
  readonly trustDomain: TrustDomain;
  readonly x509: X509Bundle;
  readonly jwt: JwtBundle;
  /** Keys for WIT-SVIDs, which nothing here verifies; they never serve X.509- or JWT-SVIDs (WIT-26). */
  readonly witKeys: readonly WitKey[];
  /** Grows with every change of the contents; 64 bits. */
  readonly sequence: bigint | undefined;
  /** How often the publisher wants to be asked, in milliseconds. A hint: bound it before use. */
  readonly refreshHintMs: number | undefined;
  /** What was left out of the document, or is odd in it. */
  readonly warnings: readonly BundleWarning[];

  private constructor(trustDomain: TrustDomain, parts: SpiffeBundleParts) {
    this.trustDomain = trustDomain;
    this.x509 = parts.x509 ?? new X509Bundle(trustDomain, []);
    this.jwt = parts.jwt ?? JwtBundle.fromKeys(trustDomain, []);
    this.witKeys = Object.freeze((parts.witKeys ?? []).map((key) => Object.freeze({ ...key })));
    this.sequence = parts.sequence;
    this.refreshHintMs = parts.refreshHintMs;
    this.warnings = Object.freeze([...(parts.warnings ?? [])]);
  }

  static {
    makeSpiffeBundle = (trustDomain, parts) => new SpiffeBundle(trustDomain, parts);
  }

  /**
   * Makes a bundle of parts of one trust domain. WIT keys are only in it where they are given, as some older readers refuse a
   * bundle that has them; each needs a `kid` that no other WIT or JWT key of the bundle has (WIT-25).
   *
   * @throws SpiffeError `ERR_SPIFFE_USAGE` when a part is not known or another trust domain's, a number is out of range or a
   *   `kid` not unique
   */
  static of(trustDomain: TrustDomain | string, parts: SpiffeBundleParts): SpiffeBundle {
    const domain = typeof trustDomain === "string" ? TrustDomain.parse(trustDomain) : trustDomain;
    onlyKnown("SpiffeBundle.of", parts, KNOWN);
    const { x509, jwt, witKeys = [], sequence, refreshHintMs } = parts;
    for (const part of [x509, jwt]) {
      if (part !== undefined && !part.trustDomain.equals(domain)) {
        throw new SpiffeError("ERR_SPIFFE_USAGE", `Expected parts of ${domain}, got one of ${part.trustDomain}`);
      }
    }
    if (sequence !== undefined && !(sequence >= 0n && sequence <= MAX_SEQUENCE)) {
      throw new SpiffeError("ERR_SPIFFE_USAGE", "Expected a sequence of 64 bits without sign");
    }
    if (refreshHintMs !== undefined && !(Number.isSafeInteger(refreshHintMs) && refreshHintMs >= 0)) {
      throw new SpiffeError("ERR_SPIFFE_USAGE", "Expected refreshHintMs to be a whole number of milliseconds");
    }
    const witKeyIds = new Set(witKeys.map(({ witKeyId }) => witKeyId));
    if (witKeyIds.size < witKeys.length || witKeys.some(({ witKeyId }) => jwt?.hasKeyId(witKeyId))) {
      throw new SpiffeError("ERR_SPIFFE_USAGE", "Expected each WIT key to have a key ID of its own");
    }
    return new SpiffeBundle(domain, parts);
  }

  /**
   * Reads a bundle document.
   *
   * One element that can not be used is left out, with an entry in {@link SpiffeBundle.warnings} (BND-10); a document that
   * is not a bundle is refused whole. No usable element left means that nothing is trusted (BND-11).
   *
   * @param trustDomain a trust domain or its name: the document does not say whose it is (BND-16)
   * @param document UTF-8 bytes or text, at most 4 MiB and 10,000 keys
   * @throws SpiffeError `ERR_SPIFFE_BUNDLE` with `bundle.malformed` or `bundle.too-large`
   */
  static parse(trustDomain: TrustDomain | string, document: Uint8Array | string): SpiffeBundle {
    return unwrap(SpiffeBundle.safeParse(trustDomain, document), "ERR_SPIFFE_BUNDLE");
  }

  /** Like {@link SpiffeBundle.parse}, but returns a verdict and never throws. */
  static safeParse(trustDomain: TrustDomain | string, input: Uint8Array | string): Verdict<SpiffeBundle> {
    const domain = TrustDomain.safeParse(typeof trustDomain === "object" ? trustDomain?.name : trustDomain);
    if (!domain.ok) return domain;
    const json = parseBundleJson(input, "a SPIFFE bundle");
    if (!json.ok) return json;
    const parts = readBundle(domain.value, json.value);
    return parts.ok ? accept(new SpiffeBundle(domain.value, parts.value)) : parts;
  }

  /** Whether nothing of this trust domain is trusted. */
  get isEmpty(): boolean {
    return this.x509.isEmpty && this.jwt.isEmpty;
  }

  x509BundleFor(trustDomain: TrustDomain): X509Bundle | undefined {
    return this.trustDomain.equals(trustDomain) ? this.x509 : undefined;
  }

  jwtBundleFor(trustDomain: TrustDomain): JwtBundle | undefined {
    return this.trustDomain.equals(trustDomain) ? this.jwt : undefined;
  }

  /** Whether trust domain, keys, sequence and refresh hint are the same. */
  equals(other: SpiffeBundle): boolean {
    return (
      this.x509.equals(other.x509) &&
      this.jwt.equals(other.jwt) &&
      sameWitKeys(this.witKeys, other.witKeys) &&
      this.sequence === other.sequence &&
      this.refreshHintMs === other.refreshHintMs
    );
  }

  /**
   * All keys as JWKs, each with the `use` that says what it is for.
   *
   * @throws SpiffeError `ERR_SPIFFE_KEY` when an authority has a key that no JWK can say
   *
   * @example
   * ```ts
   * import { SpiffeBundle } from "spiffe-edge";
   * import { TestCa } from "spiffe-edge/testing";
   * const ca = await TestCa.create({ trustDomain: "example.org" });
   * const bundle = SpiffeBundle.of("example.org", { x509: ca.x509Bundle() });
   * console.assert(bundle.toJwks().keys[0]?.use === "x509-svid");
   * ```
   */
  toJwks(): { keys: (AuthorityJwk | JwtJwk | WitJwk)[] } {
    return {
      keys: [...this.x509.authorities.map(authorityJwk), ...this.jwt.toJwks().keys, ...this.witKeys.map(witJwk)],
    };
  }

  /**
   * Writes the bundle document. The refresh hint is rounded up to whole seconds (BND-07).
   *
   * @throws SpiffeError `ERR_SPIFFE_KEY` when an authority has a key that no JWK can say, `ERR_SPIFFE_BUNDLE` when a JWT key
   *   has no `kid`, which a plain JWK set may leave out and a SPIFFE bundle may not (JWT-31)
   */
  toJson(): string {
    if (this.jwt.keys.some(({ keyId }) => keyId === undefined)) {
      throw new SpiffeError("ERR_SPIFFE_BUNDLE", "Expected every JWT key of a SPIFFE bundle to have a key ID", {
        hint: "Readers would leave such a key out: take it out, or give it a kid.",
      });
    }
    const members = [`"keys":${JSON.stringify(this.toJwks().keys)}`];
    if (this.sequence !== undefined) members.push(`"spiffe_sequence":${this.sequence}`);
    if (this.refreshHintMs !== undefined)
      members.push(`"spiffe_refresh_hint":${Math.ceil(this.refreshHintMs / 1_000)}`);
    return `{${members.join(",")}}`;
  }

  /** A summary for logs; the document is {@link SpiffeBundle.toJson}. */
  toJSON(): Record<string, unknown> {
    return {
      trustDomain: this.trustDomain,
      sequence: this.sequence?.toString(),
      refreshHintMs: this.refreshHintMs,
      x509Authorities: this.x509.authorities.length,
      jwtKeys: this.jwt.keys.length,
      witKeys: this.witKeys.length,
    };
  }
}

function sameWitKeys(a: readonly WitKey[], b: readonly WitKey[]): boolean {
  const [mine, theirs] = [a, b].map((keys) => new Set(keys.map((key) => JSON.stringify(witJwk(key)))));
  return mine!.size === theirs!.size && [...mine!].every((key) => theirs!.has(key));
}
