/** A fixed set of bundles, one per trust domain and kind. */
import { SpiffeError } from "../base/index.ts";
import type { TrustDomain } from "../id/index.ts";
import { JwtBundle } from "../jwt/index.ts";
import { X509Bundle } from "../x509/index.ts";
import type { BundleSource } from "./source.ts";
import { SpiffeBundle } from "./spiffe-bundle.ts";

/**
 * Bundles of several trust domains. Never merges: a second bundle of the same trust domain and kind is an error, because
 * adding up keys of different origin would widen what is trusted (FED-33).
 *
 * @example
 * ```ts
 * import { BundleSet, SpiffeBundle, TrustDomain } from "spiffe-edge";
 * const bundles = BundleSet.of(SpiffeBundle.parse("example.org", '{"keys":[]}'));
 * console.assert(bundles.jwtBundleFor(TrustDomain.parse("example.org"))?.isEmpty);
 * console.assert(bundles.jwtBundleFor(TrustDomain.parse("other.org")) === undefined);
 * ```
 */
export class BundleSet implements BundleSource {
  readonly #x509: ReadonlyMap<string, X509Bundle>;
  readonly #jwt: ReadonlyMap<string, JwtBundle>;

  private constructor(x509: ReadonlyMap<string, X509Bundle>, jwt: ReadonlyMap<string, JwtBundle>) {
    this.#x509 = x509;
    this.#jwt = jwt;
  }

  /**
   * Makes a set. A SPIFFE bundle stands for both of its kinds, also where one is empty.
   *
   * @throws SpiffeError `ERR_SPIFFE_USAGE` when a trust domain has two bundles of one kind
   */
  static of(...bundles: readonly (X509Bundle | JwtBundle | SpiffeBundle)[]): BundleSet {
    const x509 = new Map<string, X509Bundle>();
    const jwt = new Map<string, JwtBundle>();
    for (const bundle of bundles) {
      if (bundle instanceof SpiffeBundle) {
        addOnce(x509, bundle.x509);
        addOnce(jwt, bundle.jwt);
      } else if (bundle instanceof X509Bundle) addOnce(x509, bundle);
      else if (bundle instanceof JwtBundle) addOnce(jwt, bundle);
      else
        throw new SpiffeError("ERR_SPIFFE_USAGE", "Expected X.509, JWT or SPIFFE bundles of this copy of the package");
    }
    return new BundleSet(x509, jwt);
  }

  /** The names of all trust domains that have a bundle of either kind, sorted. */
  get trustDomains(): readonly string[] {
    return [...new Set([...this.#x509.keys(), ...this.#jwt.keys()])].sort();
  }

  x509BundleFor(trustDomain: TrustDomain): X509Bundle | undefined {
    return this.#x509.get(trustDomain.name);
  }

  jwtBundleFor(trustDomain: TrustDomain): JwtBundle | undefined {
    return this.#jwt.get(trustDomain.name);
  }
}

function addOnce<T extends X509Bundle | JwtBundle>(bundles: Map<string, T>, bundle: T): void {
  const { name } = bundle.trustDomain;
  if (bundles.has(name)) {
    const kind = bundle instanceof X509Bundle ? "X.509" : "JWT";
    throw new SpiffeError("ERR_SPIFFE_USAGE", `Expected one ${kind} bundle for ${name}, got two`, {
      hint: "Bundles are never merged: pass the one that counts.",
    });
  }
  bundles.set(name, bundle);
}
