/** Where verifications take authorities from, and where a workload's own SVID comes from. */
import type { TrustDomain } from "../id/index.ts";
import type { X509Bundle } from "./bundle.ts";
import type { X509Svid } from "./svid.ts";

/** Knows the authorities of trust domains, as of now. */
export interface X509BundleSource {
  /** The bundle of exactly this trust domain, or `undefined` when it is not trusted (X509-36). */
  x509BundleFor(trustDomain: TrustDomain): X509Bundle | undefined;
}

/** Knows the workload's own X.509-SVID, as of now. */
export interface X509SvidSource {
  /**
   * The current SVID.
   *
   * @throws SpiffeError when there is none, or it has expired or been revoked
   */
  x509Svid(): X509Svid;
}
