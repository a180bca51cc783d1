/**
 * The portable core of spiffe-edge: SPIFFE IDs, X509-SVIDs, JWT-SVIDs, bundles, and their verification.
 *
 * Runs on Bun, Deno, Node and workerd; reaches no `node:` import.
 *
 * @module spiffe-edge
 */
export { type Clock, systemClock } from "./src/base/clock.ts";
export type { ErrorCode, Reason } from "./src/base/codes.ts";
export { isSpiffeError, SpiffeError, type SpiffeErrorOptions } from "./src/base/errors.ts";
export type { Refusal, Verdict } from "./src/base/verdict.ts";
export * from "./src/bundle/index.ts";
export * from "./src/id/index.ts";
export * from "./src/jwt/index.ts";
export * from "./src/x509/index.ts";
