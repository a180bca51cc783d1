/** The SPIFFE Bundle Map (SPIFFE Trust Domain and Bundle §5): the bundles of many trust domains in one document. */
import { accept, LIMITS, refuse, SpiffeError, unwrap, type Verdict } from "../base/index.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../encoding/strict-json.ts";
import { TrustDomain } from "../id/index.ts";
import type { JwtBundle } from "../jwt/index.ts";
import { parseBundleJson } from "../jwt/jwk-set.ts";
import type { X509Bundle } from "../x509/index.ts";
import { readBundle } from "./read-bundle.ts";
import type { BundleSource } from "./source.ts";
import { makeSpiffeBundle, SpiffeBundle } from "./spiffe-bundle.ts";

/**
 * The bundles of many trust domains, as one state of the world: it is read whole or not at all, and a newer map takes its
 * place as a whole (MAP-06).
 *
 * A refresh hint of a bundle inside says nothing about the map, so it is neither kept nor written (MAP-04, MAP-05).
 *
 * @example
 * ```ts
 * import { BundleMap, TrustDomain } from "spiffe-edge";
 * const map = BundleMap.parse('{"trust_domains":{"example.org":{"keys":[],"spiffe_sequence":7}}}');
 * console.assert(map.bundleFor(TrustDomain.parse("example.org"))?.sequence === 7n);
 * console.assert(map.bundleFor(TrustDomain.parse("other.org")) === undefined);
 * ```
 */
export class BundleMap implements BundleSource {
  readonly #bundles: ReadonlyMap<string, SpiffeBundle>;

  private constructor(bundles: ReadonlyMap<string, SpiffeBundle>) {
    this.#bundles = bundles;
  }

  /**
   * Makes a map. The bundles' refresh hints are left behind.
   *
   * @throws SpiffeError `ERR_SPIFFE_USAGE` when a trust domain has two bundles (MAP-02)
   */
  static of(...bundles: readonly SpiffeBundle[]): BundleMap {
    const map = new Map<string, SpiffeBundle>();
    for (const bundle of bundles) {
      if (!(bundle instanceof SpiffeBundle)) {
        throw new SpiffeError("ERR_SPIFFE_USAGE", "Expected SPIFFE bundles of this copy of the package");
      }
      const { name } = bundle.trustDomain;
      if (map.has(name)) throw new SpiffeError("ERR_SPIFFE_USAGE", `Expected one bundle for ${name}, got two`);
      map.set(name, makeSpiffeBundle(bundle.trustDomain, { ...bundle, refreshHintMs: undefined }));
    }
    return new BundleMap(map);
  }

  /**
   * Reads a bundle map. A trust domain that is listed twice, that is no name (a `spiffe://` ID is none), or whose bundle is
   * malformed refuses the whole document; single keys that can not be used are left out, as in {@link SpiffeBundle.parse}.
   *
   * @param document UTF-8 bytes or text, at most 4 MiB, 10,000 trust domains and 10,000 keys in all
   * @throws SpiffeError `ERR_SPIFFE_BUNDLE` with `bundle.malformed`, `bundle.trust-domain` or `bundle.too-large`
   */
  static parse(document: Uint8Array | string): BundleMap {
    return unwrap(BundleMap.safeParse(document), "ERR_SPIFFE_BUNDLE");
  }

  /** Like {@link BundleMap.parse}, but returns a verdict and never throws. */
  static safeParse(document: Uint8Array | string): Verdict<BundleMap> {
    const json = parseBundleJson(document, "a bundle map");
    if (!json.ok) return json;
    const entries = isJsonObject(json.value) ? json.value.trust_domains : undefined;
    if (!isJsonObject(entries)) {
      return refuse("bundle.malformed", 'Expected a bundle map to be an object with an object "trust_domains"');
    }
    const listed = Object.entries(entries);
    if (listed.length > LIMITS.bundleKeys) {
      return refuse("bundle.too-large", `Expected at most ${LIMITS.bundleKeys} trust domains in a bundle map`);
    }
    const bundles = new Map<string, SpiffeBundle>();
    let keys = 0;
    for (const [name, content] of listed) {
      const domain = TrustDomain.safeParse(name);
      // parsing would take the trust domain of an ID as well
      if (!domain.ok || domain.value.name !== name) {
        const message = domain.ok ? "Expected the name alone, got a SPIFFE ID" : domain.message;
        return refuse("bundle.trust-domain", `Trust domain ${JSON.stringify(name.slice(0, 300))}: ${message}`);
      }
      const read = readBundle(domain.value, content);
      if (!read.ok) return { ...read, message: `Bundle of ${name}: ${read.message}` };
      keys += ((content as JsonObject).keys as JsonValue[]).length;
      if (keys > LIMITS.bundleKeys) {
        return refuse("bundle.too-large", `Expected at most ${LIMITS.bundleKeys} keys in a bundle map`);
      }
      bundles.set(name, makeSpiffeBundle(domain.value, { ...read.value, refreshHintMs: undefined }));
    }
    return accept(new BundleMap(bundles));
  }

  /** The names of all trust domains in the map, sorted. */
  get trustDomains(): readonly string[] {
    return [...this.#bundles.keys()].sort();
  }

  /** The bundle of exactly this trust domain; undefined means it is not trusted. */
  bundleFor(trustDomain: TrustDomain): SpiffeBundle | undefined {
    return this.#bundles.get(trustDomain.name);
  }

  x509BundleFor(trustDomain: TrustDomain): X509Bundle | undefined {
    return this.bundleFor(trustDomain)?.x509;
  }

  jwtBundleFor(trustDomain: TrustDomain): JwtBundle | undefined {
    return this.bundleFor(trustDomain)?.jwt;
  }

  /** Whether both hold the same trust domains with equal bundles. */
  equals(other: BundleMap): boolean {
    if (this.#bundles.size !== other.#bundles.size) return false;
    return [...this.#bundles].every(([name, bundle]) => other.#bundles.get(name)?.equals(bundle));
  }

  /**
   * Writes the document, trust domains in order of their names.
   *
   * @throws SpiffeError `ERR_SPIFFE_KEY` when an authority has a key that no JWK can say
   */
  toJson(): string {
    const entries = this.trustDomains.map((name) => `${JSON.stringify(name)}:${this.#bundles.get(name)!.toJson()}`);
    return `{"trust_domains":{${entries.join(",")}}}`;
  }

  /** A summary for logs; the document is {@link BundleMap.toJson}. */
  toJSON(): Record<string, unknown> {
    return { trustDomains: this.trustDomains.map((name) => this.#bundles.get(name)) };
  }
}
