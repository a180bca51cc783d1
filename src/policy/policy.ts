/** The decision: may this caller do this? Deny wins, nothing matched is denied. Knows nothing of HTTP libraries. */
import { type OptionNames, onlyKnown } from "../base/check-options.ts";
import { type Clock, type Reason, SpiffeError, systemClock, timeOf } from "../base/index.ts";
import type { Peer } from "../id/index.ts";
import { formatFaults, formatIssue } from "./issue.ts";
import { type Identity, identitiesOf, type RequestFacts, Trial } from "./match.ts";
import { type Entry, RuleIndex } from "./rule-index.ts";
import { type CheckedRule, checkRules, type PolicyRule } from "./rules.ts";

/** What a rule in audit would make of a request. */
export interface AuditedDecision {
  readonly verdict: "allow" | "deny";
  readonly reason: Reason;
  readonly rule: string;
}

/** A policy's verdict on one request, told once and logged once. */
export interface Decision {
  /** What holds, whatever the mode: nobody passes unless this is `allow`. */
  readonly verdict: "allow" | "deny";
  /**
   * `policy.allowed`, `policy.denied`, `policy.default-deny`; of an external authorizer `policy.authorizer-denied`, or
   * `policy.authorizer-` and how it failed.
   */
  readonly reason: Reason;
  /** The rule that decided; absent for the default deny. */
  readonly rule?: string;
  /** `audit` where a rule in audit would decide otherwise; what it would say is `audited`. */
  readonly mode: "enforce" | "audit";
  /** The other verdict, recorded only. */
  readonly audited?: AuditedDecision;
}

/** A text that rules came from. */
export interface PolicySourceInfo {
  readonly file: string;
  /** Whether it ended with `end: true`, so that a truncated successor can be told. */
  readonly ended: boolean;
  /** How many rules came from it. */
  readonly rules: number;
}

/** Settings of a compiled policy. */
export interface PolicyOptions {
  /** Tells the time where a request does not say when it came. */
  readonly clock?: Clock | undefined;
}

const KNOWN: OptionNames<PolicyOptions> = { clock: true };

/** Makes a policy of rules that passed the check; not public. */
export let makePolicy: (
  rules: readonly CheckedRule[],
  options?: PolicyOptions,
  sources?: readonly PolicySourceInfo[],
) => Policy;
/** The checked rules of a policy, in order; not public. */
export let rulesOf: (policy: Policy) => readonly CheckedRule[];
/** A request on trial before a policy; not public. */
export let trialOf: (policy: Policy, peer: Peer | undefined, facts: RequestFacts) => Trial;

const DEFAULT_DENY: Decision = Object.freeze({ verdict: "deny", reason: "policy.default-deny", mode: "enforce" });
const NOBODY: readonly Identity[] = [];

/**
 * A compiled, immutable set of rules.
 *
 * Deny beats allow, whatever the order; a request that no rule allows is denied. Where a request lacks what a condition
 * looks at, a deny rule matches and an allow rule does not. A caller with a certificate and a token has two identities:
 * `ids` and `trustDomains` of an allow rule mean the certificate's unless the rule says `via: [jwt]`; a deny rule
 * without `via` means either. A caller without any matches only rules with `anonymous: true`.
 *
 * @example
 * ```ts
 * import { Policy } from "spiffe-edge/policy";
 * import { SpiffeId } from "spiffe-edge";
 * const policy = Policy.compile([
 *   { rule: "own-tenant", allow: { ids: ["spiffe://example.org/ns/{tenant}/sa/*"] }, path: "/reports/{tenant}/**" },
 *   { rule: "no-tokens-here", deny: { via: ["jwt"] }, path: "/reports/*\/secret" },
 * ]);
 * const id = SpiffeId.parse("spiffe://example.org/ns/acme/sa/web");
 * const peer = { via: "x509", id, expiresAt: new Date(2 ** 42) } as const;
 * console.assert(policy.decide(peer, { method: "GET", path: "/reports/acme/7" }).rule === "own-tenant");
 * console.assert(policy.decide(peer, { method: "GET", path: "/reports/other/7" }).reason === "policy.default-deny");
 * ```
 */
export class Policy {
  readonly #deny: RuleIndex;
  readonly #allow: RuleIndex;
  readonly #auditedDeny: RuleIndex;
  readonly #auditedAllow: RuleIndex;
  readonly #checked: readonly CheckedRule[];
  readonly #clock: Clock;
  readonly #limit: number;
  /** Names of the rules in the order given. */
  readonly rules: readonly string[];
  /** Texts they came from. */
  readonly sources: readonly PolicySourceInfo[];
  /** Whether some rule speaks of callers without identity. */
  readonly namesAnonymous: boolean;
  /** Names of the headers that rules look at, as `headerName` spells them. */
  readonly headers: readonly string[];

  private constructor(
    rules: readonly CheckedRule[],
    options: PolicyOptions = {},
    sources: readonly PolicySourceInfo[] = [],
  ) {
    const inOrder = [...rules.entries()];
    const index = (deny: boolean, audited: boolean) => {
      const chosen = inOrder.filter(([, rule]) => rule.deny === deny && (rule.auditUntil !== undefined) === audited);
      return new RuleIndex(chosen, deny);
    };
    this.#deny = index(true, false);
    this.#allow = index(false, false);
    this.#auditedDeny = index(true, true);
    this.#auditedAllow = index(false, true);
    this.#checked = rules;
    this.#clock = options.clock ?? systemClock;
    this.#limit = 2 + rules.reduce((most, { path }) => Math.max(most, path?.texts.length ?? 0), 0);
    this.rules = Object.freeze(rules.map((rule) => rule.name));
    this.sources = Object.freeze(sources.map((source) => Object.freeze({ ...source })));
    this.namesAnonymous = rules.some((rule) => rule.anonymous);
    const headers = rules.flatMap((rule) => rule.headers?.map(({ name }) => name) ?? []);
    this.headers = Object.freeze([...new Set(headers)].sort());
  }

  static {
    makePolicy = (rules, options, sources) => new Policy(rules, options, sources);
    rulesOf = (policy) => policy.#checked;
    trialOf = (policy, peer, facts) => policy.#trial(peer, facts);
  }

  /**
   * Checks and compiles rules; an empty list denies everything.
   *
   * @throws `ERR_SPIFFE_CONFIG` naming every fault: an unknown key, a rule without principals, an ID that is none …;
   *   `ERR_SPIFFE_USAGE` for an option it does not know
   */
  static compile(rules: readonly PolicyRule[], options: PolicyOptions = {}): Policy {
    onlyKnown("Policy.compile", options, KNOWN);
    const checked = checkRules(rules, ["policy"]);
    if (checked.issues.length > 0) {
      throw new SpiffeError("ERR_SPIFFE_CONFIG", formatFaults(checked.issues.map(formatIssue)));
    }
    return new Policy(checked.rules, options);
  }

  /**
   * Names of the rules whose audit runs.
   *
   * @param now milliseconds since the epoch; the policy's clock when absent
   */
  audits(now: number = timeOf(this.#clock)): readonly string[] {
    return this.#checked
      .filter(({ auditUntil }) => auditUntil !== undefined && now < auditUntil)
      .map(({ name }) => name);
  }

  #trial(peer: Peer | undefined, facts: RequestFacts): Trial {
    const { now = timeOf(this.#clock) } = facts;
    return new Trial(peer, facts, Number.isFinite(now) ? now : Number.NaN, this.#limit);
  }

  /**
   * Decides on one request. The same arguments, with `facts.now` among them, give the same decision.
   *
   * @param peer the verified caller; undefined, a caller without an identity, matches only rules that name `anonymous`
   * @param facts the request as handler or upstream will see it
   */
  decide(peer: Peer | undefined, facts: RequestFacts): Decision {
    const identities = peer === undefined ? NOBODY : identitiesOf(peer);
    const trial = this.#trial(peer, facts);
    const denied = this.#denied(identities, trial);
    if (denied !== undefined)
      return { verdict: "deny", reason: "policy.denied", rule: denied.rule.name, mode: "enforce" };
    const allowed = this.#allow.first(identities, trial);
    if (allowed === undefined) return this.#recorded(DEFAULT_DENY, this.#auditedAllow, "allow", identities, trial);
    const { name: rule } = allowed.rule;
    const decision: Decision = { verdict: "allow", reason: "policy.allowed", rule, mode: "enforce" };
    return this.#recorded(decision, this.#auditedDeny, "deny", identities, trial);
  }

  /** The first deny rule that holds; one in audit does once its time has come. */
  #denied(identities: readonly Identity[], trial: Trial): Entry | undefined {
    const denied = this.#deny.first(identities, trial);
    if (this.#auditedDeny.isEmpty) return denied;
    const late = this.#auditedDeny.first(identities, trial);
    if (denied === undefined || late === undefined) return denied ?? late;
    return late.order < denied.order ? late : denied;
  }

  /** The decision with what a running audit would say to the contrary. An allow rule in audit never lets anybody pass. */
  #recorded(
    decision: Decision,
    audited: RuleIndex,
    verdict: AuditedDecision["verdict"],
    identities: readonly Identity[],
    trial: Trial,
  ): Decision {
    const other = audited.isEmpty ? undefined : audited.first(identities, trial, "running");
    if (other === undefined) return decision;
    const reason = verdict === "allow" ? "policy.allowed" : "policy.denied";
    return { ...decision, mode: "audit", audited: { verdict, reason, rule: other.rule.name } };
  }
}

/** The decision as a function, the same as `policy.decide(peer, facts)`. */
export function decide(policy: Policy, peer: Peer | undefined, facts: RequestFacts): Decision {
  return policy.decide(peer, facts);
}

/** A decision as a sentence for people: `no rule allows spiffe://example.org/guest`. */
export function explain(decision: Decision, peer: Peer | undefined): string {
  const who = peer === undefined ? "a caller without an identity" : peer.id.uri;
  if (decision.reason === "policy.default-deny") return `no rule allows ${who}`;
  if (decision.reason === "policy.authorizer-denied") return `the external authorizer denies ${who}`;
  if (decision.reason.startsWith("policy.authorizer-")) return "the external authorizer gave no answer that counts";
  return `rule ${decision.rule} ${decision.verdict === "allow" ? "allows" : "denies"} ${who}`;
}
