/** SPIFFE bundles, and where bundles are looked up. */
export type { AuthorityJwk } from "./authority-jwk.ts";
export { BundleMap } from "./bundle-map.ts";
export { BundleSet } from "./bundle-set.ts";
export type { SpiffeBundleParts } from "./read-bundle.ts";
export type { BundleSource } from "./source.ts";
export { SpiffeBundle } from "./spiffe-bundle.ts";
export type { WitJwk, WitKey } from "./wit-key.ts";
