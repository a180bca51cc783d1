import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isSpiffeError } from "../base/index.ts";
import { type Peer, SpiffeId } from "../id/index.ts";
import { decide, evaluate, explain, Policy, type PolicyRule, parsePolicy, type RequestFacts } from "./index.ts";
import { canonicalPath } from "./path.ts";

const expiresAt = new Date(2 ** 42);
const id = (path: string, domain = "example.org") => SpiffeId.parse(`spiffe://${domain}${path}`);
const token = (path: string, domain?: string) => ({ id: id(path, domain), expiresAt, audience: ["a"], claims: {} });
const x509 = (path: string, domain?: string): Peer => ({ via: "x509", id: id(path, domain), expiresAt });
const jwt = (path: string): Peer => ({ via: "jwt", id: id(path), expiresAt, token: token(path) });
const both = (path: string, tokenPath: string): Peer => ({
  via: "x509",
  id: id(path),
  expiresAt,
  token: token(tokenPath),
});

const RULES: PolicyRule[] = [
  { rule: "web-reads", allow: { ids: ["spiffe://example.org/web"] }, methods: ["GET"], path: "/orders/**" },
  { rule: "web-health", allow: { ids: ["spiffe://example.org/web"] }, path: "/health" },
  { rule: "cron-by-token", allow: { ids: ["spiffe://example.org/cron"], via: ["jwt"] }, routes: ["orders"] },
  { rule: "cron-by-cert", allow: { ids: ["spiffe://example.org/cron"], via: ["x509"] }, routes: ["reports"] },
  { rule: "partner", allow: { trustDomains: ["partner.example"] }, path: "/partner/**" },
  { rule: "anyone-by-token", allow: { via: ["jwt"] }, path: "/tokens/**" },
  { rule: "no-secrets", deny: { trustDomains: ["example.org"] }, path: "/orders/secret" },
  { rule: "no-delete-by-token", deny: { via: ["jwt"] }, methods: ["DELETE"] },
  { rule: "admin", allow: { ids: ["spiffe://example.org/admin"] } },
  { rule: "no-evil", deny: { ids: ["spiffe://example.org/evil"] } },
  { rule: "partner-no-read", deny: { trustDomains: ["partner.example"] }, methods: ["GET"], path: "/partner/write" },
];

type Row = [title: string, peer: Peer | undefined, facts: Partial<RequestFacts>, outcome: string];
const TABLE: Row[] = [
  ["an exact ID on its path", x509("/web"), {}, "allow web-reads"],
  ["the same ID with another method", x509("/web"), { method: "POST" }, "deny policy.default-deny"],
  ["another ID on the same path", x509("/web2"), {}, "deny policy.default-deny"],
  ["a longer ID is another ID", x509("/web/x"), {}, "deny policy.default-deny"],
  ["the same path in another trust domain", x509("/web", "example.com"), {}, "deny policy.default-deny"],
  ["the path a subtree begins with", x509("/web"), { path: "/orders" }, "allow web-reads"],
  ["a path that only begins alike", x509("/web"), { path: "/ordersx" }, "deny policy.default-deny"],
  ["deep in a subtree", x509("/web"), { path: "/orders/1/2/3" }, "allow web-reads"],
  ["an exact path", x509("/web"), { path: "/health" }, "allow web-health"],
  ["an exact path is not a subtree", x509("/web"), { path: "/health/x" }, "deny policy.default-deny"],
  [
    "an allowed path with a trailing slash is another path",
    x509("/web"),
    { path: "/health/" },
    "deny policy.default-deny",
  ],
  ["paths are case-sensitive", x509("/web"), { path: "/Health" }, "deny policy.default-deny"],
  ["HEAD is not allowed by GET", x509("/web"), { method: "HEAD" }, "deny policy.default-deny"],
  ["deny wins over an earlier allow", x509("/web"), { path: "/orders/secret" }, "deny no-secrets"],
  ["a trailing slash does not escape a deny", x509("/web"), { path: "/orders/secret/" }, "deny no-secrets"],
  ["below an exactly denied path", x509("/web"), { path: "/orders/secret/x" }, "allow web-reads"],
  ["deny wins over a later allow", x509("/admin"), { path: "/orders/secret" }, "deny no-secrets"],
  ["an allow without scope", x509("/admin"), { method: "DELETE", path: "/any" }, "allow admin"],
  ["no caller", undefined, {}, "deny policy.default-deny"],
  ["a token where the rule says jwt", jwt("/cron"), { route: "orders" }, "allow cron-by-token"],
  ["a certificate where the rule says jwt", x509("/cron"), { route: "orders" }, "deny policy.default-deny"],
  ["a certificate where the rule says x509", x509("/cron"), { route: "reports" }, "allow cron-by-cert"],
  ["a token where the rule says x509", jwt("/cron"), { route: "reports" }, "deny policy.default-deny"],
  ["a route the rule does not name", jwt("/cron"), { route: "other" }, "deny policy.default-deny"],
  ["no route where an allow rule names one", jwt("/cron"), {}, "deny policy.default-deny"],
  ["a trust domain", x509("/x", "partner.example"), { path: "/partner/1" }, "allow partner"],
  [
    "a subdomain of a trust domain",
    x509("/x", "a.partner.example"),
    { path: "/partner/1" },
    "deny policy.default-deny",
  ],
  [
    "a deny of GET covers HEAD",
    x509("/x", "partner.example"),
    { method: "HEAD", path: "/partner/write" },
    "deny partner-no-read",
  ],
  ["and leaves POST", x509("/x", "partner.example"), { method: "POST", path: "/partner/write" }, "allow partner"],
  ["any token", jwt("/whoever"), { path: "/tokens/1" }, "allow anyone-by-token"],
  ["any certificate is no token", x509("/whoever"), { path: "/tokens/1" }, "deny policy.default-deny"],
  [
    "[S-18] a second identity does not widen a rule without via",
    both("/guest", "/web"),
    {},
    "deny policy.default-deny",
  ],
  ["[S-18] the certificate's identity does", both("/web", "/guest"), {}, "allow web-reads"],
  ["[S-18] a rule that says jwt means the token", both("/guest", "/cron"), { route: "orders" }, "allow cron-by-token"],
  [
    "[S-18] a rule that says x509 means the certificate",
    both("/guest", "/cron"),
    { route: "reports" },
    "deny policy.default-deny",
  ],
  ["[S-18] a deny takes the token's identity too", both("/admin", "/evil"), { path: "/any" }, "deny no-evil"],
  ["[S-18] and leaves another token", both("/admin", "/good"), { path: "/any" }, "allow admin"],
  [
    "[S-18] a deny by token reaches a caller with both",
    both("/admin", "/admin"),
    { method: "DELETE", path: "/any" },
    "deny no-delete-by-token",
  ],
];

describe("policy decisions", () => {
  const policy = Policy.compile(RULES);
  for (const [title, peer, facts, outcome] of TABLE) {
    it(`${title}: ${outcome}`, () => {
      const decision = policy.decide(peer, { method: "GET", path: "/orders/1", ...facts });
      assert.equal(`${decision.verdict} ${decision.rule ?? decision.reason}`, outcome);
      assert.equal(decision.mode, "enforce");
      assert.equal(
        decision.reason,
        outcome.startsWith("allow") ? "policy.allowed" : decision.rule ? "policy.denied" : "policy.default-deny",
      );
    });
  }

  it("order of the rules does not change a verdict", () => {
    const reversed = Policy.compile([...RULES].reverse());
    for (const [, peer, facts] of TABLE) {
      const request = { method: "GET", path: "/orders/1", ...facts };
      assert.equal(reversed.decide(peer, request).verdict, policy.decide(peer, request).verdict);
    }
  });

  it("of several matching rules the first is named, whichever way it names the caller", () => {
    const ids = { ids: ["spiffe://example.org/web"] };
    const domain = { trustDomains: ["example.org"] };
    const via = { via: ["x509" as const] };
    for (const [first, second] of [
      [ids, domain],
      [domain, ids],
      [via, ids],
      [ids, via],
      [via, domain],
      [domain, via],
    ] as const) {
      const made = Policy.compile([
        { rule: "first", allow: first! },
        { rule: "second", allow: second! },
      ]);
      assert.equal(made.decide(x509("/web"), { method: "GET", path: "/" }).rule, "first");
    }
  });

  it("says which headers its rules look at, and whether one speaks of callers without identity", () => {
    const named = {
      rule: "b",
      allow: { ids: ["spiffe://example.org/web"] },
      headers: { X_B: "1", "x-a": "1" },
    } as const;
    const nobody = { rule: "c", deny: { anonymous: true }, headers: { "x-b": "2" } } as const;
    const both = Policy.compile([...RULES, named, nobody]);
    assert.deepEqual([both.headers, both.namesAnonymous], [["x-a", "x-b"], true]);
    const one = Policy.compile([...RULES, named]);
    assert.deepEqual([one.headers, one.namesAnonymous], [["x-a", "x-b"], false]);
  });

  it("looks at the machine's clock where it is given no other", () => {
    const at = (time: object) =>
      Policy.compile([{ rule: "r", allow: { via: ["x509"] }, time } as PolicyRule]).decide(x509("/web"), {
        method: "GET",
        path: "/",
      }).verdict;
    assert.equal(at({ from: "2020-01-01T00:00:00Z" }), "allow");
    assert.equal(at({ to: "2020-01-01T00:00:00Z" }), "deny");
  });

  it("an empty policy denies", () => {
    assert.equal(Policy.compile([]).decide(x509("/web"), { method: "GET", path: "/" }).reason, "policy.default-deny");
  });

  it("/** takes every path", () => {
    const all = Policy.compile([{ rule: "all", allow: { via: ["x509"] }, path: "/**" }]);
    for (const path of ["/", "/a", "/a/b/"]) assert.equal(all.decide(x509("/w"), { method: "GET", path }).rule, "all");
  });

  it("decide, evaluate and explain agree with the method", () => {
    const facts = { method: "GET", path: "/orders/1" };
    assert.deepEqual(decide(policy, x509("/web"), facts), policy.decide(x509("/web"), facts));
    assert.deepEqual(evaluate(policy, x509("/guest"), facts), policy.decide(x509("/guest"), facts));
    assert.equal(
      explain(decide(policy, x509("/guest"), facts), x509("/guest")),
      "no rule allows spiffe://example.org/guest",
    );
    assert.equal(
      explain(decide(policy, x509("/web"), facts), x509("/web")),
      "rule web-reads allows spiffe://example.org/web",
    );
    assert.equal(explain(decide(policy, undefined, facts), undefined), "no rule allows a caller without an identity");
  });

  it("names from outside never meet an object's own members", () => {
    const odd = Policy.compile([
      { rule: "constructor", allow: { trustDomains: ["constructor"] }, routes: ["__proto__"] },
    ]);
    assert.equal(
      odd.decide(x509("/w", "constructor"), { method: "GET", path: "/", route: "__proto__" }).verdict,
      "allow",
    );
    assert.equal(odd.decide(x509("/w", "tostring"), { method: "GET", path: "/", route: "__proto__" }).verdict, "deny");
  });
});

describe("policy rules that do not compile", () => {
  const good = {
    rule: "r",
    allow: { ids: ["spiffe://example.org/web"] },
    methods: ["GET"],
    routes: ["a"],
    path: "/a/**",
  };
  const cases: [title: string, rule: unknown, message: RegExp][] = [
    [
      "unknown key",
      { ...good, method: ["GET"] },
      /^policy\[0\]\.method: unknown key \(did you mean "methods"\?\); .*Expected: one of rule, /,
    ],
    [
      "unknown principal key",
      { rule: "r", allow: { id: ["spiffe://example.org/web"] } },
      /allow\.id: unknown key \(did you mean "ids"/,
    ],
    ["an audit without an end", { ...good, mode: "audit" }, /policy\[0\]: mode: audit needs "until"/],
    ["an audit that ends at no time", { ...good, mode: "audit", until: "tomorrow" }, /until: "tomorrow" is no time/],
    ["an end without its zone", { ...good, mode: "audit", until: "2026-12-15T00:00:00" }, /until: .* is no time/],
    ["an end on a day that is not", { ...good, mode: "audit", until: "2026-02-29T00:00:00Z" }, /does not exist/],
    ["an end of nothing", { ...good, until: "2026-12-15T00:00:00Z" }, /until: ends no audit/],
    ["an unknown mode", { ...good, mode: "dry" }, /mode: "dry" is no mode\. Expected: enforce or audit/],
    ["no name", { allow: good.allow }, /policy\[0\]: needs "rule"/],
    ["a name with a space", { ...good, rule: "a b" }, /policy\[0\]\.rule: is no name/],
    ["neither allow nor deny", { rule: "r" }, /neither allows nor denies/],
    ["both allow and deny", { ...good, deny: good.allow }, /allows and denies/],
    ["nobody named", { rule: "r", allow: {} }, /does not say who/],
    ["principals not an object", { rule: "r", allow: "everyone" }, /does not say who/],
    ["an empty list of IDs", { rule: "r", allow: { ids: [] } }, /ids: is empty/],
    ["an empty list of methods", { ...good, methods: [] }, /methods: is empty/],
    [
      "one ID instead of a list",
      { rule: "r", allow: { ids: "spiffe://example.org/web" } },
      /ids: is not a list of strings/,
    ],
    [
      "IDs and trust domains",
      { rule: "r", allow: { ids: ["spiffe://example.org/web"], trustDomains: ["example.org"] } },
      /both ids and trustDomains/,
    ],
    [
      "Istio's spelling",
      { rule: "r", allow: { ids: ["example.org/ns/a/sa/b"] } },
      /did you mean "spiffe:\/\/example\.org\/ns\/a\/sa\/b"/,
    ],
    [
      "Istio's spelling of a pattern",
      { rule: "r", allow: { ids: ["example.org/ns/*/sa/b"] } },
      /did you mean "spiffe:\/\/example\.org\/ns\/\*\/sa\/b"/,
    ],
    [
      "a wildcard over trust domains",
      { rule: "r", allow: { ids: ["spiffe://*/web"] } },
      /wildcard in the trust domain/,
    ],
    ["a wildcard inside a segment", { rule: "r", allow: { ids: ["spiffe://example.org/web-*"] } }, /mixes a wildcard/],
    ["** before the end", { rule: "r", allow: { ids: ["spiffe://example.org/**/web"] } }, /has \*\* before its end/],
    ...["web-{x}", "{x}-web", "{x}{x}", "x{x}"].map((text): (typeof cases)[number] => {
      const named = { ids: [`spiffe://example.org/${text}/{x}`] };
      return [`a capture beside text, ${text}`, { rule: "r", allow: named, path: "/a/{x}" }, /" is no capture/];
    }),
    ["a capture beside text in a path", { ...good, path: "/a-{x}/{x}" }, /"a-\{x\}" is no capture/],
    ["a capture without a name", { rule: "r", allow: { ids: ["spiffe://example.org/{}"] } }, /"\{\}" is no capture/],
    [
      "a pattern that is no ID",
      { rule: "r", allow: { ids: ["spiffe://example.org/a//*"] } },
      /can never match: .*empty path segment/,
    ],
    [
      "a capture of an ID that nothing is compared with",
      { rule: "r", allow: { ids: ["spiffe://example.org/{tenant}"] } },
      /allow: nothing else of the rule is compared with \{tenant\}.*Expected: \* for any segment/,
    ],
    [
      "a mistyped capture",
      { rule: "r", allow: { ids: ["spiffe://example.org/{tenant}"] }, path: "/a/{tenent}" },
      /\{tenant\} \(did you mean "\{tenent\}"\?\)/,
    ],
    [
      "a capture of the path that nothing is compared with",
      { rule: "r", allow: { trustDomains: ["example.org"] }, path: "/a/{tenant}" },
      /path: nothing else of the rule is compared with \{tenant\}/,
    ],
    [
      "a capture that some IDs lack",
      {
        rule: "r",
        allow: { ids: ["spiffe://example.org/ns/{tenant}", "spiffe://example.org/web"] },
        path: "/a/{tenant}",
      },
      /not every caller named here has \{tenant\}/,
    ],
    [
      "a capture that a caller without identity lacks",
      { rule: "r", allow: { ids: ["spiffe://example.org/ns/{tenant}"], anonymous: true }, path: "/a/{tenant}" },
      /not every caller named here has \{tenant\}/,
    ],
    [
      "a capture of an ID beside any segment",
      { rule: "r", allow: { ids: ["spiffe://example.org/{tenant}/*"] } },
      /nothing else of the rule is compared with \{tenant\}/,
    ],
    [
      "a capture that one of two IDs repeats",
      { rule: "r", allow: { ids: ["spiffe://example.org/{x}/{x}", "spiffe://example.org/{x}/b"] } },
      /nothing else of the rule is compared with \{x\}/,
    ],
    [
      "a header compared with what nothing captures, where there is no path",
      { rule: "r", deny: { via: ["jwt"] }, headers: { "x-tenant": "{tenant}" } },
      /nothing captures \{tenant\}/,
    ],
    [
      "a header compared with what nothing captures",
      { ...good, headers: { "x-tenant": "{tenant}" } },
      /nothing captures \{tenant\}/,
    ],
    ["a header that callers write as they like", { ...good, headers: { X_Spiffe_Id: "a" } }, /is no header for a rule/],
    [
      "a header that a gateway writes itself",
      { ...good, headers: { X_Forwarded_For: "10.0.0.1" } },
      /X_Forwarded_For: is no header for a rule\. Expected: what is proven/,
    ],
    ["a header that replaces the method", { ...good, headers: { "x-http-method": "GET" } }, /is no header for a rule/],
    [
      "a header with a secret",
      { ...good, headers: { authorization: "Bearer x" } },
      /Expected: via: \[jwt\] and claims/,
    ],
    ["the host as a header", { ...good, headers: { host: "a" } }, /Expected: hosts/],
    ["one header twice", { ...good, headers: { "x-a": "1", X_A: "2" } }, /X_A: is the same header as another here/],
    ["a star inside a value", { ...good, headers: { "x-a": "a*b" } }, /"a\*b" is no pattern of a value/],
    [
      "a capture with a star behind",
      { rule: "r", allow: { ids: ["spiffe://example.org/{t}"] }, headers: { "x-t": "{t}*" } },
      /would also take longer names/,
    ],
    ["a value that is a number", { ...good, headers: { "x-a": 5 } }, /x-a: 5 is no value/],
    ["no values", { ...good, headers: { "x-a": [] } }, /x-a: is empty/],
    ["no headers", { ...good, headers: {} }, /headers: is empty/],
    [
      "a deny rule for every value",
      { rule: "r", deny: { via: ["jwt"] }, headers: { "x-a": "*" } },
      /"\*" is every value; where the value is missing a deny rule matches too/,
    ],
    ["claims that are a list", { ...good, claims: ["a"] }, /claims: is not a block of claims/],
    ["a claim without value", { ...good, claims: { a: null } }, /claims\.a: null is no value/],
    ["a claim that is not finite", { ...good, claims: { a: Number.NaN } }, /claims\.a: .* is no value/],
    ["a claim beyond exact numbers", { ...good, claims: { a: 2 ** 60 } }, /is no value/],
    [
      "a host with a port",
      { ...good, hosts: ["Orders.example:443"] },
      /is no host \(did you mean "orders\.example"\?\)/,
    ],
    [
      "an address in another form than requests are judged by",
      { ...good, hosts: ["[0:0:0:0:0:0:0:1]"] },
      /is no host \(did you mean "\[::1\]"\?\)/,
    ],
    ["a short form of an address", { ...good, hosts: ["127.1"] }, /is no host \(did you mean "127\.0\.0\.1"\?\)/],
    ["a star before an address", { ...good, hosts: ["*.0.0.1"] }, /"\*\.0\.0\.1" is no host/],
    ["a label that ends in a dash", { ...good, hosts: ["a-.example"] }, /"a-\.example" is no host/],
    ["a label of 64 letters", { ...good, hosts: [`${"a".repeat(64)}.example`] }, /" is no host/],
    ["a host with a star inside", { ...good, hosts: ["a.*.example"] }, /"a\.\*\.example" is no host/],
    [
      "a window that ends before it begins",
      {
        ...good,
        time: { from: "2026-12-15T00:00:00Z", to: "2026-12-14T00:00:00Z" },
      },
      /time: ends before it begins/,
    ],
    [
      "a window that ends where it begins",
      { ...good, time: { from: "2026-12-15T00:00:00Z", to: "2026-12-15T01:00:00+01:00" } },
      /time: ends before it begins/,
    ],
    ["an empty window", { ...good, time: {} }, /time: is no window of time/],
    [
      "a mistyped window",
      { ...good, time: { form: "2026-12-15T00:00:00Z", to: "2027-01-01T00:00:00Z" } },
      /did you mean "from"/,
    ],
    ["nobody by name", { rule: "r", allow: { anonymous: false } }, /anonymous: is not true/],
    ["a value twice", { ...good, methods: ["GET", "GET"] }, /methods\[1\]: "GET" stands here twice/],
    ...["web", "http://example.org/web", "spiffe://example.org/a b", "spiffe://example.org/web/"].map(
      (text): (typeof cases)[number] => {
        // beside \`via\`, which alone would name everybody
        return [
          `the ID ${text}`,
          { rule: "r", allow: { ids: [text], via: ["x509"] } },
          /ids\[0\]: ".*" is no SPIFFE ID/,
        ];
      },
    ),
    ["a trust domain as ID", { rule: "r", allow: { ids: ["spiffe://example.org"] } }, /names a trust domain/],
    [
      "an ID as trust domain",
      { rule: "r", allow: { trustDomains: ["spiffe://example.org/web"] } },
      /is no trust domain name/,
    ],
    [
      "a trust domain that is none",
      { rule: "r", allow: { trustDomains: ["exa mple"], via: ["x509"] } },
      /trustDomains\[0\]: "exa mple" is no trust domain name/,
    ],
    ["an unknown kind of identity", { rule: "r", allow: { via: ["mtls"] } }, /via\[0\]: "mtls" is no kind/],
    ["letters before a method", { ...good, methods: ["xGET"] }, /methods\[0\]: "xGET" is no HTTP method/],
    ["letters behind a method", { ...good, methods: ["GETx"] }, /methods\[0\]: "GETx" is no HTTP method/],
    ["a method in small letters", { ...good, methods: ["GET", "post"] }, /methods\[1\]: "post" is no HTTP method/],
    ["a path with a wildcard inside a segment", { ...good, path: "/a*/b" }, /"a\*" mixes a wildcard with text/],
    [
      "a path that no canonical path equals",
      { ...good, path: "/%61" },
      /can never match: requests are judged as "\/a"/,
    ],
    ["a path with a dot segment", { ...good, path: "/a/../b" }, /can never match/],
    ["a path with an empty segment", { ...good, path: "/a//**" }, /can never match/],
    ["a path without slash", { ...good, path: "a" }, /can never match/],
    ["a rule that is a string", "allow all", /is not a rule/],
  ];
  it("the twin of all of them compiles", () => {
    assert.deepEqual(Policy.compile([good]).rules, ["r"]);
  });
  const twins: [title: string, rule: object][] = [
    [
      "a capture that both of two IDs repeat",
      { allow: { ids: ["/{x}/{x}", "/{x}/b/{x}"].map((one) => `spiffe://a${one}`) } },
    ],
    ["a capture that one ID repeats beside an ID without", { allow: { ids: ["spiffe://a/{x}/{x}", "spiffe://a/b"] } }],
    ["a capture of a whole segment", { allow: { ids: ["spiffe://a/{x}/{x}"] }, path: "/a/{x}" }],
    ["a capture that the path repeats", { allow: { via: ["jwt"] }, path: "/{x}/{x}" }],
    ["a trust domain beside via", { allow: { trustDomains: ["example"], via: ["x509"] } }],
    ["a claim that is no integer", { allow: { via: ["jwt"] }, claims: { a: 0.5 } }],
    ["a window of a millisecond", { ...good, time: { from: "2026-12-15T00:00:00Z", to: "2026-12-15T00:00:00.001Z" } }],
    ["a label of 63 letters", { ...good, hosts: [`${"a".repeat(63)}.example`, "a-a.example"] }],
  ];
  for (const [title, rule] of twins) {
    it(`but ${title} does`, () => {
      assert.deepEqual(Policy.compile([{ rule: "r", ...rule } as PolicyRule]).rules, ["r"]);
    });
  }
  for (const [title, rule, message] of cases) {
    it(title, () => {
      assert.throws(
        () => Policy.compile([rule as PolicyRule]),
        (error: unknown) => isSpiffeError(error, "ERR_SPIFFE_CONFIG") && message.test(error.message),
      );
    });
  }
  it("two rules of one name", () => {
    assert.throws(() => Policy.compile([good, good]), /second rule is called "r"/);
    assert.equal(Policy.compile([good, { ...good, rule: "r2" }]).rules.length, 2);
  });
  it("a rule captures at most 32 names, of callers and of values alike", () => {
    const names = (count: number) => Array.from({ length: count }, (_, i) => `{a${i}}`);
    const ids = (count: number) => ({
      allow: { ids: [`spiffe://example.org/${names(count).join("/")}`] },
      path: `/${names(count).join("/")}`,
    });
    const values = (count: number) => ({ ...good, headers: { "x-a": names(count).join("/") } });
    const fault = (rule: object) => {
      try {
        return Policy.compile([{ rule: "r", ...rule } as PolicyRule]).rules.join();
      } catch (error) {
        return (error as Error).message;
      }
    };
    assert.equal(fault(ids(32)), "r");
    assert.match(fault(ids(33)), /^policy\[0\]: captures too many names; .*at most 32 of \{name\}$/);
    assert.match(fault(values(20_000)), /^policy\[0\]: captures too many names/);
  });
  it("of very many faults a hundred are told", () => {
    const lines = (count: number) => {
      try {
        Policy.compile(Array.from({ length: count }, () => "x" as never));
        return [];
      } catch (error) {
        return (error as Error).message.split("\n");
      }
    };
    assert.deepEqual([lines(100).length, lines(100).at(-1)], [100, lines(1)[0]?.replace("[0]", "[99]")]);
    assert.deepEqual([lines(101).length, lines(101).at(-1)], [101, "and 1 more"]);
    assert.throws(
      () => parsePolicy("- {}\n".repeat(10_000)),
      (error: Error) => {
        return (
          isSpiffeError(error, "ERR_SPIFFE_CONFIG") &&
          / more$/.test(error.message) &&
          error.message.split("\n").length === 101
        );
      },
    );
  });
  it("every fault is told, not only the first", () => {
    assert.throws(
      () => Policy.compile([{ rule: "" } as never, { rule: "x" } as never]),
      (error: Error) => error.message.split("\n").length === 3,
    );
  });
});

describe("[S-22] canonical paths", () => {
  const refused = [
    "",
    "a",
    "*",
    "//",
    "/a//b",
    "/.",
    "/..",
    "/a/.",
    "/a/..",
    "/a/../b",
    "/a/./b",
    "/%2e%2e/a",
    "/a/%2E%2e",
    "/.%2e/x",
    "/a%2fb",
    "/a%2Fb",
    "/a%5cb",
    "/a%5Cb",
    "/a\\b",
    "/a%00",
    "/a\0",
    "/a%0a",
    "/a%1F",
    "/a%7f",
    "/a;b",
    "/a;",
    "/a#b",
    "/a b",
    "/a\tb",
    "/é",
    "/%",
    "/%4",
    "/%zz",
    "/%%41",
    "/%252e%252e",
    "/%25%32%66",
    "/%2525",
    "/%c0%af",
    "/%ff",
    "/%e2%28%a1",
    "/a?b",
    "/{a}",
    "/a|b",
    '/"',
    "/<a>",
    "/a^b",
    "/`",
    "http://h/a",
  ];
  for (const path of refused) {
    it(`[A-10] ${JSON.stringify(path)} is refused`, () => {
      const verdict = canonicalPath(path);
      assert.equal(verdict.ok ? verdict.value : verdict.reason, "request.target");
    });
  }
  const accepted: [string, string][] = [
    ["/", "/"],
    ["/a/", "/a/"],
    ["/a/b", "/a/b"],
    ["/...", "/..."],
    ["/.a", "/.a"],
    ["/a..", "/a.."],
    ["/%61dmin", "/admin"],
    ["/a%20b", "/a%20b"],
    ["/%e2%82%ac", "/%E2%82%AC"],
    ["/100%25", "/100%25"],
    ["/a%2b", "/a%2B"],
    ["/a:b@c", "/a:b@c"],
    ["/%7Euser", "/~user"],
    ["/a%3Bb", "/a%3Bb"],
    ["/a%23b", "/a%23b"],
    ["/%25zz", "/%25zz"],
  ];
  for (const [path, canonical] of accepted) {
    it(`[A-10] ${path} is judged as ${canonical}`, () => {
      const verdict = canonicalPath(path);
      assert.equal(verdict.ok ? verdict.value : verdict.message, canonical);
      const again = canonicalPath(canonical);
      assert.equal(again.ok && again.value, canonical);
    });
  }
});
