/** Bundle documents, as they lie in files and behind URLs: SPIFFE bundle, SPIFFE Bundle Map, or PEM. */
import { accept, type Verdict } from "../base/verdict.ts";
import { BundleMap, SpiffeBundle } from "../bundle/index.ts";
import { TrustDomain } from "../id/index.ts";
import type { JwtBundle } from "../jwt/index.ts";
import { X509Bundle } from "../x509/index.ts";
import type { BundleState } from "./bundle-feed.ts";

/**
 * Reads a document whole.
 *
 * @param trustDomain whose bundle it is, which no bundle says itself (BND-16); without one it has to be a Bundle Map
 */
export function readBundleDocument(document: Uint8Array, trustDomain: TrustDomain | undefined): Verdict<BundleState> {
  if (trustDomain === undefined) {
    const map = BundleMap.safeParse(document);
    return map.ok ? accept(stateOf(map.value.trustDomains.map((name) => map.value.bundleFor(domain(name))!))) : map;
  }
  if (!isPem(document)) {
    const bundle = SpiffeBundle.safeParse(trustDomain, document);
    return bundle.ok ? accept(stateOf([bundle.value])) : bundle;
  }
  // Authorities for X.509 alone: of JWT keys a PEM file says nothing, so no token is trusted.
  const x509 = X509Bundle.safeFromPem(trustDomain, new TextDecoder("latin1").decode(document));
  return x509.ok ? accept(stateOf([{ trustDomain, x509: x509.value }])) : x509;
}

/** Freezes bundles into one state. */
export function stateOf(
  bundles: readonly { trustDomain: TrustDomain; x509?: X509Bundle; jwt?: JwtBundle }[],
): BundleState {
  const [x509, jwt] = [new Map<string, X509Bundle>(), new Map<string, JwtBundle>()];
  for (const bundle of bundles) {
    if (bundle.x509 !== undefined) x509.set(bundle.trustDomain.name, bundle.x509);
    if (bundle.jwt !== undefined) jwt.set(bundle.trustDomain.name, bundle.jwt);
  }
  return Object.freeze({ x509, jwt });
}

/** JSON begins with a brace, PEM never does. */
function isPem(document: Uint8Array): boolean {
  const first = document.find((byte) => byte !== 0x20 && byte !== 0x09 && byte !== 0x0a && byte !== 0x0d);
  return first !== undefined && first !== 0x7b;
}

function domain(name: string): TrustDomain {
  return TrustDomain.parse(name);
}
