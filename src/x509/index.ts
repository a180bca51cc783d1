/** X.509-SVIDs: certificates, bundles, and the verification of a peer's chain. */
export { X509Bundle } from "./bundle.ts";
export { Certificate } from "./certificate.ts";
export type { Extensions, KeyUsage, NameConstraints } from "./extensions.ts";
export type { GeneralName, GeneralNameKind } from "./general-name.ts";
export { type LeafLeniency, spiffeIdOf } from "./leaf.ts";
export type { DistinguishedName, NameAttribute } from "./name.ts";
export type { X509BundleSource, X509SvidSource } from "./source.ts";
export { X509Svid, type X509SvidOptions } from "./svid.ts";
export {
  type PresentedChain,
  safeVerifyX509Svid,
  safeVerifyX509SvidSync,
  type VerifiedX509Svid,
  verifyX509Svid,
  verifyX509SvidSync,
  type X509SyncVerifyOptions,
  type X509VerifyOptions,
} from "./verify.ts";
