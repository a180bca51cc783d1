/** Bundle maps as the Workload API sends them: keyed by the trust domain's SPIFFE ID (WL-25, WL-46). */
import { accept, refuse, type Verdict } from "../base/verdict.ts";
import { SpiffeId, type TrustDomain } from "../id/index.ts";

/**
 * Decodes a protobuf map into one that is keyed by trust domain name.
 *
 * The first refused element refuses the whole message: half of a state is not a state.
 *
 * @param wire as decoded by protobuf; its keys come from outside, so it is only walked, never indexed
 * @param parse reads one bundle
 * @param skip trust domains that are already known from a better place
 */
export function decodeBundleMap<B>(
  wire: Readonly<Record<string, Uint8Array>>,
  parse: (trustDomain: TrustDomain, bytes: Uint8Array) => Verdict<B>,
  skip: (trustDomain: TrustDomain) => boolean = () => false,
): Verdict<Map<string, B>> {
  const bundles = new Map<string, B>();
  for (const [key, bytes] of Object.entries(wire)) {
    const id = SpiffeId.safeParse(key);
    if (!id.ok || id.value.path !== "") {
      return refuse("bundle.trust-domain", `the bundle key ${JSON.stringify(key.slice(0, 300))} is no trust domain ID`);
    }
    const { trustDomain } = id.value;
    if (skip(trustDomain)) continue;
    if (bytes.length === 0) return refuse("workload.field-missing", `the bundle of ${trustDomain.name} is empty`);
    const bundle = parse(trustDomain, bytes);
    if (!bundle.ok) return { ...bundle, message: `the bundle of ${trustDomain.name}: ${bundle.message}` };
    bundles.set(trustDomain.name, bundle.value);
  }
  return accept(bundles);
}

/** Decodes the map of a message that consists of bundles alone, where it is mandatory (WL-11). */
export function decodeOnlyBundles<B>(
  wire: Readonly<Record<string, Uint8Array>>,
  parse: (trustDomain: TrustDomain, bytes: Uint8Array) => Verdict<B>,
): Verdict<{ bundles: Map<string, B> }> {
  const bundles = decodeBundleMap(wire, parse);
  if (!bundles.ok) return bundles;
  if (bundles.value.size === 0) return refuse("workload.field-missing", "the field bundles is empty");
  return accept({ bundles: bundles.value });
}

/** Whether two maps name the same trust domains with equal bundles. */
export function sameBundles<B extends { equals(other: B): boolean }>(
  a: ReadonlyMap<string, B>,
  b: ReadonlyMap<string, B>,
): boolean {
  if (a.size !== b.size) return false;
  for (const [name, bundle] of a) {
    const other = b.get(name);
    if (other === undefined || !bundle.equals(other)) return false;
  }
  return true;
}
