import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Peer, SpiffeId } from "../id/index.ts";
import { isProxyHeader } from "./conditions.ts";
import { Policy, type PolicyRule, type RequestFacts } from "./index.ts";

const expiresAt = new Date(2 ** 42);
const id = (text: string) => SpiffeId.parse(`spiffe://example.org${text}`);
const x509 = (path: string): Peer => ({ via: "x509", id: id(path), expiresAt });
const jwt = (path: string, claims: Record<string, unknown> = {}): Peer => {
  return { via: "jwt", id: id(path), expiresAt, token: { id: id(path), expiresAt, audience: ["a"], claims } };
};
const both = (path: string, claims: Record<string, unknown>): Peer => {
  return { ...x509(path), token: { id: id(path), expiresAt, audience: ["a"], claims } } as Peer;
};
const web = x509("/web");
const noon = Date.parse("2026-12-10T12:00:00Z");

type Case = [title: string, peer: Peer | undefined, facts: Partial<RequestFacts>, matches: boolean];

/** Each case under an allow rule, and, unless told apart, under a deny rule beside an allow for everybody. */
function judge(
  rule: Omit<PolicyRule, "rule" | "allow" | "deny"> & { who?: object },
  cases: readonly Case[],
  effect: "allow" | "deny",
): void {
  const { who = { via: ["x509", "jwt"] }, ...rest } = rule;
  const everybody = { rule: "everybody", allow: { via: ["x509", "jwt"], anonymous: true } } as const;
  const rules = [{ rule: "tested", [effect]: who, ...rest } as PolicyRule, ...(effect === "deny" ? [everybody] : [])];
  const policy = Policy.compile(rules);
  for (const [title, peer, facts, matches] of cases) {
    it(`${effect}: ${title}: ${matches ? "matches" : "does not match"}`, () => {
      const decision = policy.decide(peer, { method: "GET", path: "/", now: noon, ...facts });
      assert.equal(decision.rule === "tested", matches, JSON.stringify(decision));
      assert.equal(decision.verdict, matches === (effect === "allow") ? "allow" : "deny");
    });
  }
}

describe("patterns of IDs and captures", () => {
  const rule = { who: { ids: ["spiffe://example.org/ns/{tenant}/sa/*"] }, path: "/reports/{tenant}/**" };
  const cases: Case[] = [
    ["the own tenant", x509("/ns/acme/sa/web"), { path: "/reports/acme/1" }, true],
    ["the own tenant itself", x509("/ns/acme/sa/web"), { path: "/reports/acme" }, true],
    ["another tenant", x509("/ns/acme/sa/web"), { path: "/reports/other/1" }, false],
    ["a tenant that begins alike", x509("/ns/acme/sa/web"), { path: "/reports/acme2/1" }, false],
    ["a tenant in another case", x509("/ns/acme/sa/web"), { path: "/reports/Acme/1" }, false],
    ["an ID with more segments", x509("/ns/acme/sa/web/1"), { path: "/reports/acme/1" }, false],
    ["an ID with fewer segments", x509("/ns/acme/sa"), { path: "/reports/acme/1" }, false],
    ["the path with an empty tenant", x509("/ns/acme/sa/web"), { path: "/reports/" }, false],
    ["no caller", undefined, { path: "/reports/acme/1" }, false],
  ];
  judge(rule, cases, "allow");
  judge(rule, cases, "deny");
  judge(
    { who: { ids: ["spiffe://example.org/ns/{tenant}/**"] }, headers: { "x-tenant": "t-{tenant}" } },
    [
      ["its header", x509("/ns/acme"), { headers: { "x-tenant": ["t-acme"] } }, true],
      ["another's header", x509("/ns/acme"), { headers: { "x-tenant": ["t-other"] } }, false],
      ["a longer one", x509("/ns/acme"), { headers: { "x-tenant": ["t-acme2"] } }, false],
      ["no header", x509("/ns/acme"), {}, false],
    ],
    "allow",
  );
  judge(
    { path: "/t/{tenant}/**", claims: { tenant: "{tenant}" } },
    [
      ["a claim that equals the path", jwt("/web", { tenant: "acme" }), { path: "/t/acme/x" }, true],
      ["a claim that does not", jwt("/web", { tenant: "acme" }), { path: "/t/other/x" }, false],
      ["no claim", jwt("/web"), { path: "/t/acme/x" }, false],
    ],
    "allow",
  );
  judge(
    { who: { ids: ["spiffe://example.org/ns/**"] } },
    [
      ["the ID itself", x509("/ns"), {}, true],
      ["below", x509("/ns/a/b/c"), {}, true],
      ["beside", x509("/nsx"), {}, false],
    ],
    "allow",
  );
});

describe("values that could be read in two ways", () => {
  const who = { ids: ["spiffe://example.org/{a}/{b}"] };
  const path = "/{c}/**";
  const fault = (value: string, effect: "allow" | "deny") => {
    try {
      const also = { "x-all": ["{a}", "{b}", "{c}"] };
      Policy.compile([{ rule: "r", [effect]: who, path, headers: { "x-a": value, ...also } } as unknown as PolicyRule]);
      return "accepted";
    } catch (error) {
      return (error as Error).message;
    }
  };
  for (const effect of ["allow", "deny"] as const) {
    for (const value of ["{a}*", "{a}-*", "{a}.x*", "{a}{b}", "{a}-{b}", "x{a}_y{b}", "{c}:{a}", "{c}:*"]) {
      it(`${effect}: ${value} is refused`, () => {
        assert.match(fault(value, effect), /^policy\[0\]\.headers: ".*" could be read in two ways; .*Expected: /);
      });
    }
    for (const value of ["{a}", "{a}/*", "{a}:{b}", "x-{a}-y", "{a}/{c}", "{c}/*", "x:{a}:{b}", "{a}:{c}", "x*"]) {
      it(`${effect}: ${value} is not`, () => assert.equal(fault(value, effect), "accepted"));
    }
  }
});

describe("callers without an identity", () => {
  judge(
    { who: { anonymous: true }, path: "/health" },
    [
      ["is named", undefined, { path: "/health" }, true],
      ["elsewhere", undefined, { path: "/x" }, false],
      ["somebody is not nobody", web, { path: "/health" }, false],
    ],
    "allow",
  );
  for (const who of [
    { via: ["x509", "jwt"] },
    { trustDomains: ["example.org"] },
    { ids: ["spiffe://example.org/**"] },
  ]) {
    for (const effect of ["allow", "deny"] as const) {
      judge(
        { who },
        [
          [`not named by ${JSON.stringify(who)}`, undefined, {}, false],
          ["somebody", web, {}, true],
        ],
        effect,
      );
    }
  }
});

describe("hosts", () => {
  const rule = { hosts: ["orders.example", "*.shop.example", "[::1]"] };
  const cases: Case[] = [
    ["an exact host", web, { host: "orders.example" }, true],
    ["one label more", web, { host: "eu.shop.example" }, true],
    ["two labels more", web, { host: "a.eu.shop.example" }, false],
    ["no label more", web, { host: "shop.example" }, false],
    ["an address", web, { host: "[::1]" }, true],
    ["another host", web, { host: "orders.example.evil" }, false],
  ];
  const none = (matches: boolean): Case[] => [
    ["no host", web, {}, matches],
    ["only a dot more, which is no host", web, { host: ".shop.example" }, matches],
  ];
  judge(rule, [...cases, ...none(false)], "allow");
  judge(rule, [...cases, ...none(true)], "deny");
});

describe("headers", () => {
  const rule = { headers: { "X-Stage": ["test*", "prod"], x_region: "eu" } };
  const eu = { "x-region": ["eu"] };
  const cases: Case[] = [
    ["a whole value", web, { headers: { ...eu, "x-stage": ["prod"] } }, true],
    ["the begin of a value", web, { headers: { ...eu, "x-stage": ["test-2"] } }, true],
    ["a longer value", web, { headers: { ...eu, "x-stage": ["prod2"] } }, false],
    ["another second header", web, { headers: { "x-region": ["us"], "x-stage": ["prod"] } }, false],
  ];
  judge(
    rule,
    [
      ...cases,
      ["one of two values fits", web, { headers: { ...eu, "x-stage": ["prod", "evil"] } }, false],
      ["both values fit", web, { headers: { ...eu, "x-stage": ["prod", "test"] } }, true],
      ["a list of values", web, { headers: { ...eu, "x-stage": ["evil, prod"] } }, false],
      ["a header is missing", web, { headers: eu }, false],
      ["no headers are known", web, {}, false],
      ["a header of an object's own names", web, { headers: Object.create({ "x-stage": ["prod"], ...eu }) }, false],
      ["a header that is said to be absent", web, { headers: { ...eu, "x-stage": undefined } }, false],
      ["text in place of a list", web, { headers: { ...eu, "x-stage": "prod" as never } }, false],
    ],
    "allow",
  );
  judge(
    rule,
    [
      ...cases,
      ["one of two values fits", web, { headers: { ...eu, "x-stage": ["evil", "prod"] } }, true],
      ["a list of values", web, { headers: { ...eu, "x-stage": ["evil, prod"] } }, true],
      ["a header is missing", web, { headers: eu }, true],
      ["no headers are known", web, {}, true],
      ["a header without a value", web, { headers: { ...eu, "x-stage": [] } }, true],
      ["a header that is said to be absent", web, { headers: { ...eu, "x-stage": undefined } }, true],
    ],
    "deny",
  );
});

describe("blanks around header values", () => {
  const blanks = [" ", "\t", "\u00a0", "\u0085", "\u2003", "\u3000", "\ufeff", "\u200b", "\u001f", "\0"];
  const around = (value: string, matches: boolean) =>
    blanks.flatMap((blank): Case[] => {
      const name = `U+${blank.charCodeAt(0).toString(16)}`;
      return [
        [`before, ${name}`, web, { headers: { "x-stage": [blank + value] } }, matches],
        [`behind, ${name}`, web, { headers: { "x-stage": [value + blank] } }, matches],
        [`in a list, ${name}`, web, { headers: { "x-stage": [`a,${blank}${value}${blank}`] } }, matches],
      ];
    });
  judge({ headers: { "x-stage": "prod" } }, [...around("prod", true), ...around("test", false)], "deny");
  judge(
    { headers: { "x-stage": "a, b" } },
    [
      ["around a whole value with a comma", web, { headers: { "x-stage": ["\u00a0a, b "] } }, true],
      ["around another", web, { headers: { "x-stage": ["\u00a0a, c "] } }, false],
    ],
    "deny",
  );
  const plain: Case = ["none", web, { headers: { "x-stage": ["prod"] } }, true];
  judge({ headers: { "x-stage": "prod" } }, [plain, ...around("prod", false)], "allow");
});

describe("claims", () => {
  const rule = { claims: { groups: ["ops", "dev"], level: 5, realm: { admin: true } } };
  const good = { groups: ["qa", "dev"], level: 5, realm: { admin: true } };
  judge(
    rule,
    [
      ["all of them", jwt("/web", good), {}, true],
      ["of a token beside a certificate", both("/web", good), {}, true],
      ["one value in place of a list", jwt("/web", { ...good, groups: "ops" }), {}, true],
      ["another value", jwt("/web", { ...good, groups: ["qa"] }), {}, false],
      ["text in place of a number", jwt("/web", { ...good, level: "5" }), {}, false],
      ["text in place of true", jwt("/web", { ...good, realm: { admin: "true" } }), {}, false],
      ["a block is missing", jwt("/web", { ...good, realm: undefined }), {}, false],
      ["a list where a block belongs", jwt("/web", { ...good, realm: [{ admin: true }] }), {}, false],
      ["no token", web, {}, false],
      ["a claim of an object's own names", jwt("/web", { ...good, realm: Object.create({ admin: true }) }), {}, false],
      ["null where a block belongs", jwt("/web", { ...good, realm: null }), {}, false],
    ],
    "allow",
  );
  judge(
    { claims: { groups: { 0: "ops" }, roles: { length: 1 } } },
    [
      ["blocks", jwt("/web", { groups: { 0: "ops" }, roles: { length: 1 } }), {}, true],
      ["a list has no names", jwt("/web", { groups: ["ops"], roles: { length: 1 } }), {}, false],
      ["nor a length", jwt("/web", { groups: { 0: "ops" }, roles: ["x"] }), {}, false],
    ],
    "allow",
  );
  judge(
    { claims: { account: "9007199254740993" } },
    [
      ["an integer beyond exact numbers", jwt("/web", { account: 9007199254740993n }), {}, true],
      ["its neighbour", jwt("/web", { account: 9007199254740992n }), {}, false],
    ],
    "deny",
  );
  judge(
    { claims: { level: 5 } },
    [
      ["the value", jwt("/web", { level: 5 }), {}, true],
      ["the value as text", jwt("/web", { level: "5" }), {}, true],
      ["another value", jwt("/web", { level: 6 }), {}, false],
      ["the value among others", jwt("/web", { level: [6, 5] }), {}, true],
      ["an empty list", jwt("/web", { level: [] }), {}, true],
      ["a block in its place", jwt("/web", { level: { a: 6 } }), {}, true],
      ["null", jwt("/web", { level: null }), {}, true],
      ["no claim", jwt("/web"), {}, true],
      ["no token", web, {}, true],
    ],
    "deny",
  );
});

describe("[S-18] claims of a token that is not the one the rule speaks of", () => {
  const withToken = (tokenPath: string, role: string): Peer => {
    return { ...x509("/a"), token: { id: id(tokenPath), expiresAt, audience: ["a"], claims: { role } } } as Peer;
  };
  for (const via of [undefined, ["x509"], ["x509", "jwt"]] as const) {
    const who = { ids: ["spiffe://example.org/a"], via };
    judge(
      { who, claims: { role: "admin" } },
      [
        [`${via} the own token`, withToken("/a", "admin"), {}, true],
        [`${via} another's token`, withToken("/b", "admin"), {}, false],
      ],
      "allow",
    );
    judge(
      { who, claims: { role: "admin" } },
      [
        [`${via} the own token`, withToken("/a", "guest"), {}, false],
        [`${via} the own token with the claim`, withToken("/a", "admin"), {}, true],
        [`${via} another's token leads around nothing`, withToken("/b", "guest"), {}, true],
      ],
      "deny",
    );
  }
  judge(
    { who: { ids: ["spiffe://example.org/b"], via: ["jwt"] }, claims: { role: "admin" } },
    [
      ["a rule that speaks of the token", withToken("/b", "admin"), {}, true],
      ["a rule that speaks of another token", withToken("/c", "admin"), {}, false],
    ],
    "allow",
  );
});

describe("time", () => {
  const rule = { time: { from: "2026-12-10T12:00:00Z", to: "2026-12-10T14:00:00+01:00" } };
  const cases: Case[] = [
    ["at its begin", web, { now: noon }, true],
    ["just before", web, { now: noon - 1 }, false],
    ["just before its end", web, { now: noon + 3_599_999 }, true],
    ["at its end", web, { now: noon + 3_600_000 }, false],
  ];
  judge(rule, [...cases, ["a clock that tells no time", web, { now: Number.NaN }, false]], "allow");
  judge(rule, [...cases, ["a clock that tells no time", web, { now: Number.NaN }, true]], "deny");

  it("the policy's clock counts where the request says no time, and one that throws closes", () => {
    const clock = (now: () => number) => ({ now, monotonic: () => 0, sleep: async () => {} });
    const rules: PolicyRule[] = [{ rule: "window", allow: { via: ["x509"] }, ...rule }];
    const at = (now: () => number) =>
      Policy.compile(rules, { clock: clock(now) }).decide(web, { method: "GET", path: "/" });
    assert.equal(at(() => noon).verdict, "allow");
    assert.equal(at(() => noon - 1).verdict, "deny");
    assert.equal(
      at(() => {
        throw new Error("no clock");
      }).verdict,
      "deny",
    );
  });
});

describe("a time that is none", () => {
  const none = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, "x", null, 5n] as unknown as number[];
  const from = { time: { from: "2026-01-01T00:00:00Z" } };
  const to = { time: { to: "2027-01-01T00:00:00Z" } };
  const audited = { mode: "audit", until: "2027-01-01T00:00:00Z" } as const;
  for (const window of [from, to]) {
    judge(
      window,
      [["a good one", web, {}, true], ...none.map((now): Case => [String(now), web, { now }, false])],
      "allow",
    );
    judge(
      window,
      none.map((now): Case => [String(now), web, { now }, true]),
      "deny",
    );
  }
  judge(
    audited,
    [["a good one", web, {}, false], ...none.map((now): Case => [String(now), web, { now }, true])],
    "deny",
  );
});

describe("[S-26] audit", () => {
  const until = "2026-12-10T12:00:00Z";
  const policy = Policy.compile([
    { rule: "web", allow: { ids: ["spiffe://example.org/web"] } },
    { rule: "trial-deny", deny: { via: ["x509"] }, path: "/old/**", mode: "audit", until },
    { rule: "trial-allow", allow: { ids: ["spiffe://example.org/cron"] }, mode: "audit", until },
    { rule: "hard-deny", deny: { via: ["x509"] }, path: "/never" },
  ]);
  const at = (now: number, path: string, peer: Peer = web) => policy.decide(peer, { method: "GET", path, now });

  it("a deny rule only records until its time, and is enforced from then on", () => {
    const audited = { verdict: "deny", reason: "policy.denied", rule: "trial-deny" };
    const decision = { verdict: "allow", reason: "policy.allowed", rule: "web", mode: "audit", audited };
    assert.deepEqual(at(noon - 1, "/old/x"), decision);
    assert.deepEqual(at(noon, "/old/x"), {
      verdict: "deny",
      reason: "policy.denied",
      rule: "trial-deny",
      mode: "enforce",
    });
    assert.equal(at(noon - 1, "/new").mode, "enforce");
  });

  it("an allow rule only records, and is over at its time: it never lets anybody pass", () => {
    const audited = { verdict: "allow", reason: "policy.allowed", rule: "trial-allow" };
    const cron = x509("/cron");
    assert.deepEqual(at(noon - 1, "/", cron), {
      verdict: "deny",
      reason: "policy.default-deny",
      mode: "audit",
      audited,
    });
    assert.deepEqual(at(noon, "/", cron), { verdict: "deny", reason: "policy.default-deny", mode: "enforce" });
    assert.equal(at(noon, "/").verdict, "allow");
  });

  it("a rule that is enforced denies whatever is in audit", () => {
    assert.deepEqual(at(noon - 1, "/never"), {
      verdict: "deny",
      reason: "policy.denied",
      rule: "hard-deny",
      mode: "enforce",
    });
  });

  it("without a clock, deny rules are enforced and allow rules are over", () => {
    assert.equal(at(Number.NaN, "/old/x").verdict, "deny");
    assert.equal(at(Number.NaN, "/", x509("/cron")).mode, "enforce");
    assert.deepEqual(policy.audits(noon - 1), ["trial-deny", "trial-allow"]);
    assert.deepEqual(policy.audits(noon), []);
    assert.deepEqual(policy.audits(Number.NaN), []);
  });
});

describe("work is bounded by what is written, not by what callers send", () => {
  /** Counts how often strings are read, in place of judging a time. */
  const steps = (policy: Policy, facts: RequestFacts, peer: Peer = web): number => {
    const read = String.prototype.startsWith;
    let count = 0;
    String.prototype.startsWith = function (this: string, ...args: [string, number?]) {
      count++;
      return read.apply(this, args);
    };
    try {
      policy.decide(peer, facts);
    } finally {
      String.prototype.startsWith = read;
    }
    return count;
  };

  it("a path of 100,000 segments is split no further than the longest pattern", () => {
    const stars = `/${Array(30).fill("*").join("/")}/end`;
    const rules: PolicyRule[] = Array.from({ length: 200 }, (_, i) => ({
      rule: `r${i}`,
      allow: { via: ["x509"] },
      path: `${stars}-${i}/**`,
    }));
    const policy = Policy.compile(rules);
    const split = String.prototype.indexOf;
    let looked = 0;
    String.prototype.indexOf = function (this: string, ...args: [string, number?]) {
      looked++;
      return split.apply(this, args);
    };
    try {
      assert.equal(policy.decide(web, { method: "GET", path: "/a".repeat(100_000) }).verdict, "deny");
      assert.ok(looked > 0 && looked < 100, String(looked));
    } finally {
      String.prototype.indexOf = split;
    }
  });

  it("patterns that make backtracking matchers slow are compared once per segment", () => {
    const pattern = `/${Array(60).fill("*").join("/")}/b/**`;
    const policy = Policy.compile([
      { rule: "id", allow: { ids: [`spiffe://example.org${pattern}`] } },
      { rule: "path", allow: { via: ["x509"] }, path: pattern },
      { rule: "same", allow: { ids: [`spiffe://example.org/${Array(40).fill("{x}").join("/")}/**`] } },
    ]);
    for (const length of [40, 60, 61, 500]) {
      const path = "/a".repeat(length);
      const decision = policy.decide(x509(path.slice(0, 2_000)), { method: "GET", path });
      assert.equal(decision.rule, length >= 40 ? "same" : undefined);
      assert.equal(policy.decide(web, { method: "GET", path }).verdict, "deny");
    }
    assert.equal(policy.decide(web, { method: "GET", path: `${"/a".repeat(60)}/b/c` }).rule, "path");
  });

  it("a value of 8,000 characters is compared once per pattern part", () => {
    const rules: PolicyRule[] = Array.from({ length: 100 }, (_, i) => ({
      rule: `r${i}`,
      allow: { via: ["x509"] },
      headers: { "x-a": `a${i}*` },
    }));
    const policy = Policy.compile(rules);
    const facts = (length: number) => ({ method: "GET", path: "/", headers: { "x-a": ["a".repeat(length)] } });
    assert.equal(steps(policy, facts(8_000)), steps(policy, facts(10)));
    assert.ok(steps(policy, facts(10)) <= 110);
  });

  it("a header is split once, whatever the number of rules", () => {
    const splits = (count: number) => {
      const policy = Policy.compile(
        Array.from({ length: count }, (_, i) => ({
          rule: `r${i}`,
          deny: { via: ["x509"] },
          headers: { "x-a": `v${i}-*` },
        })),
      );
      const split = String.prototype.split;
      let looked = 0;
      String.prototype.split = function (this: string, ...args: Parameters<typeof split>) {
        looked++;
        return split.apply(this, args);
      } as typeof split;
      try {
        const value = Array.from({ length: 60 }, (_, i) => `p${i}`).join(",");
        policy.decide(web, { method: "GET", path: "/", headers: { "x-a": [value] } });
        return looked;
      } finally {
        String.prototype.split = split;
      }
    };
    assert.equal(splits(1), 1);
    assert.equal(splits(1_000), 1);
  });

  it("beyond the bounds no part of a header and no value of a claim is compared", () => {
    const rules = (key: "headers" | "claims", effect: "allow" | "deny") =>
      Policy.compile(
        Array.from({ length: 100 }, (_, i) => ({
          rule: `r${i}`,
          [effect]: { via: ["x509", "jwt"] },
          [key]: { "x-a": `v${i}-*` },
        })) as unknown as PolicyRule[],
      );
    const parts = (count: number) => ({
      method: "GET",
      path: "/",
      headers: { "x-a": [Array.from({ length: count }, (_, i) => `p${i}`).join(",")] },
    });
    const values = (count: number) => jwt("/web", { "x-a": Array.from({ length: count }, (_, i) => `p${i}`) });
    const none = { method: "GET", path: "/" };
    const [within, beyond] = [steps(rules("headers", "deny"), parts(64)), steps(rules("headers", "deny"), parts(65))];
    assert.ok(within >= 6_400 && within <= 6_600, String(within));
    assert.ok(beyond <= 10, String(beyond));
    const [few, many] = [
      steps(rules("claims", "deny"), none, values(256)),
      steps(rules("claims", "deny"), none, values(257)),
    ];
    assert.ok(few >= 25_600 && few <= 25_700, String(few));
    assert.ok(many <= 10, String(many));
  });
});

describe("more than is looked at is doubt", () => {
  const list = (count: number) => ["prod", ...Array.from({ length: count - 1 }, (_, i) => `p${i}`)];
  const [fit, wide] = [list(64), list(65)];
  const other = (values: string[]) => values.slice(1);
  const h = (values: string[]) => ({ headers: { "x-stage": values } });
  const ofLength = (length: number) => `prod${"x".repeat(length - 4)}`;
  judge(
    { headers: { "x-stage": ["prod*", "p*"] } },
    [
      ["as many values as are looked at", web, h(fit), true],
      ["one more", web, h(wide), false],
      ["as long as is looked at", web, h([ofLength(8_192)]), true],
      ["one longer", web, h([ofLength(8_193)]), false],
    ],
    "allow",
  );
  judge(
    { headers: { "x-stage": "prod" } },
    [
      ["as many other parts as are looked at", web, h([other(wide).join()]), false],
      ["one more", web, h([["q", ...other(wide)].join()]), true],
      ["as many other values", web, h(other(wide)), false],
      ["one value more", web, h(["q", ...other(wide)]), true],
      ["as long as is looked at", web, h(["x".repeat(8_192)]), false],
      ["one longer", web, h(["x".repeat(8_193)]), true],
    ],
    "deny",
  );
  const groups = (count: number) => jwt("/web", { groups: list(count) });
  judge(
    { claims: { groups: "prod" } },
    [
      ["a claim of 256 values", groups(256), {}, true],
      ["of one more", groups(257), {}, false],
    ],
    "allow",
  );
  const others = (count: number) => jwt("/web", { groups: other(list(count + 1)) });
  judge(
    { claims: { groups: "prod" } },
    [
      ["a claim of 256 other values", others(256), {}, false],
      ["of one more", others(257), {}, true],
    ],
    "deny",
  );

  it("a rule has at most 32 values with a pattern; plain ones are a look-up", () => {
    const rule = (count: number, star: string): PolicyRule => ({
      rule: "r",
      allow: { via: ["x509"] },
      headers: { "x-a": Array.from({ length: count }, (_, i) => `v${i}${star}`) },
    });
    assert.throws(() => Policy.compile([rule(33, "*")]), /policy\[0\]: has 33 values with \{name\} or \*.*at most 32/);
    assert.equal(Policy.compile([rule(32, "*")]).rules.length, 1);
    assert.equal(Policy.compile([rule(1_000, "")]).rules.length, 1);
  });
});

describe("what has neither method nor path, as a TCP connection", () => {
  const tcp = { method: "", path: "" };
  judge({ routes: ["db"] }, [["a rule that asks for neither", web, { ...tcp, route: "db" }, true]], "allow");
  const asking = [{ methods: ["GET"] }, { path: "/**" }, { path: "/a/*" }, { path: "/" }];
  for (const conditions of asking) {
    const title = `a rule that asks for ${JSON.stringify(conditions)}`;
    judge(conditions, [[title, web, tcp, false]], "allow");
    judge(conditions, [[title, web, tcp, true]], "deny");
  }
  judge({ path: "/orders" }, [["a path without its slash", web, { path: "xorders" }, false]], "allow");
  judge({ path: "/orders" }, [["a path without its slash", web, { path: "xorders" }, true]], "deny");
});

describe("headers that a gateway writes itself", () => {
  for (const [name, own] of [
    ["forwarded", true],
    ["x-forwarded-for", true],
    ["x-rewrite-url", true],
    ["my-forwarded", false],
    ["x-real-ip-of", false],
  ] as const) {
    it(`${name}: ${own}`, () => assert.equal(isProxyHeader(name), own));
  }
});

describe("what captures are compared with, where a request has no path", () => {
  const odd = { path: "/t//acme/x" };
  const header = (tenant: string) => ({ headers: { "x-tenant": [tenant] } });
  // nothing was captured of the path: a deny rule takes it, whatever the header says
  judge(
    { path: "/t/{tenant}/**", headers: { "x-tenant": "{tenant}" } },
    [
      ["a path that is none, and any header", web, { ...odd, ...header("acme") }, true],
      ["a path that is none, and a token's claim of the same name", jwt("/web", { tenant: "acme" }), odd, true],
      ["a path, and its own header", web, { path: "/t/acme/x", ...header("acme") }, true],
      ["a path, and another header", web, { path: "/t/acme/x", ...header("other") }, false],
    ],
    "deny",
  );
  // what comes of the ID is captured without a path too
  const who = { ids: ["spiffe://example.org/ns/{tenant}/**"] };
  const cases: Case[] = [
    ["a path that is none, and its own header", x509("/ns/acme"), { ...odd, ...header("acme") }, true],
    ["a path that is none, and another header", x509("/ns/acme"), { ...odd, ...header("other") }, false],
    ["no path at all, and another header", x509("/ns/acme"), { path: "", ...header("other") }, false],
  ];
  judge({ who, headers: { "x-tenant": "{tenant}" } }, cases, "allow");
  judge({ who, headers: { "x-tenant": "{tenant}" } }, cases, "deny");
});

describe("paths under a deny rule", () => {
  const deny: Case[] = [
    ["the path", web, { path: "/a:b/c" }, true],
    ["an escape that many servers decode", web, { path: "/a%3Ab/c" }, true],
    ["a final slash", web, { path: "/a:b/" }, true],
    ["another path", web, { path: "/a%3Bb/c" }, false],
  ];
  judge({ path: "/a:b/**" }, deny, "deny");
  for (const path of ["/a/b", "/a/b/"]) {
    judge({ path }, [[`${path} without a final slash`, web, { path: "/a/b" }, true]], "deny");
    judge({ path }, [[`${path} with a final slash`, web, { path: "/a/b/" }, true]], "deny");
    judge({ path }, [[`${path} with a final slash`, web, { path: "/a/b/" }, path.endsWith("/")]], "allow");
  }
  judge(
    { path: "/a:b/**" },
    [
      ["an escape is another path", web, { path: "/a%3Ab/c" }, false],
      ["the path", web, { path: "/a:b/c" }, true],
    ],
    "allow",
  );
});

describe("facts that a program hands over in another spelling than rules know", () => {
  // whoever judges the bytes of a request itself must not open what a rule closes
  const odd = [
    { path: "/a//b" },
    { path: "/a/./b" },
    { path: "/x/../a/b" },
    { path: "/%61/b" },
    { path: "/a%2fb" },
    { path: "/a%2Fb" },
    { path: "/a/b?c" },
    { path: "/a/b#c" },
    { path: "/a\\b" },
    { path: "//a/b" },
    { path: "/a;x/b" },
    { path: "/\u00e4" },
    { path: "/a/b\0" },
    { path: "/a/b%00" },
    { path: "/%2561/b" },
    { host: "A.test" },
    { host: "a.test." },
    { host: "a.test:443" },
    { host: "user@a.test" },
    { host: ".a.test" },
    { host: "a..test" },
    { host: "a.test\u3002" },
    { host: "127.1" },
    { host: "[0:0:0:0:0:0:0:1]" },
    { host: "[::FFFF:0:1]" },
    { method: "get" },
    { method: "GET " },
    { method: "G\u00caT" },
    // a list of one text looks like the text
    { path: ["/a/b"] },
    { path: null },
    { host: ["a.test"] },
    { method: ["GET"] },
  ];
  const plain = { path: "/a/b", host: "a.test", method: "GET" };
  for (const spelled of odd) {
    const [key] = Object.keys(spelled) as [keyof typeof plain];
    const asks = { path: { path: "/secret/**" }, host: { hosts: ["secret.test"] }, method: { methods: ["PUT"] } }[key];
    const takes = {
      path: { path: "/**" },
      host: { hosts: ["*.test", "a.test", "127.0.0.1", "[::1]"] },
      method: { methods: ["GET"] },
    }[key];
    const title = JSON.stringify(spelled).replace(/[^ -~]/g, "?");
    const facts = { ...plain, ...spelled } as RequestFacts;
    judge(asks, [[title, web, facts, true]], "deny");
    judge(asks, [[`the plain spelling beside ${title}`, web, plain, false]], "deny");
    judge(takes, [[title, web, facts, false]], "allow");
    judge(takes, [[`the plain spelling beside ${title}`, web, plain, true]], "allow");
  }
});
