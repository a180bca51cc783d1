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
export type { FakeMethod, SeenCall, SentSvids } from "./faults/fake-service.ts";
export type { FakeIdentity } from "./faults/fake-state.ts";
export { FakeWorkloadApi, type FakeWorkloadApiOptions } from "./faults/fake-workload-api.ts";
export type { GrpcCode } from "./faults/grpc-wire.ts";
export type { MessageFault } from "./faults/message-fault.ts";
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
