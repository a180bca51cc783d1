import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isSpiffeError, LIMITS } from "../base/index.ts";
import { SpiffeId } from "../id/index.ts";
import { readFixtures } from "./fixtures.ts";
import { admitReload, Policy, parsePolicy, Shadow } from "./index.ts";

const expiresAt = new Date(2 ** 42);
const peerOf = (path: string, domain = "example.org") =>
  ({ via: "x509", id: SpiffeId.parse(`spiffe://${domain}${path}`), expiresAt }) as const;
const FILE = `rules:
  - rule: everybody-reads
    allow: { trustDomains: [example.org] }
    methods: [GET]
  - rule: admin
    allow: { ids: ["spiffe://example.org/admin", "spiffe://example.org/ops/**"] }
  - rule: no-secrets
    deny: { trustDomains: [example.org] }
    path: /secret/**
  - rule: not-by-guests
    deny: { ids: ["spiffe://example.org/guest"] }
    path: /orders/**
  - rule: trial
    deny: { ids: ["spiffe://example.org/web"] }
    path: /old
    mode: audit
    until: 2026-12-15T00:00:00Z
end: true
`;

function faults(input: Parameters<typeof parsePolicy>[0]): string {
  try {
    parsePolicy(input);
  } catch (error) {
    assert.ok(isSpiffeError(error, "ERR_SPIFFE_CONFIG"), String(error));
    return error.message;
  }
  return "accepted";
}

describe("policy files", () => {
  it("a file is read whole, and faults have their place", () => {
    const policy = parsePolicy([{ file: "shop.yaml", text: FILE }]);
    assert.deepEqual(policy.rules, ["everybody-reads", "admin", "no-secrets", "not-by-guests", "trial"]);
    assert.deepEqual(policy.sources, [{ file: "shop.yaml", ended: true, rules: 5 }]);
    assert.equal(
      faults([{ file: "shop.yaml", text: FILE.replace("methods:", "method:") }]),
      'shop.yaml:4:5 rules[0].method: unknown key (did you mean "methods"?); a key that is not read would silently not hold. Expected: one of rule, allow, deny, methods, hosts, path, headers, claims, time, routes, mode, until',
    );
  });

  it("a mark of the byte order before the text changes nothing", () => {
    const list = '- { rule: a, allow: { ids: ["spiffe://example.org/a"] } }\n';
    for (const text of [FILE, list]) {
      assert.deepEqual(parsePolicy(`\ufeff${text}`).rules, parsePolicy(text).rules);
    }
  });

  it("keys that are one key in two spellings, and keys of objects, are never two keys", () => {
    const rule = (more: string) => faults(`- { rule: a, allow: { ids: ["spiffe://example.org/a"] }, ${more} }`);
    assert.equal(rule("methods: [GET]"), "accepted");
    for (const twice of ['"methods"', "!!str methods", '"\\x6dethods"', "'methods'"])
      assert.match(rule(`methods: [GET], ${twice}: [POST]`), /Map keys must be unique/, twice);
    for (const odd of ["<<: { methods: [GET] }", "constructor: a", "~: b", ": b", "toString: a"])
      assert.match(rule(odd), /unknown key/, odd);
    for (const key of ["__proto__", '"__proto__"', '"\\x5f_proto__"'])
      assert.match(rule(`claims: { ${key}: a }`), /"__proto__" is no key of a configuration/, key);
    assert.equal(rule("claims: { constructor: a, toString: b }, headers: { constructor: c }"), "accepted");
    assert.match(rule('headers: { "x-\u212aey": a }'), /is no header name/);
    assert.match(rule('headers: { "x-\u017fpiffe-id": a }'), /is no header name/);
  });

  it("what a policy says of itself cannot be changed", () => {
    const policy = parsePolicy(FILE);
    const [source] = policy.sources;
    assert.equal(Reflect.set(source as object, "ended", false), false);
    assert.equal(Reflect.set(policy.sources, 0, { ...source, ended: false }), false);
    assert.equal(policy.sources[0]?.ended, true);
  });

  it("[S-26] duplicate keys, aliases and several documents are refused; the same without them is not", () => {
    assert.equal(faults(FILE), "accepted");
    assert.match(faults(FILE.replace("    methods: [GET]", "    methods: [GET]\n    methods: [POST]")), /unique/);
    assert.match(faults(FILE.replace("rules:", "rules: &r")), /is an anchor/);
    assert.match(faults(`${FILE}---\nrules: []\n`), /second document/);
    assert.match(faults(""), /is empty/);
    for (const text of ["5", "a"]) assert.match(faults(text), /is no set of rules/, text);
    assert.match(faults("rules: []\nmodes: audit\n"), /modes: unknown key \(did you mean "mode"/);
    for (const rules of ["{}", "5", "a", "null", "{ rule: a }"])
      assert.match(faults(`rules: ${rules}\n`), /is not a list of rules/, rules);
    assert.match(faults("end: true\n"), /is not a list of rules/);
    assert.equal(faults("rules: []\n"), "accepted");
  });

  it("values of every kind in every place are faults with their place, never a crash", () => {
    const rule = (name: string, more = "") => `- { rule: ${name}, allow: { via: [jwt] }${more} }`;
    assert.equal(faults(rule("a")), "accepted");
    for (const odd of ["{}", "[{}]", "!!binary YQ==", "[]", "null", "5", "!x a"])
      assert.match(faults(rule(odd)), /^policy:1:\d+ /, odd);
    for (const key of ["methods", "path", "headers", "claims", "time", "routes", "hosts", "mode", "until"]) {
      for (const odd of ["{}", "[{}]", "[[]]", "{ a: {} }", "{ a: [[{}]] }", "!!binary YQ==", "null"])
        assert.match(faults(rule("a", `, ${key}: ${odd}`)), /^policy:1:\d+ /, `${key}: ${odd}`);
    }
    for (const odd of [
      "null",
      "5",
      "[]",
      "{ ids: null }",
      "{ via: null }",
      "{ trustDomains: null }",
      "{ ids: [null] }",
    ])
      assert.match(faults(`- { rule: a, allow: ${odd} }`), /^policy:1:\d+ /, odd);
    const compiled = (more: object) => {
      try {
        return Policy.compile([{ rule: "a", allow: { via: ["jwt"] }, ...more } as never]).rules.join();
      } catch (error) {
        assert.ok(isSpiffeError(error, "ERR_SPIFFE_CONFIG"), String(error));
        return error.message;
      }
    };
    const cyclic: Record<string, unknown> = {};
    cyclic.cyclic = cyclic;
    assert.equal(compiled({ claims: { x: 5 }, time: { from: new Date(0) } }), "a");
    assert.match(compiled({ claims: { x: 5n } }), /^policy\[0\]\.claims\.x: 5n is no value/);
    assert.match(compiled({ claims: { x: [Symbol("x")] } }), /^policy\[0\]\.claims\.x\[0\]: a symbol is no value/);
    assert.match(compiled({ claims: cyclic }), /^policy\[0\]\.claims\..*: is not a block of claims/);
    assert.match(compiled({ time: { from: new Date(Number.NaN) } }), /^policy\[0\]\.time\.from: null is no time/);
    assert.match(compiled({ mode: 5n }), /^policy\[0\]\.mode: 5n is no mode/);
    assert.match(compiled({ rule: cyclic }), /^policy\[0\]\.rule: is no name for a rule/);
    const fixture = { peer: "spiffe://example.org/web", expect: "allow" };
    assert.deepEqual(readFixtures([{ ...fixture, name: "a" }], []).issues, []);
    const named = readFixtures([{ ...fixture, name: Object.create(null) }], ["fixtures"]);
    assert.deepEqual(named.fixtures, []);
    assert.deepEqual(
      named.issues.map(({ path, what }) => [path.join("."), what]),
      [["fixtures.0.name", "is not text"]],
    );
  });

  it("what nests deeply in any spelling, or has a block of many keys, is refused before it is built", () => {
    const deep = (open: string, count: number, close = "") => `${open.repeat(count)}x${close.repeat(count)}`;
    const steps = (count: number) => Array.from({ length: count }, (_, i) => `${" ".repeat(i)}a:`).join("\n");
    const built = (text: string) => faults(text).includes("nested too deeply");
    for (const [few, many] of [
      [deep("- ", 32), deep("- ", 33)],
      [deep("[", 32, "]"), deep("[", 33, "]")],
      [deep("{ a: ", 32, "}"), deep("{ a: ", 33, "}")],
      [deep("? ", 16), deep("? ", 20_000)],
      [steps(32), steps(33)],
      [`# ${"]".repeat(100)}\n${deep("[", 32, "]")}`, `# ${"]".repeat(20_000)}\n${"[".repeat(20_000)}`],
      [`# ${"[".repeat(100)}\n- x`, deep("- ", 20_000)],
      [`- "${"[".repeat(100)}"`, `- "${"]".repeat(100)}"\n- ${deep("[", 33, "]")}`],
      [`- ${deep("[ #\n ", 31, "]")}`, `- ${deep("[ #\n ", 10_000)}`],
    ] as const) {
      assert.equal(built(few), false, few.slice(0, 40));
      assert.equal(built(many), true, many.slice(0, 40));
    }
    const keys = (count: number) => Array.from({ length: count }, (_, i) => `k${i}: 1`);
    for (const write of [(list: string[]) => `- {${list.join(", ")}}`, (list: string[]) => list.join("\n")]) {
      assert.doesNotMatch(faults(write(keys(1_000))), /keys$/);
      assert.match(faults(write(keys(1_001))), /^policy:\d+:\d+ has a block of more than 1000 keys$/);
    }
  });

  it("what has more values, lines and brackets than any policy is refused where the bound is passed", () => {
    const most = LIMITS.configSigns;
    const rule = '- { rule: a, allow: { ids: ["spiffe://example.org/a"] } }\n';
    const said = (count: number, sign: string) => faults(rule + sign.repeat(count));
    // the rule itself has 12: three marks before a blank, a dash, eight brackets, commas and breaks
    for (const sign of ["\n", "#\n"]) {
      assert.equal(said(most - 12, sign), "accepted", sign);
      assert.match(said(most - 11, sign), /^policy:65526:\d+ more than 65536 values, lines and brackets/, sign);
    }
    for (const sign of ["}", "]", ",", "\\", "!"])
      assert.match(said(most - 11, sign), /^policy:2:65525 more than/, sign);
    for (const shape of [
      "- a\n",
      "- {}\n",
      "a: b\n",
      "&a ",
      "*a ",
      "---\n",
      '"a" ',
      "'a' 'b'\n",
      "@\n",
      "\\",
      "!a ",
      "[{",
    ]) {
      const told = faults(shape.repeat(Math.floor(1_000_000 / shape.length)));
      assert.match(told, /^policy:\d+:\d+ [^\n]{1,200}$/, shape);
    }
    assert.match(faults(`- *${"a".repeat(1_000_000)}`), /^policy:1:3 "\*a{63}" is an alias; write the value out$/);
    assert.ok(faults(`- { rule: a, allow: { ids: ["${"a".repeat(1_000_000)}"] } }`).length < 3_000);
  });

  it("the mode of a set goes to every rule that says none", () => {
    const set = (rest: string) =>
      `mode: audit\nuntil: 2026-12-15T00:00:00Z\nrules:\n  - { rule: a, deny: { via: [x509] }${rest} }\n`;
    const before = Date.parse("2026-12-14T00:00:00Z");
    assert.deepEqual(parsePolicy(set("")).audits(before), ["a"]);
    assert.deepEqual(parsePolicy(set(", mode: enforce")).audits(before), []);
    assert.match(faults("mode: audit\nrules: []\n"), /mode: audit needs "until"/);
    const verdict = (rest: string) =>
      parsePolicy(set(rest).replace("deny", "allow")).decide(peerOf("/web"), { method: "GET", path: "/", now: before })
        .verdict;
    assert.deepEqual([verdict(""), verdict(", mode: enforce")], ["deny", "allow"]);
    const enforced = parsePolicy("mode: enforce\nrules: [{ rule: a, allow: { via: [x509] } }]\n");
    assert.equal(enforced.decide(peerOf("/web"), { method: "GET", path: "/", now: before }).verdict, "allow");
  });

  it("end: true is the last key and nothing but true", () => {
    assert.match(faults("end: true\nrules: []\n"), /end: is not the last key; what follows could be cut off unseen/);
    assert.match(faults("rules: []\nend: yes\n"), /end: is not true/);
    assert.equal(parsePolicy("rules: []\n").sources[0]?.ended, false);
  });

  it("a file speaks only for what is below its prefixes", () => {
    const told = (rule: string, prefix = "spiffe://example.org/ns/shop") =>
      faults([{ file: "shop.yaml", text: `- { rule: r, ${rule} }`, idPrefixes: [prefix] }]);
    for (const rule of [
      'allow: { ids: ["spiffe://example.org/ns/shop"] }',
      'allow: { ids: ["spiffe://example.org/ns/shop/sa/web"] }',
      'allow: { ids: ["spiffe://example.org/ns/shop/*/x"] }',
      'deny: { ids: ["spiffe://example.org/ns/shop/**"], via: [jwt] }',
    ]) {
      assert.equal(told(rule), "accepted", rule);
    }
    for (const rule of [
      'allow: { ids: ["spiffe://example.org/ns/shopping"] }',
      'allow: { ids: ["spiffe://example.org/ns"] }',
      'allow: { ids: ["spiffe://example.com/ns/shop"] }',
      'allow: { ids: ["spiffe://example.org/ns/*/sa/web"] }',
      'allow: { ids: ["spiffe://example.org/ns/**"] }',
      'deny: { ids: ["spiffe://example.org/ns/shop", "spiffe://example.org/other"] }',
      "allow: { trustDomains: [example.org] }",
      "deny: { via: [jwt] }",
      "allow: { anonymous: true }",
    ]) {
      assert.match(told(rule), /is not for this file to say|alone speaks for everybody/, rule);
    }
    const two = (rule: string) =>
      faults([
        { file: "a.yaml", text: `- { rule: r, ${rule} }`, idPrefixes: ["spiffe://a.test", "spiffe://b.test/x"] },
      ]);
    for (const rule of ['ids: ["spiffe://a.test/y", "spiffe://b.test/x/y"]', "trustDomains: [a.test], via: [jwt]"])
      assert.equal(two(`allow: { ${rule} }`), "accepted", rule);
    for (const rule of ['ids: ["spiffe://a.test/y", "spiffe://b.test/y"]', "trustDomains: [b.test], via: [jwt]"])
      assert.match(two(`allow: { ${rule} }`), /is not for this file to say/, rule);
    assert.match(two('allow: { ids: ["web", "spiffe://a.test/y"] }'), /"web" is no SPIFFE ID/);
    assert.equal(told("allow: { trustDomains: [example.org] }", "spiffe://example.org"), "accepted");
    assert.match(told("allow: { trustDomains: [example.com] }", "spiffe://example.org"), /is not for this file to say/);
    assert.match(
      told('allow: { ids: ["spiffe://example.org/ns/shop"] }', "spiffe://example.org/ns/*"),
      /idPrefixes\[0\]/,
    );
  });

  it("names of rules are unique over all files", () => {
    const one = { file: "a.yaml", text: "- { rule: r, allow: { via: [x509] } }" };
    assert.match(faults([one, { ...one, file: "b.yaml" }]), /^b\.yaml:1:\d+ .*"r" \(the first is in a\.yaml\)/);
    assert.equal(faults([one, { file: "b.yaml", text: one.text.replace("rule: r", "rule: s") }]), "accepted");
  });
});

describe("[S-26] reloads", () => {
  const live = parsePolicy([{ file: "a.yaml", text: FILE }]);
  const next = (text: string, file = "a.yaml") => admitReload(live, parsePolicy([{ file, text }]));

  it("the same policy, and one with other rules, may follow", () => {
    assert.ok(next(FILE).ok);
    assert.ok(next(FILE.replace("  - rule: admin\n    allow:", "  - rule: root\n    allow:")).ok);
    assert.ok(admitReload(parsePolicy("[]"), live).ok);
    assert.ok(admitReload(parsePolicy("[]"), parsePolicy("[]")).ok);
  });

  it("no rules after some are refused", () => {
    const verdict = next("rules: []\nend: true\n");
    assert.equal(verdict.ok ? "accepted" : verdict.reason, "policy.no-rules");
  });

  it("a file without its end after one with it is refused, under its own name alone", () => {
    const cut = FILE.replace("end: true\n", "");
    const verdict = next(cut);
    assert.equal(verdict.ok ? "accepted" : verdict.reason, "policy.truncated");
    const second = { file: "b.yaml", text: cut.replaceAll("rule: ", "rule: b-") };
    assert.ok(admitReload(live, parsePolicy([{ file: "a.yaml", text: FILE }, second])).ok);
    assert.ok(
      admitReload(parsePolicy([{ file: "a.yaml", text: cut }]), parsePolicy([{ file: "a.yaml", text: cut }])).ok,
    );
  });

  it("a file without rules that had its end does not come back without it", () => {
    const other = { file: "b.yaml", text: "rules: [{ rule: b, allow: { via: [x509] } }]\n" };
    const empty = parsePolicy([{ file: "a.yaml", text: "rules: []\nend: true\n" }, other]);
    const after = (end: string) =>
      admitReload(
        empty,
        parsePolicy([{ file: "a.yaml", text: `rules: [{ rule: a, deny: { via: [jwt] } }]${end}` }, other]),
      );
    const verdict = after("\n");
    assert.equal(verdict.ok ? "accepted" : verdict.reason, "policy.truncated");
    assert.ok(after("\nend: true\n").ok);
  });

  it("a file with its end does not go away with its rules, and goes without them", () => {
    const kept = { file: "b.yaml", text: FILE.replaceAll("rule: ", "rule: b-") };
    const both = parsePolicy([{ file: "a.yaml", text: FILE }, kept]);
    const verdict = admitReload(both, parsePolicy([kept]));
    assert.equal(verdict.ok ? "accepted" : verdict.reason, "policy.truncated");
    const emptied = parsePolicy([{ file: "a.yaml", text: "rules: []\nend: true\n" }, kept]);
    assert.ok(admitReload(both, emptied).ok);
    assert.ok(admitReload(emptied, parsePolicy([kept])).ok);
  });

  const requests = ["/", "/secret/x", "/orders/7", "/old"].flatMap((path) =>
    ["GET", "POST"].flatMap((method) =>
      ["/web", "/admin", "/guest", "/ops/a"].map((peer) => [peerOf(peer), { method, path, now: 2 ** 42 }] as const),
    ),
  );
  const policies: [title: string, text: string][] = [
    ["block", FILE],
    ["flow", JSON.stringify({ rules: JSON.parse(JSON.stringify(flowRules())), end: true })],
    [
      "flow YAML",
      `{ rules: [${flowRules()
        .map((rule) => JSON.stringify(rule))
        .join(", ")}], end: true }\n`,
    ],
  ];

  function flowRules(): object[] {
    return [
      { rule: "all", allow: { trustDomains: ["example.org"] } },
      { rule: "no-secrets", deny: { trustDomains: ["example.org"] }, path: "/secret/**" },
      { rule: "no-guests", deny: { ids: ["spiffe://example.org/guest"] } },
    ];
  }

  for (const [title, text] of policies) {
    it(`[A-16] a ${title} file cut off at every byte allows nothing that the whole one denies`, () => {
      const whole = parsePolicy([{ file: "a.yaml", text }]);
      const allows = (policy: Policy) =>
        requests.filter(([peer, facts]) => policy.decide(peer, facts).verdict === "allow");
      assert.ok(allows(whole).length > 0 && allows(whole).length < requests.length);
      let read = 0;
      let admitted = 0;
      let dangerous = 0;
      for (let length = 0; length <= text.length; length++) {
        let policy: Policy;
        try {
          policy = parsePolicy([{ file: "a.yaml", text: text.slice(0, length) }]);
        } catch (error) {
          assert.ok(isSpiffeError(error, "ERR_SPIFFE_CONFIG"), String(error));
          continue;
        }
        read++;
        const more = allows(policy).filter((request) => !allows(whole).includes(request));
        if (more.length > 0) dangerous++;
        if (!admitReload(whole, policy).ok) continue;
        admitted++;
        assert.deepEqual(more, [], text.slice(0, length));
      }
      assert.ok(admitted >= 1, "the whole file is admitted");
      // a block file has cuts that parse and would open something: the end mark is what refuses them
      if (title === "block") assert.ok(read > admitted && dangerous > 0, `${read} ${admitted} ${dangerous}`);
    });
  }
});

describe("a candidate beside the live policy", () => {
  it("counts and tells where it differs, and decides nothing", () => {
    const live = Policy.compile([
      { rule: "all", allow: { trustDomains: ["example.org"] } },
      { rule: "no-post", deny: { via: ["x509"] }, methods: ["POST"] },
    ]);
    const shadow = new Shadow(Policy.compile([{ rule: "web", allow: { ids: ["spiffe://example.org/web"] } }]));
    const ask = (path: string, method: string) => {
      const facts = { method, path: "/" };
      return shadow.compare(live.decide(peerOf(path), facts), peerOf(path), facts);
    };
    assert.equal(ask("/web", "GET"), undefined);
    assert.equal(ask("/web", "POST")?.candidate.rule, "web");
    const stricter = ask("/cron", "GET");
    assert.deepEqual([stricter?.live.verdict, stricter?.candidate.verdict], ["allow", "deny"]);
    assert.equal(ask("/cron", "POST"), undefined, "denied by both, by other rules");
    assert.deepEqual(shadow.counters, { same: 2, wouldAllow: 1, wouldDeny: 1 });
  });
});
