/** Who knows the bundles of trust domains. */
import type { JwtBundleSource } from "../jwt/index.ts";
import type { X509BundleSource } from "../x509/index.ts";

/** Knows X.509 and JWT bundles, always apart: a key for one kind of SVID never vouches for the other. */
export interface BundleSource extends X509BundleSource, JwtBundleSource {}
