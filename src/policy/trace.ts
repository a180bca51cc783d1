/** Why a policy decides as it does: every rule, and the first of its conditions that does not hold. */
import type { Peer } from "../id/index.ts";
import {
  type Identity,
  identitiesOf,
  type Misfit,
  meansKind,
  misfitOf,
  type RequestFacts,
  type Trial,
} from "./match.ts";
import { matchesSegments, splitSegments } from "./pattern.ts";
import { type Decision, type Policy, rulesOf, trialOf } from "./policy.ts";
import type { CheckedRule } from "./rules.ts";

/** What one rule makes of a request. */
export interface RuleTrace {
  readonly rule: string;
  readonly effect: "allow" | "deny";
  readonly mode: "enforce" | "audit";
  /** The condition that does not hold; undefined where the rule matches. */
  readonly misfit: Misfit | undefined;
}

/** A decision with what every rule said. */
export interface Trace {
  readonly decision: Decision;
  readonly rules: readonly RuleTrace[];
}

/** How far a rule was followed before it ended; the farthest over all identities is told. */
const ORDER: readonly Misfit[] = [
  "principal",
  "via",
  "mode",
  "methods",
  "routes",
  "path",
  "hosts",
  "time",
  "headers",
  "claims",
];

function misfitFor(rule: CheckedRule, identity: Identity, trial: Trial): Misfit | undefined {
  const { id, via, own } = identity;
  const domain = id.trustDomain.name;
  const named = rule.ids.length + rule.patterns.length + rule.trustDomains.length;
  const segments = splitSegments(id.path, Number.POSITIVE_INFINITY);
  const attempt = (): Misfit | undefined => (meansKind(rule, via, own) ? misfitOf(rule, trial) : "via");
  trial.turnTo(identity);
  trial.forget(rule.captures);
  if (rule.ids.includes(id.uri) || rule.trustDomains.includes(domain) || (named === 0 && rule.via !== undefined))
    return attempt();
  let misfit: Misfit | undefined = "principal";
  for (const { trustDomain, pattern } of rule.patterns) {
    trial.forget(rule.captures);
    if (trustDomain !== domain || !matchesSegments(pattern, segments, segments.length, trial.captured)) continue;
    misfit = attempt();
    if (misfit === undefined) break;
  }
  return misfit;
}

/**
 * Decides, and says of every rule whether it matches and which of its conditions does not. Slower than `decide`.
 *
 * @example
 * ```ts
 * import { Policy, trace } from "spiffe-edge/policy";
 * import { SpiffeId } from "spiffe-edge";
 * const id = SpiffeId.parse("spiffe://example.org/web");
 * const web = { via: "x509", id, expiresAt: new Date(2 ** 42) } as const;
 * const policy = Policy.compile([{ rule: "read", allow: { ids: [id.uri] }, methods: ["GET"] }]);
 * console.assert(trace(policy, web, { method: "POST", path: "/" }).rules[0]?.misfit === "methods");
 * ```
 */
export function trace(policy: Policy, peer: Peer | undefined, facts: RequestFacts): Trace {
  const trial = trialOf(policy, peer, facts);
  const identities = peer === undefined ? [] : identitiesOf(peer);
  const rules = rulesOf(policy).map((rule): RuleTrace => {
    const running = rule.auditUntil !== undefined && trial.now < rule.auditUntil;
    const ended = rule.auditUntil !== undefined && !running && !rule.deny;
    let misfits: (Misfit | undefined)[];
    if (peer === undefined) {
      trial.forget(rule.captures);
      misfits = [rule.anonymous ? misfitOf(rule, trial) : "principal"];
    } else misfits = identities.map((identity) => misfitFor(rule, identity, trial));
    const far = (misfit: Misfit | undefined) => (misfit === undefined ? ORDER.length : ORDER.indexOf(misfit));
    const farthest = misfits.reduce((most, misfit) => (far(misfit) > far(most) ? misfit : most));
    return {
      rule: rule.name,
      effect: rule.deny ? "deny" : "allow",
      mode: running ? "audit" : "enforce",
      misfit: farthest === undefined && ended ? "mode" : farthest,
    };
  });
  return { decision: policy.decide(peer, { ...facts, now: trial.now }), rules };
}
