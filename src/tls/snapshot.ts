/** What connections are verified with; one is used again only where a new one would be by the very same (S-6). */
import type { Clock } from "../base/clock.ts";
import type { TrustDomain } from "../id/index.ts";
import type { X509Bundle, X509Svid } from "../x509/index.ts";
import { bundleOf, type TlsIdentity } from "./identity.ts";
import { ownSvid } from "./own-identity.ts";

/** The own SVID of a connection, and the bundle of its peer's trust domain. */
export interface Snapshot {
  readonly own: X509Svid;
  readonly trustDomain: TrustDomain;
  /** Nothing where nobody vouches for the domain. */
  readonly bundle: X509Bundle | undefined;
}

/**
 * What a connection made now would be verified with.
 *
 * @throws what {@link ownSvid} throws while this side has no SVID
 */
export function snapshotOf(identity: TlsIdentity, trustDomain: TrustDomain, clock: Clock): Snapshot {
  return { own: ownSvid(identity, clock), trustDomain, bundle: bundleOf(identity, trustDomain) };
}

/** Whether an SVID is still this side's own; not while it has none. */
export function isOwn(svid: X509Svid, identity: TlsIdentity, clock: Clock): boolean {
  try {
    return ownSvid(identity, clock) === svid;
  } catch {
    return false;
  }
}

/** Whether a connection made now would be verified with the same; not while this side has no SVID. */
export function isCurrent({ own, trustDomain, bundle }: Snapshot, identity: TlsIdentity, clock: Clock): boolean {
  if (!isOwn(own, identity, clock)) return false;
  const now = bundleOf(identity, trustDomain);
  return now === bundle || (now !== undefined && bundle?.equals(now) === true);
}
