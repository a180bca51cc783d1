import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ManualClock } from "../authority/testing.ts";
import { Policy, type PolicyRule, type RequestFacts } from "./index.ts";
import { canonicalPath } from "./path.ts";
import { Draw, dice } from "./random.testing.ts";
import { reference } from "./reference.testing.ts";
import { trace } from "./trace.ts";

describe("policy against its plain reading", () => {
  it("25,000 random policies × 4 requests", () => {
    const draw = new Draw(7);
    const outcomes = new Map<string, number>();
    for (let n = 0; n < 25_000; n++) {
      const rules = draw.rules(6);
      const policy = Policy.compile(rules);
      for (let k = 0; k < 4; k++) {
        const peer = draw.peer();
        const facts = draw.facts();
        const { verdict, rule, mode, audited } = policy.decide(peer, facts);
        const outcome = `${verdict} ${rule ?? "default"}${audited === undefined ? "" : ` audit ${audited.rule}`}`;
        assert.equal(outcome, reference(rules, peer, facts), JSON.stringify({ rules, peer, facts }));
        assert.equal(mode, audited === undefined ? "enforce" : "audit");
        const kind = `${rule === undefined ? "default" : verdict} ${mode}${peer === undefined ? " anonymous" : ""}`;
        outcomes.set(kind, (outcomes.get(kind) ?? 0) + 1);
      }
    }
    for (const [kind, least] of [
      ["allow enforce", 1_000],
      ["deny enforce", 1_000],
      ["default enforce", 1_000],
      ["allow audit", 200],
      ["default audit", 200],
      ["allow enforce anonymous", 50],
      ["deny enforce anonymous", 50],
      ["default enforce anonymous", 1_000],
    ] as const) {
      assert.ok((outcomes.get(kind) ?? 0) > least, `${kind} ${outcomes.get(kind)}`);
    }
  });

  it("among many rules the index finds what a look at each finds, 1,000 random policies of up to 60 rules x 8 requests", () => {
    const draw = new Draw(31);
    const verdicts = { allow: 0, deny: 0 };
    for (let n = 0; n < 1_000; n++) {
      // few deny rules, that many of the requests are allowed
      const rules = Array.from({ length: 1 + draw.roll(60) }, (_, i) =>
        draw.rule(`rule-${i}`, draw.roll(30) === 0 ? "deny" : "allow"),
      );
      const policy = Policy.compile(rules);
      for (let k = 0; k < 8; k++) {
        const [peer, facts] = [draw.peer(), draw.facts()];
        const { verdict, rule, audited } = policy.decide(peer, facts);
        const outcome = `${verdict} ${rule ?? "default"}${audited === undefined ? "" : ` audit ${audited.rule}`}`;
        assert.equal(outcome, reference(rules, peer, facts), JSON.stringify({ rules, peer, facts }));
        verdicts[verdict]++;
      }
    }
    assert.ok(verdicts.allow > 1_600 && verdicts.deny > 1_600, JSON.stringify(verdicts));
  });

  it("a trace names as matching what decides, and nothing that would have", () => {
    const draw = new Draw(13);
    for (let n = 0; n < 5_000; n++) {
      const policy = Policy.compile(draw.rules(6));
      const { decision, rules } = trace(policy, draw.peer(), draw.facts());
      const matching = rules.filter(({ misfit, mode }) => misfit === undefined && mode === "enforce");
      const denies = matching.find(({ effect }) => effect === "deny");
      assert.equal((denies ?? matching[0])?.rule, decision.rule);
      const audits = rules.some(({ misfit, mode, effect }) => {
        return misfit === undefined && mode === "audit" && denies === undefined && effect !== decision.verdict;
      });
      assert.equal(audits, decision.mode === "audit");
    }
  });
});

describe("what more rules do", () => {
  const order = { deny: 0, allow: 1 } as const;
  const wherever = (rules: readonly PolicyRule[], more: PolicyRule, at: number) => [
    ...rules.slice(0, at),
    more,
    ...rules.slice(at),
  ];

  for (const [effect, title] of [
    ["deny", "one more deny rule never allows more"],
    ["allow", "one more allow rule never denies more"],
  ] as const) {
    it(`${title}, 10,000 random policies × 4 requests`, () => {
      const draw = new Draw(effect === "deny" ? 17 : 19);
      let changed = 0;
      for (let n = 0; n < 10_000; n++) {
        const rules = draw.rules(5);
        const before = Policy.compile(rules);
        const after = Policy.compile(wherever(rules, draw.rule("more", effect), draw.roll(rules.length + 1)));
        for (let k = 0; k < 4; k++) {
          const [peer, facts] = [draw.peer(), draw.facts()];
          const [was, is] = [before.decide(peer, facts).verdict, after.decide(peer, facts).verdict];
          const fine = effect === "deny" ? order[is] <= order[was] : order[is] >= order[was];
          assert.ok(fine, JSON.stringify({ rules, peer, facts, was, is }));
          if (is !== was) changed++;
        }
      }
      assert.ok(changed > 500, String(changed));
    });
  }

  it("deny first: where a deny rule alone denies by name, it denies among any others", () => {
    const draw = new Draw(23);
    let denied = 0;
    for (let n = 0; n < 10_000; n++) {
      const deny = draw.rule("deny", "deny");
      const rules = draw.rules(5);
      const [peer, facts] = [draw.peer(), draw.facts()];
      if (Policy.compile([deny]).decide(peer, facts).rule !== "deny") continue;
      denied++;
      const among = Policy.compile(wherever(rules, deny, draw.roll(rules.length + 1)));
      assert.equal(among.decide(peer, facts).verdict, "deny");
    }
    assert.ok(denied > 1_000, String(denied));
  });

  it("what a rule denies stays denied in every other spelling that a server may take for the same, 20,000 random policies", () => {
    const draw = new Draw(43);
    const respelled = (facts: RequestFacts): RequestFacts[] => {
      const { path, method, host, headers } = facts;
      const values = headers?.["x-h"] ?? [];
      const header = (list: readonly string[]) => ({ ...facts, headers: { ...headers, "x-h": list } });
      return [
        ...(path.startsWith("/") && !path.endsWith("/") ? [{ ...facts, path: `${path}/` }] : []),
        ...(path.length > 1 && path.endsWith("/") ? [{ ...facts, path: path.slice(0, -1) }] : []),
        ...(path.includes(":") ? [{ ...facts, path: path.replaceAll(":", "%3A") }] : []),
        ...(path.includes("%3A") ? [{ ...facts, path: path.replaceAll("%3A", ":") }] : []),
        ...[path.replace("/", "//"), path.replace("/", "/./"), path.replace("a", "%61"), `${path};x`, `${path}?x`]
          .filter((one) => one !== path)
          .map((one) => ({ ...facts, path: one })),
        ...(method === "GET" ? [{ ...facts, method: "HEAD" }] : []),
        { ...facts, method: method.toLowerCase() },
        ...(host === undefined ? [] : [`${host}.`, `${host}:443`, host.toUpperCase(), undefined]).map((one) => {
          return { ...facts, host: one };
        }),
        ...(values.length === 0 ? [] : [header(values.map((one) => `\t${one} `)), header([values.join(", ")])]),
        ...(values.length === 0 ? [] : [header(values.flatMap((one) => one.split(","))), header(["q", ...values])]),
        { ...facts, headers: undefined },
        { ...facts, now: Number.NaN },
      ];
    };
    let [tried, allowed] = [0, 0];
    for (let n = 0; n < 20_000; n++) {
      const rules = draw.rules(6);
      const policy = Policy.compile(rules);
      const [peer, facts] = [draw.peer(), draw.facts()];
      const { reason } = policy.decide(peer, facts);
      if (reason === "policy.allowed") allowed++;
      if (reason !== "policy.denied") continue;
      for (const other of respelled(facts)) {
        tried++;
        const is = policy.decide(peer, other);
        assert.equal(is.verdict, "deny", JSON.stringify({ rules, peer, facts, other }));
      }
    }
    assert.ok(tried > 20_000 && allowed > 1_000, `${tried} ${allowed}`);
  });

  it("time only closes: a policy with audits allows later nothing that it denies now, but for windows", () => {
    const draw = new Draw(29);
    let closed = 0;
    for (let n = 0; n < 10_000; n++) {
      const rules = draw.rules(6).map((rule) => ({ ...rule, time: undefined }) as PolicyRule);
      const policy = Policy.compile(rules);
      const [peer, facts] = [draw.peer(), draw.facts()];
      const [now, later] = [100_000, 300_000].map((at) => policy.decide(peer, { ...facts, now: at }).verdict);
      assert.ok(!(now === "deny" && later === "allow"), JSON.stringify(rules));
      if (now === "allow" && later === "deny") closed++;
    }
    assert.ok(closed > 50, String(closed));
  });
});

describe("[S-26] what an audit does to verdicts", () => {
  it("until its end nothing; then its deny rules are as enforced, and its allow rules as never written, 10,000 random policies", () => {
    const draw = new Draw(41);
    const until = 250_000;
    const clock = new ManualClock(0);
    let [opened, closed] = [0, 0];
    for (let n = 0; n < 10_000; n++) {
      const rules = draw.rules(6);
      const live = Policy.compile(rules, { clock });
      const without = Policy.compile(rules.filter(({ mode }) => mode !== "audit"));
      const enforced = rules.filter(({ mode, deny }) => mode !== "audit" || deny !== undefined);
      const after = Policy.compile(
        enforced.map((rule) => ({ ...rule, mode: undefined, until: undefined }) as PolicyRule),
      );
      const [peer, { now: _, ...facts }] = [draw.peer(), draw.facts()];
      for (const now of [until - 1, until, until + 1]) {
        clock.step(now - clock.now());
        const { verdict, rule, audited } = live.decide(peer, facts);
        const twin = (now < until ? without : after).decide(peer, { ...facts, now });
        assert.deepEqual([verdict, rule], [twin.verdict, twin.rule], JSON.stringify({ rules, peer, facts, now }));
        if (now >= until) assert.equal(audited, undefined);
        else if (audited?.verdict === "allow") opened++;
        else if (audited?.verdict === "deny") closed++;
      }
    }
    assert.ok(opened > 50 && closed > 50, `${opened} ${closed}`);
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
