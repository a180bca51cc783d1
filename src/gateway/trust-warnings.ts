/** What of the identity works but should not stay: a Workload API that is away, peers and callers whom nothing vouches for. */
import { TrustDomain } from "../id/index.ts";
import type { JwtBundle } from "../jwt/index.ts";
import { type Policy, rulesOf } from "../policy/policy.ts";
import type { CheckedRule } from "../policy/rules.ts";
import { bundleOf } from "../tls/identity.ts";
import type { GatewayIdentity } from "./gateway-types.ts";
import type { View } from "./view.ts";

/** The warnings of `/readyz` about the own identity and the bundles of others. */
export function trustWarnings(view: View): string[] {
  return [...awayWarnings(view), ...bundleWarnings(view), ...ruleWarnings(view)];
}

/** A source of the Workload API tells how it stands; an identity of another kind does not. */
function awayWarnings({ identity }: View): string[] {
  const sources: readonly unknown[] = [identity?.x509, identity?.jwt];
  const away = sources.some((source) => (source as { readonly state?: unknown } | undefined)?.state === "stale");
  return away ? ["the Workload API sends nothing new at the moment: what it sent last is in use until it ends"] : [];
}

function bundleWarnings({ identity, config }: View): string[] {
  if (identity === undefined) return [];
  return [...config.upstreams, ...config.bytes.upstreams].flatMap(({ name, id }) => {
    const domain = id === undefined ? undefined : TrustDomain.safeParse(id);
    if (domain?.ok !== true || bundleOf(identity, domain.value)?.isEmpty === false) return [];
    return [`upstream ${name} has to be ${id}, but there is no bundle of ${domain.value} to prove it by`];
  });
}

/** Allow rules by the trust domain that they name. */
const allowing = new WeakMap<Policy, ReadonlyMap<string, readonly CheckedRule[]>>();
/** Rules that one warning names. */
const NAMED = 3;

/** Rules that let nobody in: no caller of the trust domain could be verified. */
function ruleWarnings({ identity, config }: View): string[] {
  if (identity === undefined) return [];
  return [...allowedDomains(config.policy)].flatMap(([domain, rules]) => {
    const proofs = proofsOf(identity, domain);
    const idle = rules.filter(({ via }) => !proofs.some((proof) => via?.has(proof) !== false)).map(({ name }) => name);
    if (idle.length === 0) return [];
    const [subject, verb] = idle.length === 1 ? ["rule", "allows"] : ["rules", "allow"];
    const more = idle.length > NAMED ? ` and ${idle.length - NAMED} more` : "";
    const named = `${subject} ${idle.slice(0, NAMED).join(", ")}${more}`;
    return [`${named} ${verb} callers of ${domain}, but there is no bundle of ${domain} to verify them by`];
  });
}

function allowedDomains(policy: Policy): ReadonlyMap<string, readonly CheckedRule[]> {
  const known = allowing.get(policy);
  if (known !== undefined) return known;
  const domains = new Map<string, CheckedRule[]>();
  for (const rule of rulesOf(policy)) {
    if (rule.deny) continue;
    const ids = rule.ids.map((id) => id.split("/")[2] ?? "");
    const named = [...ids, ...rule.patterns.map(({ trustDomain }) => trustDomain), ...rule.trustDomains];
    for (const domain of new Set(named)) {
      const rules = domains.get(domain);
      if (rules === undefined) domains.set(domain, [rule]);
      else rules.push(rule);
    }
  }
  allowing.set(policy, domains);
  return domains;
}

/** The ways in which a caller of the trust domain can prove its identity here. */
function proofsOf(identity: GatewayIdentity, domain: string): ("x509" | "jwt")[] {
  const trustDomain = TrustDomain.parse(domain);
  return [
    ...(bundleOf(identity, trustDomain)?.isEmpty === false ? (["x509"] as const) : []),
    ...(jwtBundleOf(identity, trustDomain)?.isEmpty === false ? (["jwt"] as const) : []),
  ];
}

/** The keys of a trust domain; a source that throws vouches for nobody. */
function jwtBundleOf({ jwt }: GatewayIdentity, trustDomain: TrustDomain): JwtBundle | undefined {
  try {
    return jwt.jwtBundleFor(trustDomain);
  } catch {
    return undefined;
  }
}
