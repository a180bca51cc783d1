/** What the policy's features do at the gateway's door: conditions, callers without identity, files, candidate, authorizer. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, describe, it } from "node:test";
import { isSpiffeError } from "../base/index.ts";
import { SpiffeId } from "../id/index.ts";
import { admitReload, type Policy } from "../policy/index.ts";
import { createFetch } from "../tls/index.ts";
import { TestAuthorizer } from "./authorizer.testing.ts";
import { parseGatewayConfig } from "./config.ts";
import { loadGatewayConfig } from "./config-file.ts";
import { createGateway, type Gateway, type GatewayInput } from "./index.ts";
import { findPolicyFiles, fitsGlob } from "./policy-files.ts";
import {
  type CountingUpstream,
  countingUpstream,
  GATEWAY,
  idOf,
  rawExchange,
  requestLog,
  statusOf,
  until,
  valuesOf,
  World,
} from "./world.testing.ts";

const far = "2099-01-01T00:00:00Z";

describe("policy at the gateway", () => {
  let world: World;
  let upstream: CountingUpstream;
  let authorizer: TestAuthorizer;
  let gateway: Gateway | undefined;
  let close: (() => Promise<void>)[] = [];
  const log = requestLog();

  before(async () => {
    world = await World.create();
    upstream = await countingUpstream();
    authorizer = await TestAuthorizer.start();
  });

  afterEach(async () => {
    for (const one of close) await one();
    close = [];
    await gateway?.close({ deadlineMs: 0 });
    gateway = undefined;
    upstream.seen.length = 0;
    upstream.heads = 0;
    log.lines.length = 0;
    authorizer.reset();
  });

  after(async () => {
    await authorizer.close();
    await upstream.close();
  });

  async function open(
    policy: GatewayInput["policy"],
    clientCertificate: "require" | "optional" = "require",
    limits: GatewayInput["limits"] = {},
  ) {
    gateway = await createGateway(
      {
        status: { port: 0 },
        listen: { address: "127.0.0.1", port: 0, clientCertificate },
        upstreams: { up: { url: upstream.url } },
        routes: [{ name: "up", path: "/**", upstream: "up", audience: [GATEWAY] }],
        policy,
        limits,
      },
      { workload: await world.identity("gateway"), logger: log },
    );
    const { port } = gateway.listeners[0]!;
    return async (name: string, path: string, headers: Record<string, string> = {}) => {
      const call = createFetch(await world.identity(name), { peer: GATEWAY });
      const response = await call(`https://127.0.0.1:${port}${path}`, { headers });
      const text = await response.text();
      return response.status === 200 ? "200" : `${response.status} ${(JSON.parse(text) as { reason?: string }).reason}`;
    };
  }

  /** Status and reason of a request over TLS without a client certificate. */
  function withoutCertificate(path: string, headers: Record<string, string> = {}): Promise<string> {
    const { port } = gateway!.listeners[0]!;
    return new Promise((resolve, reject) => {
      const sent = request(
        {
          host: "127.0.0.1",
          port,
          path,
          rejectUnauthorized: false,
          agent: false,
          headers: { "x-spiffe-id": idOf("web"), ...headers },
        },
        (response) => {
          let text = "";
          response.on("data", (chunk) => {
            text += chunk;
          });
          response.on("end", () =>
            resolve(response.statusCode === 200 ? "200" : `${response.statusCode} ${JSON.parse(text).reason}`),
          );
        },
      );
      sent.on("error", reject);
      sent.end();
    });
  }

  it("headers are judged as the upstream sees them, in every spelling", async () => {
    const call = await open([{ rule: "staged", allow: { ids: [idOf("web")] }, headers: { "x-stage": "test" } }]);
    assert.equal(await call("web", "/", { "x-stage": "test" }), "200");
    assert.equal(await call("web", "/", { X_Stage: "test" }), "200");
    assert.equal(await call("web", "/", { "x-stage": "test", x_stage: "prod" }), "403 policy.default-deny");
    assert.equal(await call("web", "/", {}), "403 policy.default-deny");
    assert.equal(upstream.heads, 2);
  });

  it("a header that was judged does not come once more as a trailer", async () => {
    await open([{ rule: "staged", allow: { ids: [idOf("web")] }, headers: { "x-stage": "test" } }]);
    const head = ["POST / HTTP/1.1", "Host: a", "X-Stage: test", "Transfer-Encoding: chunked", "Connection: close"];
    const text = [...head, "", "1", "a", "0", "x_stage: prod", "x-sum: 1", "", ""].join("\r\n");
    const answered = await rawExchange(await world.identity("web"), gateway!.listeners[0]!.port, text);
    assert.equal(statusOf(answered), 200);
    assert.deepEqual(upstream.seen[0]!.trailers, ["x-sum", "1"]);
  });

  it("a pattern binds the caller's ID to the path", async () => {
    const call = await open([{ rule: "own", allow: { ids: ["spiffe://example.org/{name}"] }, path: "/of/{name}/**" }]);
    assert.equal(await call("web", "/of/web/1"), "200");
    assert.equal(await call("web", "/of/cron/1"), "403 policy.default-deny");
    assert.equal(upstream.heads, 1);
  });

  it("a caller without identity passes only where a rule names it, and goes on without an identity field", async () => {
    await open(
      [
        { rule: "open", allow: { anonymous: true }, path: "/open" },
        { rule: "known", allow: { trustDomains: ["example.org"] } },
      ],
      "optional",
    );
    assert.equal(await withoutCertificate("/open"), "200");
    assert.deepEqual(valuesOf(upstream.seen[0]!.raw, "x-spiffe-id"), []);
    assert.equal(await withoutCertificate("/other"), "401 request.no-credentials");
    assert.equal(upstream.heads, 1);
    await until(() => log.lines.length === 2);
    assert.deepEqual([log.lines[0]?.rule, log.lines[0]?.peer], ["open", undefined]);
  });

  it("[S-27] a caller without identity is not counted, and where the authorizer denies it, it is not asked for one", async () => {
    const rules = [
      { rule: "open", allow: { anonymous: true as const }, path: "/open" },
      { rule: "known", allow: { trustDomains: ["example.org"] } },
    ];
    const limits = { perIdentity: { rate: "1/h", burst: 1 } };
    const call = await open({ rules, authorizer: authorizer.at() }, "optional", limits);
    assert.deepEqual([await withoutCertificate("/open"), await withoutCertificate("/open")], ["200", "200"]);
    assert.deepEqual([await call("web", "/"), await call("web", "/")], ["200", "429 request.rate-limited"]);
    authorizer.answer = (question) => question.say(false);
    assert.equal(await withoutCertificate("/open"), "403 policy.authorizer-denied");
    assert.equal(await withoutCertificate("/other"), "401 request.no-credentials");
  });

  it("[S-18] whose token does not verify is nobody without identity: 401 also where those pass", async () => {
    await open(
      [
        { rule: "open", allow: { anonymous: true }, path: "/open" },
        { rule: "known", allow: { trustDomains: ["example.org"] } },
      ],
      "optional",
    );
    const token = await world.token("web");
    const shows = (value: string) => withoutCertificate("/open", { authorization: value });
    const old = Math.floor(Date.now() / 1_000) - 60;
    assert.equal(await shows(`Bearer ${await world.token("web", { exp: old })}`), "401 jwt.expired");
    assert.equal(await shows(`Bearer ${await world.token("web", { aud: ["other"] })}`), "401 jwt.audience");
    assert.equal(await shows(`Bearer ${await world.token("web", {}, world.strangerKey)}`), "401 jwt.key-not-found");
    assert.equal(await shows("Bearer"), "400 request.authorization");
    assert.equal(upstream.heads, 0);
    assert.equal(await shows(`Bearer ${token}`), "200");
    assert.equal(log.lines.at(-1)?.peer, idOf("web"));
    assert.equal(await shows("Basic eA=="), "200");
    assert.deepEqual([log.lines.at(-1)?.rule, log.lines.at(-1)?.peer], ["open", undefined]);
  });

  it("[S-26] an audited deny lets pass, is logged and warned of", async () => {
    const call = await open([
      { rule: "web", allow: { ids: [idOf("web")] } },
      { rule: "trial", deny: { ids: [idOf("web")] }, path: "/old", mode: "audit", until: far },
    ]);
    assert.equal(await call("web", "/old"), "200");
    await until(() => log.lines.length === 1);
    const { verdict, rule, mode, audited, auditedRule } = log.lines[0]!;
    assert.deepEqual([verdict, rule, mode, audited, auditedRule], ["allow", "web", "audit", "deny", "trial"]);
    assert.deepEqual(gateway!.readiness().warnings, ["rule trial is in audit and not enforced"]);
  });

  it("a candidate's differences are logged, and it decides nothing", async () => {
    const call = await open({
      rules: [{ rule: "all", allow: { trustDomains: ["example.org"] } }],
      candidate: [{ rule: "web-only", allow: { ids: [idOf("web")] } }],
    });
    assert.equal(await call("web", "/"), "200");
    assert.equal(await call("cron", "/"), "200");
    await until(() => log.lines.length === 2);
    assert.deepEqual(
      log.lines.map(({ candidate }) => candidate),
      [undefined, "deny"],
    );
  });

  it("[A-20] an external authorizer denies, adds its headers, and its failure denies with a reason of its own", async () => {
    const call = await open({
      rules: [{ rule: "web", allow: { ids: [idOf("web")] } }],
      authorizer: { ...authorizer.at(), headers: ["x-plan"] },
    });
    authorizer.answer = (question) => question.send(200, '{"allow":true,"headers":{"x-plan":"gold"}}');
    assert.equal(await call("web", "/", { X_Plan: "forged", "x-plan": "forged" }), "200");
    assert.deepEqual(valuesOf(upstream.seen[0]!.raw, "x-plan"), ["gold"]);
    authorizer.answer = (question) => question.send(200, '{"allow":true}');
    assert.equal(await call("web", "/", { "x-plan": "forged" }), "200");
    assert.deepEqual(valuesOf(upstream.seen[1]!.raw, "x-plan"), []);
    authorizer.answer = (question) => question.send(200, '{"allow":false}');
    assert.equal(await call("web", "/"), "403 policy.authorizer-denied");
    authorizer.answer = (question) => question.send(500, '{"allow":true}');
    assert.equal(await call("web", "/"), "403 policy.authorizer-status");
    await until(() => log.lines.at(-1)?.authorizer === "status");
    assert.equal(upstream.heads, 2);
    assert.equal(authorizer.asked.length, 4);
    assert.equal(await call("guest", "/"), "403 policy.default-deny");
    assert.equal(authorizer.asked.length, 4, "what the policy denies is not asked about");
    await until(() => log.lines.length === 5);
    const problem = log.lines.at(-2);
    assert.deepEqual([problem?.reason, problem?.rule], ["policy.authorizer-status", "web"]);
    const { peer, body } = authorizer.asked[0]!;
    assert.deepEqual([peer, body.rule, body.route], [idOf("web"), "web", "up"]);
  });
});

describe("policy of a gateway file", () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "policy-files-"));
    mkdirSync(join(folder, "teams"));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  const base = {
    listen: { port: 8443 },
    upstreams: { a: { url: "http://127.0.0.1:1" } },
    routes: [{ name: "a", path: "/**", upstream: "a" }],
  };
  const rule = (name: string, id: string, rest = "") =>
    `- { rule: ${name}, allow: { ids: ["spiffe://example.org/${id}"] }${rest} }\n`;
  const write = (name: string, text: string) => writeFileSync(join(folder, name), text);
  const load = (policy: unknown) => {
    write("gateway.yaml", JSON.stringify({ ...base, policy, end: true }));
    return loadGatewayConfig(join(folder, "gateway.yaml"), { env: {} });
  };
  const faults = async (policy: unknown) => {
    try {
      await load(policy);
    } catch (error) {
      assert.ok(isSpiffeError(error, "ERR_SPIFFE_CONFIG"), String(error));
      return error.message;
    }
    return "accepted";
  };
  const files = [{ glob: "teams/*.yaml", idPrefixes: ["spiffe://example.org/ns"] }];

  it("takes files by name, beside rules written out", async () => {
    write("teams/b.yaml", rule("b", "ns/b", ", routes: [a]"));
    write("teams/a.yaml", `rules:\n${rule("a", "ns/a")}end: true\n`);
    write("teams/.hidden.yaml", "broken: [");
    const config = await load({ rules: [{ rule: "web", allow: { ids: ["spiffe://example.org/web"] } }], files });
    assert.deepEqual(config.policy.rules, ["web", "a", "b"]);
    const ends = config.policy.sources.map(({ file, ended }) => [file.slice(folder.length + 1) || file, ended]);
    assert.deepEqual(
      ends.slice(1).map(([, ended]) => ended),
      [true, false],
    );
    assert.equal(config.policy.sources[0]?.ended, true);
  });

  it("every fault of every file is told, and nothing is loaded", async () => {
    assert.equal(await faults({ files }), "accepted");
    write("teams/c.yaml", rule("c", "web") + rule("a", "ns/c", ", routes: [b]"));
    const said = await faults({ files });
    rmSync(join(folder, "teams/c.yaml"));
    assert.match(said, /c\.yaml:1:\d+ \[0\]\.allow\.ids\[0\]: is not for this file to say/);
    assert.match(said, /c\.yaml:2:\d+ \[1\]\.rule: a second rule is called "a"/);
    assert.match(said, /there is no route "b"\. Expected: one of a/);
  });

  it("a name without a file, a folder with a star and a set without prefixes are refused", async () => {
    const [one] = files;
    assert.match(
      await faults({ files: [{ ...one, glob: "teams/*.json" }] }),
      /files\[0\]\.glob: .*no policy file has such a name/,
    );
    assert.match(
      await faults({ files: [{ ...one, glob: "none/*.yaml" }] }),
      /none: the folder cannot be read \(ENOENT\)/,
    );
    assert.match(await faults({ files: [{ ...one, glob: "t*/a.yaml" }] }), /not in that of a folder/);
    assert.match(await faults({ files: [{ ...one, glob: "teams/z.yaml" }] }), /cannot be read \(ENOENT\)/);
    assert.match(
      await faults({
        rules: [{ rule: "web", allow: { ids: [idOf("web")] } }],
        files: [{ idPrefixes: one!.idPrefixes }],
      }),
      /files\[0\]: needs "glob"/,
    );
    const unbounded = await faults({ files: [{ glob: "teams/*.yaml" }] });
    assert.match(unbounded, /needs "idPrefixes"; a file may speak only/);
    assert.equal(unbounded.split("\n").length, 1);
    assert.match(await faults({ file: files }), /policy\.file: unknown key \(did you mean "files"\?\)/);
    assert.match(await faults({ mode: "audit", rules: [] }), /needs "until"/);
    const audit = { mode: "audit", until: far };
    const web = { rule: "web", allow: { ids: ["spiffe://example.org/web"] } };
    assert.equal(await faults({ ...audit, rules: [web] }), "accepted");
    assert.equal(await faults({ rules: [{ ...web, ...audit }], files }), "accepted");
    const beside = /policy\.mode: stands beside files; the mode does not reach rules in files, which would be enforced/;
    assert.match(await faults({ ...audit, rules: [web], files }), beside);
    assert.match(
      await faults({ rules: [web], candidate: { ...audit, files } }),
      /policy\.candidate\.mode: stands beside/,
    );
    const looks = { rules: [{ ...web, headers: { X_Plan: "gold" } }] };
    const authorizer = (...headers: string[]) => ({ url: "http://127.0.0.1:1/", headers });
    assert.equal(await faults({ ...looks, authorizer: authorizer("x-other") }), "accepted");
    assert.equal(await faults({ rules: [web], authorizer: authorizer("x-other", "X-Plan") }), "accepted");
    assert.match(
      await faults({ ...looks, authorizer: authorizer("x-other", "X-Plan") }),
      /policy\.authorizer\.headers\[1\]: a rule looks at x-plan; rules are asked before the authorizer/,
    );
    assert.match(
      await faults({ rules: [web], candidate: looks.rules, authorizer: authorizer("x-plan") }),
      /policy\.authorizer\.headers\[0\]: a rule looks at x-plan/,
    );
    assert.match(await faults({ rules: [] }), /policy: holds no rule; every request would be denied/);
    assert.match(
      await faults({ files, candidate: [{ rule: "x" }] }),
      /policy\.candidate\[0\]: neither allows nor denies/,
    );
    assert.match(await faults({ files, authorizer: { url: "http://pdp/" } }), /policy\.authorizer\.url: is plaintext/);
    const level = (value: unknown) => ({ ...base, policy: [{ ...web, claims: { level: value } }] }) as never;
    assert.deepEqual(parseGatewayConfig(level(5)).policy.rules, ["web"]);
    assert.throws(
      () => parseGatewayConfig(level(5n)),
      (error) => isSpiffeError(error, "ERR_SPIFFE_CONFIG") && /what JSON cannot write/.test(error.message),
    );
    assert.throws(() => parseGatewayConfig({ ...base, policy: { files } }), /but the configuration is no file itself/);
  });

  it("end: true stands last", () => {
    const text = JSON.stringify({ end: true, ...base, policy: [{ rule: "w", allow: { via: ["x509"] } }] });
    assert.throws(() => parseGatewayConfig(text, { env: {} }), /end: is not the last key/);
  });

  const TRUNCATED = `listen: { port: 8443 }
upstreams: { a: { url: "http://127.0.0.1:1" } }
routes: [{ name: a, path: "/**", upstream: a }]
policy:
  files:
    - { glob: cut.yaml, idPrefixes: ["spiffe://example.org"] }
  rules:
    - { rule: everybody, allow: { trustDomains: [example.org] } }
    - rule: no-guests
      deny: { ids: ["spiffe://example.org/guest"] }
      path: "/orders/**"
end: true
`;
  const CUT = `rules:
  - { rule: more, allow: { trustDomains: [example.org] }, methods: [PUT] }
  - rule: no-put-by-web
    deny: { ids: ["spiffe://example.org/web"] }
    path: "/orders/**"
end: true
`;
  for (const [title, whichIsCut] of [
    ["gateway file", 0],
    ["policy file beside a gateway file", 1],
  ] as const) {
    it(`[A-16] a ${title} cut off at every byte follows the whole one with nothing that it denies`, () => {
      const read = (gatewayFile: string, policyFile: string) =>
        parseGatewayConfig(gatewayFile, { env: {}, readPolicyFiles: () => [{ file: "cut.yaml", text: policyFile }] });
      const whole = read(TRUNCATED, CUT);
      const requests = ["web", "guest"].flatMap((who) => {
        const id = SpiffeId.parse(`spiffe://example.org/${who}`);
        const peer = { via: "x509", id, expiresAt: new Date(2 ** 42) } as const;
        return ["GET", "PUT"].flatMap((method) =>
          ["/", "/orders/7"].map((path) => [peer, { method, path, now: 0 }] as const),
        );
      });
      const allows = (policy: Policy) =>
        requests.filter(([peer, facts]) => policy.decide(peer, facts).verdict === "allow");
      assert.ok(allows(whole.policy).length > 0 && allows(whole.policy).length < requests.length);
      let [admitted, dangerous] = [0, 0];
      const text = whichIsCut === 0 ? TRUNCATED : CUT;
      for (let length = 0; length <= text.length; length++) {
        const cut = text.slice(0, length);
        let next: Policy;
        try {
          next = (whichIsCut === 0 ? read(cut, CUT) : read(TRUNCATED, cut)).policy;
        } catch (error) {
          assert.ok(isSpiffeError(error, "ERR_SPIFFE_CONFIG"), String(error));
          continue;
        }
        const more = allows(next).filter((request) => !allows(whole.policy).includes(request));
        if (more.length > 0) dangerous++;
        if (!admitReload(whole.policy, next).ok) continue;
        admitted++;
        assert.deepEqual(more, [], cut);
      }
      assert.ok(admitted >= 1 && dangerous > 0, `${admitted} ${dangerous}`);
    });
  }

  it("a star is any run of characters, and each part of the name is used once", () => {
    for (const [pattern, name, fits] of [
      ["*.yaml", "a.yaml", true],
      ["*.yaml", ".yaml", true],
      ["*.yaml", "a.yml", false],
      ["a*b*c", "abc", true],
      ["a*b*c", "a--b--c", true],
      ["a*b*c", "acb", false],
      ["a*.yaml", "b.yaml", false],
      ["*ab*b", "abb", true],
      ["*ab*b", "ab", false],
      ["ab*ba", "aba", false],
      ["*a*a*", "a", false],
      ["*a*a*", "aa", true],
      ["a.yaml", "a.yaml", true],
      ["a.yaml", "b.yaml", false],
    ] as const) {
      assert.equal(fitsGlob(pattern, name), fits, `${pattern} ${name}`);
    }
    const hostile = `${"*a".repeat(2_000)}*b`;
    assert.equal(fitsGlob(hostile, "a".repeat(4_000)), false);
    assert.deepEqual(findPolicyFiles("plain.yaml", folder), ["plain.yaml"]);
  });
});
