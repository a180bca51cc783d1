/** SPIFFE bundles, and where bundles are looked up. */
export { BundleSet } from "./bundle-set.ts";
export type { BundleSource } from "./source.ts";
export { SpiffeBundle, type SpiffeBundleParts } from "./spiffe-bundle.ts";
