/** The SPIFFE bundle document (SPIFFE Trust Domain and Bundle §4): reader and writer. */
import { accept, refuse, SpiffeError, unwrap, type Verdict } from "../base/index.ts";
import type { JsonObject, JsonValue } from "../encoding/strict-json.ts";
import { isJsonObject } from "../encoding/strict-json.ts";
import { TrustDomain } from "../id/index.ts";
import { type BundleWarning, JwtBundle, type JwtKey } from "../jwt/index.ts";
import { parseJwkSet, readJwtKey } from "../jwt/jwk-set.ts";
import { type Certificate, X509Bundle } from "../x509/index.ts";
import { authorityJwk, readAuthority } from "./authority-jwk.ts";
import type { BundleSource } from "./source.ts";

/** What a bundle is made of. */
export interface SpiffeBundleParts {
  readonly x509?: X509Bundle;
  readonly jwt?: JwtBundle;
  readonly sequence?: bigint;
  readonly refreshHintMs?: number;
  readonly warnings?: readonly BundleWarning[];
}

const MAX_SEQUENCE = 2n ** 64n - 1n;

/**
 * Everything one trust domain publishes about its keys. X.509 authorities and JWT keys are apart, and each may be empty,
 * which means that no SVID of that kind is trusted.
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
    this.sequence = parts.sequence;
    this.refreshHintMs = parts.refreshHintMs;
    this.warnings = Object.freeze([...(parts.warnings ?? [])]);
  }

  /**
   * Makes a bundle of parts of one trust domain.
   *
   * @throws SpiffeError `ERR_SPIFFE_USAGE` when a part is another trust domain's, or a number is out of range
   */
  static of(trustDomain: TrustDomain | string, parts: SpiffeBundleParts): SpiffeBundle {
    const domain = typeof trustDomain === "string" ? TrustDomain.parse(trustDomain) : trustDomain;
    const { x509, jwt, sequence, refreshHintMs } = parts;
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
    const set = parseJwkSet(input);
    if (!set.ok) return set;
    const { document, elements } = set.value;
    const sequence = readSequence(document);
    if (!sequence.ok) return sequence;
    const refreshHintMs = readRefreshHint(document);
    if (!refreshHintMs.ok) return refreshHintMs;
    const { authorities, keys, warnings } = readElements(elements);
    return accept(
      new SpiffeBundle(domain.value, {
        x509: new X509Bundle(domain.value, authorities),
        jwt: JwtBundle.fromKeys(domain.value, keys),
        ...(sequence.value !== undefined && { sequence: sequence.value }),
        ...(refreshHintMs.value !== undefined && { refreshHintMs: refreshHintMs.value }),
        warnings,
      }),
    );
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
      this.sequence === other.sequence &&
      this.refreshHintMs === other.refreshHintMs
    );
  }

  /**
   * Writes the bundle document. The refresh hint is rounded up to whole seconds (BND-07).
   *
   * @throws SpiffeError `ERR_SPIFFE_KEY` when an authority has a key that no JWK can say
   */
  toJson(): string {
    const keys = [...this.x509.authorities.map(authorityJwk), ...this.jwt.toJwks().keys];
    const members = [`"keys":${JSON.stringify(keys)}`];
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
    };
  }
}

/** Sorts the elements by `use`, which is compared byte for byte (BND-13). Keys for WIT-SVIDs vouch for nothing here. */
function readElements(elements: readonly JsonValue[]): {
  authorities: Certificate[];
  keys: JwtKey[];
  warnings: BundleWarning[];
} {
  const authorities: Certificate[] = [];
  const keys: JwtKey[] = [];
  const warnings: BundleWarning[] = [];
  for (const [index, element] of elements.entries()) {
    const warn = (ignored: boolean, message: string) => warnings.push({ index, ignored, message });
    const use = isJsonObject(element) ? element.use : undefined;
    if (use === "x509-svid") {
      const authority = readAuthority(element as JsonObject, (message) => warn(false, message));
      if (authority.ok) authorities.push(authority.value);
      else warn(true, authority.message);
    } else if (use === "jwt-svid") {
      const key = readJwtKey(element, "spiffe-bundle");
      if (key.ok) keys.push(key.value);
      else warn(true, key.message);
    } else if (use !== "wit-svid") warn(true, 'Expected an object with a "use" of x509-svid or jwt-svid');
  }
  return { authorities, keys, warnings };
}

function readSequence({ spiffe_sequence: value }: JsonObject): Verdict<bigint | undefined> {
  if (value === undefined) return accept(undefined);
  const sequence = wholeNumber(value);
  if (sequence !== undefined && sequence <= MAX_SEQUENCE) return accept(sequence);
  return refuse("bundle.malformed", 'Expected "spiffe_sequence" to be an integer of 64 bits without sign');
}

function readRefreshHint({ spiffe_refresh_hint: value }: JsonObject): Verdict<number | undefined> {
  if (value === undefined) return accept(undefined);
  const seconds = wholeNumber(value);
  if (seconds === undefined) return refuse("bundle.malformed", 'Expected "spiffe_refresh_hint" to be whole seconds');
  return accept(Math.min(Number(seconds) * 1_000, Number.MAX_SAFE_INTEGER));
}

function wholeNumber(value: JsonValue): bigint | undefined {
  const whole = typeof value === "bigint" ? value : Number.isSafeInteger(value) ? BigInt(value as number) : undefined;
  return whole !== undefined && whole >= 0n ? whole : undefined;
}
