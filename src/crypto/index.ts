/** Signature algorithms, public keys and the backends that check signatures. */
export {
  type Curve,
  HASH_LENGTH,
  type Hash,
  JWS_ALGORITHMS,
  type JwsAlgorithm,
  type SignatureAlgorithm,
  x509SignatureAlgorithm,
} from "./algorithms.ts";
export {
  BACKEND_TABLES,
  type Backend,
  type BackendRow,
  type BackendTable,
  chooseSyncVerifier,
  chooseVerifier,
  preloadAuthorities,
  type RsaRow,
} from "./choose-backend.ts";
export { webcryptoVerifier } from "./native/webcrypto.ts";
export { privateKeyMatches, privateKeyMatchesSync } from "./private-key.ts";
export { type KeyNumbers, type PublicJwk, PublicKey } from "./public-key.ts";
export {
  type Checks,
  nativeVerifier,
  type PreparedCheck,
  runChecks,
  runChecksSync,
  type SignatureCheck,
  type SignatureVerifier,
  type SyncSignatureVerifier,
} from "./verifier.ts";
export { runChecksTogether, verifyBatch } from "./verify-batch.ts";
