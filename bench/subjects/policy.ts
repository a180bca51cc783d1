/** Policy decisions: 1,000 rules of every kind, the one that decides at the end. */
import { SpiffeId } from "../../src/id/index.ts";
import { Policy, type PolicyRule, type RequestFacts } from "../../src/policy/index.ts";
import { TRUST_DOMAIN } from "../lib/fixtures.ts";
import type { Measure } from "./measure.ts";

const RULES = 1_000;
const expiresAt = new Date(2 ** 42);
const idOf = (path: string) => `spiffe://${TRUST_DOMAIN}${path}` as const;

/** Rules that all have to be looked at: their principals name the caller, and something later does not fit. */
function ruleOf(i: number): PolicyRule {
  const rule = `rule-${i}`;
  switch (i % 10) {
    case 0:
      return { rule, allow: { ids: [idOf(`/ns/team-${i}/sa/web`)] }, path: "/orders/**" };
    case 1:
      return { rule, allow: { ids: [idOf("/ns/{team}/sa/*")] }, path: `/teams/{team}/area-${i}/**` };
    case 2:
      return { rule, deny: { trustDomains: [TRUST_DOMAIN] }, path: `/admin-${i}/**` };
    case 3:
      return { rule, allow: { via: ["x509"] }, hosts: [`host-${i}.example`, "*.example"], path: "/orders/*/lines" };
    case 4:
      return { rule, deny: { via: ["jwt"] }, methods: ["DELETE"], path: "/orders/**" };
    case 5:
      return { rule, allow: { trustDomains: [TRUST_DOMAIN] }, headers: { "x-stage": [`stage-${i}`, "test*"] } };
    case 6:
      return { rule, allow: { ids: [idOf(`/ns/*/sa/role-${i}`)] }, methods: ["GET"] };
    case 7:
      return { rule, allow: { via: ["jwt"] }, claims: { groups: [`group-${i}`, `staff-${i}`] } };
    case 8:
      return { rule, deny: { ids: [idOf("/ns/**")] }, path: `/orders/*/secret-${i}` };
    default:
      return {
        rule,
        allow: { trustDomains: [TRUST_DOMAIN] },
        path: `/reports/{kind}/area-${i}`,
        headers: { "x-kind": "{kind}" },
      };
  }
}

export const measurePolicy: Measure = async ({ amount, add, count }) => {
  const rules = Array.from({ length: RULES - 1 }, (_, i) => ruleOf(i));
  const policy = Policy.compile([
    ...rules,
    { rule: "last", allow: { ids: [idOf("/ns/team-1/sa/web")] }, methods: ["GET"], path: "/orders/**" },
  ]);
  const peers = Array.from({ length: 100 }, (_, i) => {
    const id = SpiffeId.parse(idOf(i % 100 === 99 ? "/ns/team-1/sa/other" : "/ns/team-1/sa/web"));
    const token = { id, expiresAt, audience: [], claims: { groups: ["ops", "dev", "qa"] } };
    return { via: "x509", id, expiresAt, ...(i % 2 === 0 && { token }) } as const;
  });
  const headers = { "x-stage": ["prod"], "x-kind": ["daily"], accept: ["application/json"] };
  const facts = (path: string): RequestFacts => ({ method: "GET", path, host: "orders.test", headers });
  const plain = Array.from({ length: 100 }, (_, i) => facts(`/orders/${i}/lines/7`));
  const decide = (i: number) => policy.decide(peers[i % 100], plain[i % 100]!);
  const inputs = [...peers.keys()];
  count("policy decide 1000 rules", "spiffe-edge", inputs, (i) => decide(i).rule === "last");
  await add("policy", "decide 1000 rules", "spiffe-edge", (i) => void decide(i), { ...amount, batch: 10 });
  // what a caller can do to make it slow: long segments, many segments, many values
  const hostile: readonly RequestFacts[] = [
    facts(`/orders/${"a".repeat(16_000)}`),
    facts(`/orders${"/a".repeat(8_000)}`),
    { ...facts("/orders/1"), headers: { "x-stage": Array.from({ length: 100 }, (_, i) => `test${i},`.repeat(10)) } },
    facts(`/reports/${"daily".repeat(1_000)}/area-9`),
  ];
  await add("policy", "decide 1000 rules hostile", "spiffe-edge", (i) => void policy.decide(peers[0], hostile[i % 4]!));
};
