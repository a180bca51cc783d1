/** JWT-SVIDs and JWT bundles. */
export { JwtBundle, type JwtBundleSource, type JwtJwk } from "./bundle.ts";
export type { BundleWarning, JwkSetProfile, JwtKey } from "./jwk-set.ts";
export { type JwksKeyFunction, jwksFor, type TokenParts } from "./jwks-for.ts";
export { JwtSvid, type JwtSvidOptions } from "./svid.ts";
export {
  type JwtValidateOptions,
  type JwtValidateSyncOptions,
  safeValidateJwtSvid,
  safeValidateJwtSvidSync,
  validateJwtSvid,
  validateJwtSvidSync,
} from "./validate.ts";
export {
  type RememberedOptions,
  type TokenJudge,
  VerifiedTokens,
  type VerifiedTokensLimits,
} from "./verified-tokens.ts";
