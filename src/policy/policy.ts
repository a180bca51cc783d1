/** The decision: may this caller do this? Deny wins, nothing matched is denied. Knows nothing of HTTP libraries. */
import { type Reason, SpiffeError } from "../base/index.ts";
import type { Peer, SpiffeId } from "../id/index.ts";
import { formatIssue } from "./issue.ts";
import { matchesPath, matchesPathLoosely } from "./path.ts";
import { type CheckedRule, checkRules, type PolicyRule } from "./rules.ts";

/** What a policy may look at beside the peer. */
export interface RequestFacts {
  /** The HTTP method as the handler or upstream will see it. */
  readonly method: string;
  /** The canonical path, without the query. */
  readonly path: string;
  /** The request's host, lower-case, without port. */
  readonly host?: string | undefined;
  /** Name of the gateway listener it came in by. */
  readonly listener?: string | undefined;
  /** Name of the gateway route it matched. */
  readonly route?: string | undefined;
}

/** A policy's verdict on one request, told once and logged once. */
export interface Decision {
  readonly verdict: "allow" | "deny";
  /** `policy.allowed`, `policy.denied` or `policy.default-deny`. */
  readonly reason: Reason;
  /** The rule that decided; absent for the default deny. */
  readonly rule?: string;
  /** Whether the verdict holds (`enforce`) or is only recorded (`audit`). */
  readonly mode: "enforce" | "audit";
}

interface Rule extends CheckedRule {
  /** Position in the policy: of several matching rules the first is named. */
  readonly order: number;
}

/** One identity the caller has proven. */
interface Identity {
  readonly via: "x509" | "jwt";
  readonly id: SpiffeId;
  /** Whether it is the peer's own, the one a rule without `via` allows. */
  readonly own: boolean;
}

/** Rules by whom they speak of, so that a decision looks only at those that may match. */
class RuleIndex {
  readonly #byId = new Map<string, Rule[]>();
  readonly #byTrustDomain = new Map<string, Rule[]>();
  readonly #anyone: Rule[] = [];

  add(rule: Rule): void {
    const file = (map: Map<string, Rule[]>, key: string) => {
      const list = map.get(key);
      if (list === undefined) map.set(key, [rule]);
      else list.push(rule);
    };
    for (const id of rule.ids) file(this.#byId, id);
    for (const name of rule.trustDomains) file(this.#byTrustDomain, name);
    if (rule.ids.length === 0 && rule.trustDomains.length === 0) this.#anyone.push(rule);
  }

  /** The first rule in policy order that speaks of one of the identities and of the request. */
  first(identities: readonly Identity[], facts: RequestFacts): Rule | undefined {
    let found: Rule | undefined;
    for (const identity of identities) {
      const { id } = identity;
      for (const list of [this.#byId.get(id.uri), this.#byTrustDomain.get(id.trustDomain.name), this.#anyone]) {
        for (const rule of list ?? []) {
          if (found !== undefined && rule.order >= found.order) break;
          if (!speaksOf(rule, identity, facts)) continue;
          found = rule;
          break;
        }
      }
    }
    return found;
  }
}

/** Whether the rest of a rule, beside the ID, fits. Where it is open what fits, a deny rule takes it and an allow rule does not. */
function speaksOf(rule: Rule, identity: Identity, facts: RequestFacts): boolean {
  const deny = rule.effect === "deny";
  if (rule.via === undefined ? !deny && !identity.own : !rule.via.has(identity.via)) return false;
  if (rule.methods !== undefined && !rule.methods.has(facts.method)) {
    // a server answers HEAD by running its GET handler
    if (!(deny && facts.method === "HEAD" && rule.methods.has("GET"))) return false;
  }
  if (rule.routes !== undefined && (facts.route === undefined ? !deny : !rule.routes.has(facts.route))) return false;
  if (rule.path === undefined) return true;
  return deny ? matchesPathLoosely(rule.path, facts.path) : matchesPath(rule.path, facts.path);
}

function identitiesOf(peer: Peer): Identity[] {
  if (peer.via === "jwt") return [{ via: "jwt", id: peer.id, own: true }];
  const own: Identity = { via: "x509", id: peer.id, own: true };
  return peer.token === undefined ? [own] : [own, { via: "jwt", id: peer.token.id, own: false }];
}

const DEFAULT_DENY: Decision = Object.freeze({ verdict: "deny", reason: "policy.default-deny", mode: "enforce" });

/**
 * A compiled, immutable set of rules.
 *
 * Deny beats allow, whatever the order; a request that no rule allows is denied. A caller with a certificate and a
 * token has two identities: `ids` and `trustDomains` of an allow rule mean the certificate's unless the rule says
 * `via: [jwt]`; a deny rule without `via` means either.
 *
 * @example
 * ```ts
 * import { Policy } from "spiffe-edge/policy";
 * import { SpiffeId } from "spiffe-edge";
 * const policy = Policy.compile([
 *   { rule: "web-reads", allow: { ids: ["spiffe://example.org/web"] }, methods: ["GET"], path: "/orders/**" },
 *   { rule: "no-tokens-here", deny: { via: ["jwt"] }, path: "/orders/secret" },
 * ]);
 * const peer = { via: "x509", id: SpiffeId.parse("spiffe://example.org/web"), expiresAt: new Date(2 ** 42) } as const;
 * console.assert(policy.decide(peer, { method: "GET", path: "/orders/7" }).rule === "web-reads");
 * console.assert(policy.decide(peer, { method: "POST", path: "/orders/7" }).reason === "policy.default-deny");
 * ```
 */
export class Policy {
  readonly #allow = new RuleIndex();
  readonly #deny = new RuleIndex();
  /** Names of the rules in the order given. */
  readonly rules: readonly string[];

  private constructor(rules: readonly CheckedRule[]) {
    for (const [order, rule] of rules.entries())
      (rule.effect === "deny" ? this.#deny : this.#allow).add({ ...rule, order });
    this.rules = Object.freeze(rules.map((rule) => rule.name));
  }

  /**
   * Checks and compiles rules; an empty list denies everything.
   *
   * @throws `ERR_SPIFFE_CONFIG` naming every fault: an unknown key, a rule without principals, an ID that is none …
   */
  static compile(rules: readonly PolicyRule[]): Policy {
    const checked = checkRules(rules);
    if (checked.issues.length > 0) {
      const said = checked.issues.map((issue) => formatIssue({ ...issue, path: ["policy", ...issue.path] }));
      throw new SpiffeError("ERR_SPIFFE_CONFIG", said.join("\n"));
    }
    return new Policy(checked.rules);
  }

  /**
   * Decides on one request. Pure: the same arguments give the same decision.
   *
   * @param peer the verified caller; undefined, a caller without an identity, is denied
   * @param facts the request as handler or upstream will see it
   */
  decide(peer: Peer | undefined, facts: RequestFacts): Decision {
    if (peer === undefined) return DEFAULT_DENY;
    const identities = identitiesOf(peer);
    const denied = this.#deny.first(identities, facts);
    if (denied !== undefined) return { verdict: "deny", reason: "policy.denied", rule: denied.name, mode: "enforce" };
    const allowed = this.#allow.first(identities, facts);
    if (allowed === undefined) return DEFAULT_DENY;
    return { verdict: "allow", reason: "policy.allowed", rule: allowed.name, mode: "enforce" };
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
  return `rule ${decision.rule} ${decision.verdict === "allow" ? "allows" : "denies"} ${who}`;
}
