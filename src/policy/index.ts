/** Policy: rules that say which SPIFFE ID may do what, and the function that decides. */
export {
  type Authorizer,
  type AuthorizerFailure,
  type AuthorizerOptions,
  type AuthorizerOutcome,
  createAuthorizer,
} from "./authorizer.ts";
export type { AuthorizerInput } from "./authorizer-settings.ts";
export { type ClaimRule, headerName } from "./conditions.ts";
export type { RequestFacts } from "./match.ts";
export { admitReload, type ParsePolicyOptions, type PolicySource, parsePolicy } from "./parse.ts";
export {
  type AuditedDecision,
  type Decision,
  decide,
  decide as evaluate,
  explain,
  Policy,
  type PolicyOptions,
  type PolicySourceInfo,
} from "./policy.ts";
export type { Principals } from "./principals.ts";
export type { PolicyRule } from "./rules.ts";
export { type Difference, Shadow, type ShadowCounters } from "./shadow.ts";
export { type RuleTrace, type Trace, trace } from "./trace.ts";
