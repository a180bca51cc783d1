/** What tests of this project, and of programs that use it, need: the `./testing` sub-path. */
export { asPeer } from "../gateway/middleware/peer-env.ts";
export { Authority, type AuthorityOptions } from "./authority.ts";
export type {
  Extension,
  ExtKeyUsage,
  GeneralNames,
  KeyUsage,
  NameAttributes,
} from "./certificate.ts";
export type { AuthorityEntry } from "./entries.ts";
export { generateKeys, type HashName, type KeyPair, type KeyType } from "./keys.ts";
export { ManualClock } from "./manual-clock.ts";
export { type StaticIdentity, type StaticMaterial, staticIdentity } from "./static-identity.ts";
export { TestCa, type TestCertificateOptions, type TestSvid } from "./test-ca.ts";
export {
  signTestJwt,
  type TestJwtAlgorithm,
  type TestJwtKey,
  type TestJwtOptions,
  testJwtBundle,
  testJwtKey,
} from "./test-jwt.ts";
