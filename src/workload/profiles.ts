/** The three streams of the Workload API that this package reads. */
import type { JWTBundlesResponse, X509BundlesResponse, X509SVIDResponse } from "../gen/workload/workload_pb.js";
import { sameBundles } from "./bundle-map.ts";
import type { Profile } from "./connection.ts";
import { decodeJwtBundles } from "./jwt-messages.ts";
import type { JwtBundles, X509Bundles, X509Context } from "./snapshot.ts";
import { decodeX509Bundles, decodeX509Context, sameX509Context } from "./x509-messages.ts";

/** FetchX509SVID: identities and the bundles that go with them. */
export const X509_CONTEXT: Profile<X509SVIDResponse, X509Context> = {
  name: "x509",
  open: (api, options) => api.fetchX509SVID({}, options),
  decode: decodeX509Context,
  same: sameX509Context,
  endsAt: ({ svids }) => Math.min(...svids.map(({ expiresAt }) => expiresAt.getTime())),
  empty: { svids: Object.freeze([]), bundles: new Map() },
};

/** FetchX509Bundles: for who only verifies. */
export const X509_BUNDLES: Profile<X509BundlesResponse, X509Bundles> = {
  name: "x509-bundles",
  open: (api, options) => api.fetchX509Bundles({}, options),
  decode: decodeX509Bundles,
  same: (a, b) => sameBundles(a.bundles, b.bundles),
  empty: { bundles: new Map() },
};

/** FetchJWTBundles. */
export const JWT_BUNDLES: Profile<JWTBundlesResponse, JwtBundles> = {
  name: "jwt-bundles",
  open: (api, options) => api.fetchJWTBundles({}, options),
  decode: decodeJwtBundles,
  same: (a, b) => sameBundles(a.bundles, b.bundles),
  empty: { bundles: new Map() },
};
