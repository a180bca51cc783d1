/** The narrow view of an identity that TLS needs. */
import type { TrustDomain } from "../id/index.ts";
import type { X509Bundle, X509BundleSource, X509Svid, X509SvidSource } from "../x509/index.ts";

/** The own SVID, the bundles that vouch for peers, and a signal at each change of either. */
export interface X509Material extends X509SvidSource, X509BundleSource {
  /** Yields after every change; what it yields is not looked at. */
  updates(signal?: AbortSignal): AsyncIterable<unknown>;
  /** All SVIDs of the workload, where the source knows of several; `svid` chooses among them. */
  readonly current?: { readonly svids: readonly X509Svid[] } | undefined;
}

/** What every function here takes; a `Workload` is one. */
export interface TlsIdentity {
  readonly x509: X509Material;
}

/** The bundle of a trust domain; a source that throws vouches for nobody. */
export function bundleOf({ x509 }: TlsIdentity, trustDomain: TrustDomain): X509Bundle | undefined {
  try {
    return x509.x509BundleFor(trustDomain);
  } catch {
    return undefined;
  }
}
