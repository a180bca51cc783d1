import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Peer, SpiffeId } from "../id/index.ts";
import { Policy, type PolicyRule, type RequestFacts } from "./index.ts";
import { canonicalPath } from "./path.ts";

/** Numbers below n, the same in every run. */
function dice(seed: number): (n: number) => number {
  let state = seed;
  return (n) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
}

/** The rules as the documentation words them, one after the other and without any index. */
function plainly(rules: readonly PolicyRule[], peer: Peer, facts: RequestFacts): string {
  const shown = peer.via === "jwt" ? [{ via: "jwt", id: peer.id }] : [{ via: "x509", id: peer.id }];
  const both = peer.via === "x509" && peer.token !== undefined ? [...shown, { via: "jwt", id: peer.token.id }] : shown;
  const holds = (rule: PolicyRule): boolean => {
    const deny = rule.deny !== undefined;
    const who = rule.deny ?? rule.allow!;
    const candidates =
      who.via === undefined ? (deny ? both : shown) : both.filter(({ via }) => who.via!.includes(via as "x509"));
    const named = candidates.some(
      ({ id }) =>
        (who.ids === undefined || who.ids.includes(id.uri)) &&
        (who.trustDomains === undefined || who.trustDomains.includes(id.trustDomain.name)),
    );
    const method =
      rule.methods === undefined ||
      rule.methods.includes(facts.method) ||
      (deny && facts.method === "HEAD" && rule.methods.includes("GET"));
    const route = rule.routes === undefined || (facts.route === undefined ? deny : rule.routes.includes(facts.route));
    const bare = (path: string) => (deny && path.length > 1 ? path.replace(/\/$/, "") : path);
    const path =
      rule.path === undefined ||
      (rule.path.endsWith("/**")
        ? `${facts.path}/`.startsWith(rule.path.slice(0, -2)) &&
          (facts.path === rule.path.slice(0, -3) || facts.path.startsWith(rule.path.slice(0, -2)))
        : bare(facts.path) === bare(rule.path));
    return named && method && route && path;
  };
  const denied = rules.find((rule) => rule.deny !== undefined && holds(rule));
  if (denied !== undefined) return `deny ${denied.rule}`;
  const allowed = rules.find((rule) => rule.allow !== undefined && holds(rule));
  return allowed === undefined ? "deny policy.default-deny" : `allow ${allowed.rule}`;
}

describe("policy against its plain reading", () => {
  it("5,000 random policies × 8 requests", () => {
    const roll = dice(7);
    const one = <T>(list: readonly T[]): T => list[roll(list.length)] as T;
    const some = <T>(list: readonly T[]): T[] => list.filter(() => roll(2) === 0);
    const orNone = <T>(list: readonly T[]): T[] | undefined =>
      list.length === 0 || roll(3) === 0 ? undefined : [...list];
    const domains = ["a.example", "b.example"];
    const ids = domains.flatMap((domain) => ["/web", "/web/x", "/cron"].map((path) => `spiffe://${domain}${path}`));
    const methods = ["GET", "HEAD", "POST"];
    const routes = ["r1", "r2"];
    const patterns = ["/**", "/a", "/a/", "/a/**", "/a/b/**", "/a/b"];
    const paths = ["/", "/a", "/a/", "/ab", "/a/b", "/a/b/", "/a/bc", "/a/b/c"];
    const outcomes = new Map<string, number>();
    for (let n = 0; n < 5_000; n++) {
      const rules = Array.from({ length: 1 + roll(5) }, (_, i): PolicyRule => {
        const via = orNone(some(["x509", "jwt"] as const));
        const kind = roll(3);
        const named = some(kind === 0 ? ids : domains);
        const who =
          kind === 2 || named.length === 0
            ? { via: via ?? (["x509", "jwt"] as const) }
            : { [kind === 0 ? "ids" : "trustDomains"]: named, via };
        return {
          rule: `rule-${i}`,
          ...(roll(3) === 0 ? { deny: who } : { allow: who }),
          methods: orNone(some(methods)),
          routes: orNone(some(routes)),
          path: roll(3) === 0 ? undefined : one(patterns),
        } as PolicyRule;
      });
      const policy = Policy.compile(rules);
      for (let k = 0; k < 8; k++) {
        const id = SpiffeId.parse(one(ids));
        const expiresAt = new Date(0);
        const token = { id: SpiffeId.parse(one(ids)), expiresAt, audience: [], claims: {} };
        const peer: Peer = one<() => Peer>([
          () => ({ via: "x509", id, expiresAt }),
          () => ({ via: "x509", id, expiresAt, token }),
          () => ({ via: "jwt", id: token.id, expiresAt, token }),
        ])();
        const facts = { method: one(methods), path: one(paths), route: one([...routes, undefined]) };
        const decision = policy.decide(peer, facts);
        const outcome = `${decision.verdict} ${decision.rule ?? decision.reason}`;
        assert.equal(outcome, plainly(rules, peer, facts), JSON.stringify({ rules, peer, facts }));
        const kind = decision.rule === undefined ? "default" : decision.verdict;
        outcomes.set(kind, (outcomes.get(kind) ?? 0) + 1);
      }
    }
    for (const kind of ["allow", "deny", "default"])
      assert.ok((outcomes.get(kind) ?? 0) > 4_000, `${kind} ${outcomes.get(kind)}`);
  });
});

describe("[S-22] canonical paths against other readers", () => {
  it("whatever is accepted is read alike by URL, by a decoder and by itself, 200,000 random paths", () => {
    const roll = dice(11);
    const pieces = [
      "a",
      "b",
      "A",
      "/",
      "/",
      ".",
      "..",
      "%2e",
      "%2E",
      "%2f",
      "%5c",
      "\\",
      "%",
      "%25",
      "%252e",
      "%61",
      "%7e",
      "%e2%82%ac",
      "%c0%af",
      "%00",
      ";",
      "#",
      "é",
      "~",
      "-",
      ":",
      "@",
      "+",
      "%3b",
      "%20",
      "'",
      "*",
    ];
    let accepted = 0;
    for (let n = 0; n < 200_000; n++) {
      const path = `/${Array.from({ length: roll(7) }, () => pieces[roll(pieces.length)]).join("")}`;
      const verdict = canonicalPath(path);
      if (!verdict.ok) continue;
      accepted++;
      const { value } = verdict;
      const url = new URL(`https://host${value}`);
      assert.equal(url.pathname + url.search + url.hash, value, path);
      const again = canonicalPath(value);
      assert.equal(again.ok && again.value, value, path);
      const decoded = decodeURIComponent(value);
      assert.equal(decoded, decodeURIComponent(path), path);
      // a second decoding, as a careless program does, finds no other segments either
      const twice = decoded.replace(/%([0-9A-Fa-f]{2})/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)));
      for (const reading of [value, decoded, twice]) {
        assert.equal(reading.split("/").length, value.split("/").length, path);
        assert.ok(!reading.split(/[/\\]/).some((segment) => segment === "." || segment === ".."), path);
        assert.ok(!reading.includes("//") && !reading.includes("\\") && !reading.includes("\0"), path);
      }
    }
    assert.ok(accepted > 40_000, String(accepted));
  });
});
