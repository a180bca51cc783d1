/** The policy command, its documentation and its schema: what docs/policy.md shows is what happens. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, describe, it } from "node:test";
import { parse } from "yaml";
import { parsePolicy } from "../src/policy/index.ts";
import { schemaFaults } from "./support/json-schema.ts";
import { onThisRuntime, root, runProgram, spiffeEdge } from "./support/programs.ts";

const guide = readFileSync(`${root}docs/policy.md`, "utf8");
const schema = JSON.parse(readFileSync(`${root}src/policy/policy.schema.json`, "utf8")) as Record<string, unknown>;
const files = [...guide.matchAll(/```yaml\n# file: (\S+)\n([\s\S]*?)```/g)].map(([, name = "", text = ""]) => ({
  name,
  text,
}));

let folder: string;

before(() => {
  folder = mkdtempSync(join(tmpdir(), "policy-"));
  for (const { name, text } of files) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
});

after(() => rmSync(folder, { recursive: true, force: true }));

/** The words of a command line, in which nothing is quoted. */
const words = (line: string) => line.trim().split(/\s+/).slice(1);
const run = (args: readonly string[], input = "") => spiffeEdge(args, { cwd: folder, input });
const write = (name: string, text: string) => writeFileSync(join(folder, name), text);

describe("docs/policy.md", () => {
  const commands = [...guide.matchAll(/```console\n\$ (.+)\n([\s\S]*?)```/g)];

  it("has files and commands to run", () => {
    assert.ok(files.length >= 4 && commands.length >= 4);
  });

  for (const [, command = "", output = ""] of commands) {
    it(`${command} prints what it says`, async () => {
      const ended = await run(words(command));
      assert.equal(ended.stderr, "");
      assert.equal(ended.stdout, output);
      assert.equal(ended.code, 0);
    });
  }

  it("its program prints both verdicts", async () => {
    const [, program = ""] = /```ts\n([\s\S]*?)```/.exec(guide) ?? [];
    const file = join(root, "tmp", `policy-guide-${process.pid}.ts`);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, program);
    try {
      const ended = await runProgram(onThisRuntime(file.slice(root.length)));
      assert.match(ended.stdout, /rule: "?'?own-tenant-only[\s\S]*\npolicy\.default-deny\n$/, ended.stderr);
    } finally {
      rmSync(file);
    }
  });
});

describe("spiffe-edge policy", () => {
  it("[S-26] check tells every fault of every file with its place, and ends with 2", async () => {
    write("good.yaml", '- { rule: web, allow: { ids: ["spiffe://example.org/web"] } }\n');
    write("istio.yaml", '- { rule: web, allow: { ids: ["example.org/web"] } }\n- { rule: b, allow: {} }\n');
    write("alias.yaml", "- &a { rule: c, allow: { anonymous: true } }\n- *a\n");
    const good = await run(["policy", "check", "good.yaml"]);
    assert.equal(good.code, 0, good.stderr);
    assert.equal(good.stdout, "good.yaml (without end: true): 1 rule\n");
    const bad = await run(["policy", "check", "good.yaml", "istio.yaml", "alias.yaml", "none.yaml"]);
    assert.equal(bad.code, 2);
    assert.match(bad.stderr, /^(?:spiffe-edge: )?none\.yaml: the policy file cannot be read \(ENOENT\)$|alias\.yaml:/m);
    assert.match(bad.stderr, /alias\.yaml:1:\d+ "&a" is an anchor/);
    assert.match(
      bad.stderr,
      /istio\.yaml:1:\d+ \[0\]\.allow\.ids\[0\]: .*did you mean "spiffe:\/\/example\.org\/web"\?/,
    );
    assert.match(
      bad.stderr,
      /istio\.yaml:1:\d+ \[0\]\.rule: a second rule is called "web" \(the first is in good\.yaml\)/,
    );
    assert.match(bad.stderr, /istio\.yaml:2:\d+ \[1\]\.allow: does not say who/);
  });

  it("check finds a policy file that speaks for others", async () => {
    write("teams/other.yaml", '- { rule: other, allow: { ids: ["spiffe://example.org/ns/other/x"] } }\n');
    const ended = await run(["policy", "check", "gateway.yaml"]);
    rmSync(join(folder, "teams/other.yaml"));
    assert.equal(ended.code, 2, ended.stdout);
    assert.match(ended.stderr, /teams\/other\.yaml:1:\d+ \[0\]\.allow\.ids\[0\]: is not for this file to say/);
    assert.equal((await run(["policy", "check", "gateway.yaml"])).code, 0);
  });

  it("test ends with 1 where a fixture does not hold, and says what came instead", async () => {
    const text = files.find(({ name }) => name === "shop-test.yaml")!.text;
    write(
      "wrong.yaml",
      text.replace("path: /reports/other/2026, expect: deny", "path: /reports/other/2026, expect: allow"),
    );
    const ended = await run(["policy", "test", "wrong.yaml"]);
    assert.equal(ended.code, 1, ended.stderr);
    assert.match(ended.stdout, /✗ acme reads no other: verdict deny instead of allow \(deny by policy\.default-deny\)/);
    assert.match(ended.stdout, /\n6 of 7 fixtures hold\n$/);
  });

  it("test refuses fixtures that could not fail", async () => {
    for (const [text, message] of [
      ["policy: shop.yaml\nfixtures: []\n", /fixtures: is empty/],
      ["policy: shop.yaml\nfixtures:\n  - { path: / }\n", /says no verdict/],
      ["policy: shop.yaml\nfixtures:\n  - { path: /, expect: allowed }\n", /says no verdict/],
      ["policy: shop.yaml\nfixtures:\n  - { pth: /, expect: allow }\n", /did you mean "path"/],
      ["fixtures:\n  - { path: /, expect: allow }\n", /to name its policy/],
    ] as const) {
      write("odd.yaml", text);
      const ended = await run(["policy", "test", "odd.yaml"]);
      assert.equal(ended.code, 2, ended.stdout);
      assert.match(ended.stderr, message);
    }
  });

  it("explain takes a request as JSON from stdin", async () => {
    const input = JSON.stringify({ peer: "spiffe://example.org/web", via: "jwt", method: "DELETE", path: "/orders/7" });
    const ended = await run(["policy", "explain", "--policy", "shop.yaml", "--input", "-", "--json"], input);
    assert.equal(ended.code, 0, ended.stderr);
    const told = JSON.parse(ended.stdout) as { decision: object; rules: { rule: string; misfit?: string }[] };
    assert.deepEqual(told.decision, {
      verdict: "deny",
      reason: "policy.denied",
      rule: "no-delete-by-token",
      mode: "enforce",
    });
    assert.deepEqual(
      told.rules.filter(({ misfit }) => misfit === undefined).map(({ rule }) => rule),
      ["no-delete-by-token"],
    );
  });

  it("explain finds a request in the access log, and says what the log cannot tell", async () => {
    write(
      "staged.yaml",
      '- { rule: staged, allow: { ids: ["spiffe://example.org/web"] }, headers: { x-stage: prod } }\n',
    );
    const line = (fields: object) =>
      JSON.stringify({ time: "2026-11-26T12:00:00.000Z", level: "info", message: "request", ...fields });
    const judged = {
      requestId: "r-1",
      method: "GET",
      path: "/orders/7",
      peer: "spiffe://example.org/web",
      via: "x509",
    };
    write(
      "access.log",
      [
        "not json at all r-1",
        line({ ...judged, requestId: "r-10" }),
        JSON.stringify({ requestId: "r-1", message: "another line", peer: "spiffe://example.org/else", path: "/" }),
        line({ ...judged, verdict: "allow", reason: "policy.allowed", rule: "staged" }),
        line({ requestId: "r-2", reason: "request.target" }),
        line({ ...judged, requestId: "r-4", verdict: "deny", reason: "policy.default-deny" }),
        line({ ...judged, requestId: "r-5", verdict: "deny", reason: "policy.authorizer-denied", rule: "staged" }),
      ].join("\n"),
    );
    const ask = (id: string, ...more: string[]) =>
      run(["policy", "explain", "--policy", "staged.yaml", "--request", id, "--log", "access.log", ...more]);
    const bare = await ask("r-1");
    assert.match(bare.stdout, /^deny {2}policy\.default-deny/);
    assert.match(bare.stdout, /staged +allow +headers does not fit/);
    assert.match(bare.stdout, /note: .*taken as absent: x-stage \(give --header\)/);
    assert.match(bare.stdout, /^was {2}the log says allow \(staged\): the policy or what it looked at was another$/m);
    const whole = await ask("r-1", "--header", "X-Stage=prod");
    assert.match(whole.stdout, /^allow {2}policy\.allowed: rule staged allows/);
    assert.match(whole.stdout, /^same {2}the log says allow too, by the same rule$/m);
    assert.doesNotMatch(whole.stdout, /note:/);
    assert.match((await ask("r-4")).stdout, /^same {2}the log says deny too, by policy\.default-deny$/m);
    const opened = JSON.parse((await ask("r-4", "--header", "X-Stage=prod", "--json")).stdout) as Record<
      string,
      unknown
    >;
    assert.deepEqual([opened.same, opened.logged], [false, { verdict: "deny", reason: "policy.default-deny" }]);
    const elsewhere = await ask("r-5", "--header", "X-Stage=prod");
    assert.match(elsewhere.stdout, /^was {2}the log says deny \(policy\.authorizer-denied\): the external authorizer/m);
    const early = await ask("r-2");
    assert.equal(early.code, 2);
    assert.match(early.stderr, /r-2 was refused before with request\.target/);
    assert.match((await ask("r-3")).stderr, /no line holds it/);
  });
});

describe("policy.schema.json", () => {
  const good = { rule: "r", allow: { ids: ["spiffe://example.org/ns/{tenant}/sa/*"] }, path: "/a/{tenant}/**" };
  const refusedBySchema = (rules: unknown) => schemaFaults(schema, schema, rules).length > 0;
  const refusedByLoader = (rules: unknown) => {
    try {
      parsePolicy(JSON.stringify(rules));
      return false;
    } catch {
      return true;
    }
  };

  it("accepts every example of the documentation", () => {
    for (const { name, text } of [
      ...files,
      { name: "gateway.yaml", text: readFileSync(`${root}examples/gateway.yaml`, "utf8") },
    ]) {
      if (name.includes("test")) continue;
      const value = parse(text) as { policy?: unknown };
      const target = name.includes("gateway") ? { $ref: "#/$defs/gatewayPolicy" } : schema;
      assert.deepEqual(schemaFaults(schema, target, name.includes("gateway") ? value.policy : value), [], name);
    }
  });

  const full = {
    ...good,
    methods: ["GET", "M-SEARCH"],
    hosts: ["orders.example.org", "*.example.org", "[::1]"],
    headers: { "x-tenant": "{tenant}", "x-stage": ["test*", "a{tenant}b", "a/{tenant}/b*"] },
    claims: { tenant: "{tenant}", level: [1, "2", true], realm: { roles: ["admin"] } },
    time: { from: "2026-12-01T00:00:00Z" },
    routes: ["orders"],
    mode: "audit",
    until: "2026-12-15T00:00:00+01:00",
  };
  const deny = { rule: "d", deny: { via: ["jwt"], anonymous: true } };

  it("accepts what the loader accepts", () => {
    for (const rules of [[], [good], [full, deny], { rules: [full], mode: "enforce", end: true }]) {
      assert.deepEqual(schemaFaults(schema, schema, rules), []);
      assert.equal(refusedByLoader(rules), false, JSON.stringify(rules));
    }
    for (const path of ["/", "/**", "/a", "/a/", "/a/*", "/*/b", "/a/*/**", "/a%20b/~c", "/{tenant}/**"]) {
      const rule = {
        ...good,
        path: path.includes("{") ? path : undefined,
        allow: path.includes("{") ? good.allow : { via: ["x509"] },
      };
      const rules = [{ ...rule, ...(path.includes("{") ? {} : { path }) }];
      assert.deepEqual(schemaFaults(schema, schema, rules), [], path);
      assert.equal(refusedByLoader(rules), false, path);
    }
  });

  const bad: [title: string, rules: unknown][] = [
    ["an unknown key", [{ ...good, method: ["GET"] }]],
    ["no name", [{ ...good, rule: undefined }]],
    ["a name with a space", [{ ...good, rule: "a b" }]],
    ["neither allow nor deny", [{ rule: "r" }]],
    ["both", [{ ...good, deny: deny.deny }]],
    ["nobody", [{ rule: "r", allow: {} }]],
    ["an unknown principal", [{ rule: "r", allow: { id: ["spiffe://example.org/web"] } }]],
    ["no IDs", [{ rule: "r", allow: { ids: [] } }]],
    ["an ID without scheme", [{ rule: "r", allow: { ids: ["example.org/web"] } }]],
    ["a trust domain as ID", [{ rule: "r", allow: { ids: ["spiffe://example.org"] } }]],
    ["a wildcard trust domain", [{ rule: "r", allow: { ids: ["spiffe://*/web"] } }]],
    ["a wildcard inside a segment", [{ rule: "r", allow: { ids: ["spiffe://example.org/web-*"] } }]],
    ["** before the end", [{ rule: "r", allow: { ids: ["spiffe://example.org/**/a"] } }]],
    [
      "IDs and trust domains",
      [{ rule: "r", allow: { ids: ["spiffe://example.org/a"], trustDomains: ["example.org"] } }],
    ],
    ["an unknown kind", [{ rule: "r", allow: { via: ["mtls"] } }]],
    ["anonymous: false", [{ rule: "r", allow: { anonymous: false } }]],
    ["a small method", [{ ...good, methods: ["get"] }]],
    ["a method twice", [{ ...good, methods: ["GET", "GET"] }]],
    ["a host with a port", [{ ...good, hosts: ["a.example:443"] }]],
    ["a path without slash", [{ ...good, path: "a" }]],
    ["a path with an empty segment", [{ ...good, path: "/a//b" }]],
    ["a path with a wildcard inside a segment", [{ ...good, path: "/{tenant}/a*" }]],
    ["no headers", [{ ...good, headers: {} }]],
    ["a secret header", [{ ...good, headers: { authorization: "x" } }]],
    ["a star inside a value", [{ ...good, headers: { "x-a": "a*b" } }]],
    ["a star behind a capture", [{ ...good, headers: { "x-a": "{tenant}*" } }]],
    ["a number as header", [{ ...good, headers: { "x-a": 1 } }]],
    ["a claim that is null", [{ ...good, claims: { a: null } }]],
    ["no claims", [{ ...good, claims: {} }]],
    ["an empty window", [{ ...good, time: {} }]],
    ["a window without zone", [{ ...good, time: { from: "2026-12-01T00:00:00" } }]],
    ["an unknown mode", [{ ...good, mode: "dry" }]],
    ["an audit without end", [{ ...good, mode: "audit" }]],
    ["an end without audit", [{ ...good, until: "2026-12-15T00:00:00Z" }]],
    ["a set without rules", { mode: "enforce" }],
    ["a set with an unknown key", { rules: [good], ends: true }],
    ["end: false", { rules: [good], end: false }],
    ["no list", "all"],
  ];
  for (const [title, rules] of bad) {
    it(`refuses ${title}, as the loader does`, () => {
      const plain = JSON.parse(JSON.stringify(rules)) as unknown;
      assert.equal(refusedByLoader(plain), true);
      assert.equal(refusedBySchema(plain), true);
    });
  }
});
