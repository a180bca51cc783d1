/** X.509 messages of the Workload API: decoded and judged whole before anything is published (S-11). */
import type { Clock } from "../base/clock.ts";
import { LIMITS } from "../base/limits.ts";
import { accept, refuse, type Verdict } from "../base/verdict.ts";
import type { X509BundlesResponse, X509SVID, X509SVIDResponse } from "../gen/workload/workload_pb.js";
import { SpiffeId, type TrustDomain } from "../id/index.ts";
import { safeVerifyX509Svid, X509Bundle, X509Svid } from "../x509/index.ts";
import { decodeBundleMap, decodeOnlyBundles, sameBundles } from "./bundle-map.ts";
import { acceptedHint, firstOfEachHint } from "./hints.ts";
import { type JudgedSvid, JudgedSvids } from "./judged-svids.ts";
import type { Content, X509Bundles, X509Context } from "./snapshot.ts";

/**
 * Decodes a FetchX509SVID message.
 *
 * Accepted only if every SVID has all mandatory fields, its key matches the leaf, `spiffe_id` equals the leaf's SAN,
 * the leaf passes the X509-SVID rules and chains to its own trust domain's bundle of this message, and no DER is left
 * over (S-11, WL-11, WL-22). A trust domain's own bundle wins over a federated entry of the same name.
 *
 * @param judged what was accepted before, and is not judged again while nothing of it has changed
 */
export async function decodeX509Context(
  message: X509SVIDResponse,
  clock: Clock,
  judged: JudgedSvids = new JudgedSvids(),
): Promise<Verdict<Content<X509Context>>> {
  if (message.svids.length === 0) return refuse("workload.no-svid", "the field svids is empty");
  if (message.svids.length > LIMITS.svids) {
    return refuse("workload.too-large", `${message.svids.length} SVIDs, more than ${LIMITS.svids}`);
  }
  for (const [index, svid] of message.svids.entries()) {
    const missing = missingField(svid);
    if (missing !== undefined) return refuse("workload.field-missing", `svids[${index}]: ${missing} is empty`, index);
  }
  const own = new Map<string, X509Bundle>();
  const accepted: JudgedSvid[] = [];
  for (const [index, wire] of firstOfEachHint(message.svids).entries()) {
    const svid = await judgeSvid(wire, own, clock, judged);
    if (!svid.ok) return refuse(svid.reason, `${wire.spiffeId.slice(0, 300)}: ${svid.message}`, index);
    accepted.push(svid.value);
  }
  const federated = decodeBundleMap(message.federatedBundles, parseBundle, ({ name }) => own.has(name));
  if (!federated.ok) return federated;
  judged.keep(accepted);
  const svids = Object.freeze(accepted.map(({ svid }) => svid));
  return accept({ svids, bundles: new Map([...own, ...federated.value]) });
}

/** Decodes a FetchX509Bundles message. */
export async function decodeX509Bundles(message: X509BundlesResponse): Promise<Verdict<Content<X509Bundles>>> {
  return decodeOnlyBundles(message.bundles, parseBundle);
}

/** Whether two states hold the same identities in the same order and the same bundles. */
export function sameX509Context(a: Content<X509Context>, b: Content<X509Context>): boolean {
  if (a.svids.length !== b.svids.length || !sameBundles(a.bundles, b.bundles)) return false;
  return a.svids.every((svid, index) => sameSvid(svid, b.svids[index]!));
}

function sameSvid(a: X509Svid, b: X509Svid): boolean {
  if (a.hint !== b.hint || a.certificates.length !== b.certificates.length) return false;
  return a.certificates.every((certificate, index) => certificate.equals(b.certificates[index]!));
}

function parseBundle(trustDomain: TrustDomain, der: Uint8Array): Verdict<X509Bundle> {
  return X509Bundle.safeFromDer(trustDomain, der);
}

function missingField(svid: X509SVID): string | undefined {
  if (svid.spiffeId === "") return "spiffe_id";
  if (svid.x509Svid.length === 0) return "x509_svid";
  if (svid.x509SvidKey.length === 0) return "x509_svid_key";
  if (svid.bundle.length === 0) return "bundle";
  return undefined;
}

/** Judges one SVID and enters its trust domain's bundle into `own`, where the first SVID's bundle stays. */
async function judgeSvid(
  wire: X509SVID,
  own: Map<string, X509Bundle>,
  clock: Clock,
  judged: JudgedSvids,
): Promise<Verdict<JudgedSvid>> {
  const id = SpiffeId.safeParse(wire.spiffeId);
  if (!id.ok) return id;
  const { trustDomain } = id.value;
  const first = own.get(trustDomain.name);
  const known = judged.find(wire, clock);
  if (known !== undefined && (first ?? known.sent) === known.bundle) {
    own.set(trustDomain.name, known.bundle);
    return accept(known);
  }
  const hint = acceptedHint(wire.hint);
  const svid = await X509Svid.safeParse(wire.x509Svid, wire.x509SvidKey, hint === undefined ? {} : { hint });
  if (!svid.ok) return svid;
  if (!svid.value.id.equals(id.value)) {
    return refuse("x509.id-mismatch", `spiffe_id differs from the certificate's ${svid.value.id.uri}`);
  }
  const sent = parseBundle(trustDomain, wire.bundle);
  if (!sent.ok) return sent;
  const bundle = first ?? sent.value;
  const source = { x509BundleFor: () => bundle };
  const verified = await safeVerifyX509Svid(svid.value.certificates, source, { clock });
  if (!verified.ok) return verified;
  own.set(trustDomain.name, bundle);
  return accept({ wire, svid: svid.value, sent: sent.value, bundle, path: verified.value.chain });
}
