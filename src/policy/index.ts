/** Policy: rules that say which SPIFFE ID may do what, and the function that decides. */
export { type Decision, decide, decide as evaluate, explain, Policy, type RequestFacts } from "./policy.ts";
export type { PolicyRule, Principals } from "./rules.ts";
