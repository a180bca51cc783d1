import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "node:test";
import { createFetch } from "../tls/index.ts";
import type { GatewayInput } from "./config-types.ts";
import { createGateway } from "./gateway.ts";
import type { Gateway } from "./gateway-types.ts";
import {
  type Changeable,
  type CountingUpstream,
  countingUpstream,
  GATEWAY,
  http2Once,
  idOf,
  rawExchange,
  rawRequest,
  requestLog,
  statusOf,
  until,
  valuesOf,
  World,
} from "./world.testing.ts";

describe("gateway over mTLS", () => {
  let world: World;
  let upstream: CountingUpstream;
  let gateway: Gateway;
  let web: Changeable;
  let guest: Changeable;
  let partner: Changeable;
  const log = requestLog();
  const port = (name = "mesh") => gateway.listeners.find((listener) => listener.name === name)!.port;

  before(async () => {
    world = await World.create();
    upstream = await countingUpstream((request, response) => {
      if (request.url === "/orders/sly") {
        response.writeHead(200, {
          "X-Spiffe-Id": idOf("admin"),
          "x-forwarded-client-cert": "URI=evil",
          connection: "x-secret-hop",
          "x-secret-hop": "1",
          "x-kept": "1",
        });
      }
      response.end("ok");
    });
    [web, guest, partner] = await Promise.all([
      world.identity("web"),
      world.identity("guest"),
      world.identity("web", "partner.example"),
    ]);
    const config: GatewayInput = {
      status: { port: 0 },
      accessLog: { everyRefusal: true },
      listen: [
        { name: "mesh", address: "127.0.0.1", port: 0 },
        { name: "edge", address: "127.0.0.1", port: 0, clientCertificate: "none" },
        { name: "either", address: "127.0.0.1", port: 0, clientCertificate: "optional" },
      ],
      upstreams: { orders: { url: upstream.url } },
      routes: [
        { name: "orders", path: "/orders/**", audience: [GATEWAY], upstream: "orders" },
        { name: "certificates", listen: ["mesh"], path: "/certificates/**", upstream: "orders" },
        { name: "admin", listen: ["mesh"], path: "/admin", upstream: "orders" },
      ],
      policy: [
        {
          rule: "web-reads",
          allow: { ids: [idOf("web")] },
          methods: ["GET", "POST"],
          routes: ["orders", "certificates"],
        },
        { rule: "cron-by-token", allow: { ids: [idOf("cron")], via: ["jwt"] }, methods: ["GET"], path: "/orders/**" },
        { rule: "no-secret", deny: { trustDomains: ["example.org"] }, path: "/orders/secret" },
        { rule: "admin", allow: { ids: [idOf("admin")] }, path: "/admin" },
      ],
    };
    gateway = await createGateway(config, { workload: await world.identity("gateway"), logger: log });
  });
  beforeEach(() => {
    upstream.seen.length = 0;
    upstream.heads = 0;
    log.lines.length = 0;
  });
  after(async () => {
    await gateway?.close({ deadlineMs: 0 });
    await upstream?.close();
  });

  const call = (identity: Changeable, path = "/orders/1", init: RequestInit = {}, listener = "mesh") =>
    createFetch(identity, { peer: GATEWAY })(`https://127.0.0.1:${port(listener)}${path}`, init);
  const bearer = (token: string, extra: Record<string, string> = {}) => ({
    headers: { authorization: `Bearer ${token}`, ...extra },
  });

  /** The exact refusal: status, reason, nothing upstream, one log line. */
  async function refused(answer: Promise<Response>, status: number, reason: string): Promise<Response> {
    const response = await answer;
    const problem = (await response.json()) as { status: number; reason: string; requestId: string };
    assert.equal(`${response.status} ${problem.reason}`, `${status} ${reason}`);
    assert.equal(response.headers.get("content-type"), "application/problem+json");
    assert.equal(problem.status, status);
    assert.equal(upstream.heads, 0);
    await until(() => log.lines.length > 0);
    assert.equal(log.lines.length, 1);
    assert.equal(log.lines[0]?.status, status);
    assert.equal(log.lines[0]?.requestId, problem.requestId);
    log.lines.length = 0;
    return response;
  }
  async function accepted(answer: Promise<Response>, peer: string): Promise<void> {
    const response = await answer;
    assert.equal(`${response.status} ${await response.text()}`, "200 ok");
    assert.equal(upstream.seen.length, 1);
    assert.deepEqual(valuesOf(upstream.seen[0]!.raw, "x-spiffe-id"), [peer]);
    await until(() => log.lines.at(-1)?.peer === peer);
  }

  describe("policy", () => {
    it("[S-21] an allowed caller reaches the upstream, which sees who it is; another does not", async () => {
      await refused(call(guest), 403, "policy.default-deny");
      await accepted(call(web), idOf("web"));
      const { requestId, ...line } = log.lines[0]!;
      assert.match(String(requestId), /^[0-9a-f-]{36}$/);
      const { durationMs, upstreamMs, address, ...rest } = JSON.parse(JSON.stringify(line));
      assert.ok(durationMs > 0 && upstreamMs > 0 && upstreamMs <= durationMs);
      assert.equal(address, "127.0.0.1");
      assert.deepEqual(rest, {
        listener: "mesh",
        route: "orders",
        method: "GET",
        path: "/orders/1",
        host: "127.0.0.1",
        status: 200,
        peer: idOf("web"),
        via: "x509",
        verdict: "allow",
        reason: "policy.allowed",
        rule: "web-reads",
        mode: "enforce",
        complete: true,
        bytesIn: 0,
        bytesOut: 2,
      });
    });
    it("the same path in another trust domain is another caller", async () => {
      await refused(call(partner), 403, "policy.default-deny");
      await accepted(call(web), idOf("web"));
    });
    it("a method that no rule allows", async () => {
      await refused(call(web, "/orders/1", { method: "DELETE" }), 403, "policy.default-deny");
      await accepted(call(web, "/orders/1", { method: "POST" }), idOf("web"));
    });
    it("deny wins, and the caller is not told the rule", async () => {
      const response = call(web, "/orders/secret");
      const copy = response.then((answer) => answer.clone().text());
      await refused(response, 403, "policy.denied");
      assert.doesNotMatch(await copy, /no-secret/);
      await accepted(call(web, "/orders/secre"), idOf("web"));
    });
    it("a path without route", async () => {
      await refused(call(web, "/other"), 404, "request.no-route");
      await refused(call(web, "/ordersx"), 404, "request.no-route");
      await accepted(call(web, "/orders"), idOf("web"));
    });
    it("a route of another listener", async () => {
      const token = await world.token("web");
      await refused(call(web, "/certificates/1", bearer(token), "edge"), 404, "request.no-route");
      await accepted(call(web, "/certificates/1"), idOf("web"));
    });
  });

  describe("tokens", () => {
    const table: [title: string, token: () => Promise<string>, reason: string][] = [
      ["for another audience", () => world.token("cron", { aud: ["other"] }), "jwt.audience"],
      ["without audience", () => world.token("cron", { aud: undefined }), "jwt.audience-missing"],
      ["expired", () => world.token("cron", { exp: Math.floor(Date.now() / 1_000) - 60 }), "jwt.expired"],
      ["without expiry", () => world.token("cron", { exp: undefined }), "jwt.expiry-missing"],
      ["of a key that is in no bundle", () => world.token("cron", {}, world.strangerKey), "jwt.key-not-found"],
      [
        "of a foreign key under a known name",
        () => world.token("cron", {}, world.strangerKey, { kid: world.key.kid }),
        "jwt.signature",
      ],
      ["with algorithm none", () => world.token("cron", {}, world.key, { alg: "none" }), "jwt.algorithm"],
      [
        "of a trust domain without bundle",
        () => world.token("cron", { sub: idOf("cron", "partner.example") }),
        "jwt.no-bundle",
      ],
      ["of another type", () => world.token("cron", {}, world.key, { typ: "wit+jwt" }), "jwt.type"],
      ["that is none", async () => "abc", "jwt.malformed"],
    ];
    for (const [title, token, reason] of table) {
      it(`[S-18] [A-13] a token ${title} is 401 without certificate, and over a good one`, async () => {
        const bad = await token();
        const good = await world.token("cron");
        for (const [listener, caller] of [
          ["edge", web],
          ["mesh", web],
        ] as const) {
          const response = await refused(call(caller, "/orders/1", bearer(bad), listener), 401, reason);
          assert.equal(
            response.headers.get("www-authenticate"),
            `Bearer error="invalid_token", error_description="${reason}"`,
          );
          upstream.seen.length = 0;
          await accepted(
            call(caller, "/orders/1", bearer(good), listener),
            listener === "edge" ? idOf("cron") : idOf("web"),
          );
          upstream.heads = 0;
          log.lines.length = 0;
        }
      });
    }
    it("[S-18] no credentials: 401 with the way to get in", async () => {
      const response = await refused(call(web, "/orders/1", {}, "edge"), 401, "request.no-credentials");
      assert.equal(response.headers.get("www-authenticate"), 'Bearer realm="spiffe"');
      await accepted(call(web, "/orders/1", bearer(await world.token("cron")), "edge"), idOf("cron"));
    });
    it("[S-18] a certificate is a credential where it is optional", async () => {
      await accepted(call(web, "/orders/1", {}, "either"), idOf("web"));
    });
    it("[S-18] two Authorization fields: 400, whatever they hold", async () => {
      const token = await world.token("cron");
      const one = `Authorization: Bearer ${token}`;
      const two = await rawExchange(web, port(), rawRequest("/orders/1", [one, one]));
      assert.equal(statusOf(two), 400);
      assert.match(two, /request\.authorization/);
      assert.equal(upstream.heads, 0);
      assert.equal(statusOf(await rawExchange(web, port(), rawRequest("/orders/1", [one]))), 200);
      const mixed = rawRequest("/certificates/1", ["Authorization: Basic eA==", "authorization: Basic eA=="]);
      assert.equal(statusOf(await rawExchange(web, port(), mixed)), 400);
    });
    it("[S-18] a token in a query is no credential", async () => {
      const token = await world.token("cron");
      await refused(call(web, `/orders/1?access_token=${token}`, {}, "edge"), 401, "request.no-credentials");
      await accepted(call(web, "/orders/1", bearer(token), "edge"), idOf("cron"));
    });
    it("[A-13] with both, the certificate's identity counts, and a rule may mean the token", async () => {
      const cron = await world.token("cron");
      const webToken = await world.token("web");
      // guest's certificate is allowed nothing; a token of web does not help, as that rule means the peer itself
      await refused(call(guest, "/orders/1", bearer(webToken)), 403, "policy.default-deny");
      // the rule for cron says via: [jwt]
      await accepted(call(guest, "/orders/1", bearer(cron)), idOf("guest"));
      assert.equal(log.lines[0]?.token, idOf("cron"));
      assert.equal(log.lines[0]?.rule, "cron-by-token");
    });
    it("[S-21] [A-13] the upstream never sees the token; another Authorization goes on", async () => {
      const token = await world.token("web");
      await accepted(call(web, "/orders/1", bearer(token)), idOf("web"));
      assert.deepEqual(valuesOf(upstream.seen[0]!.raw, "authorization"), []);
      upstream.seen.length = 0;
      await accepted(call(web, "/certificates/1", bearer(token)), idOf("web"));
      assert.deepEqual(valuesOf(upstream.seen[0]!.raw, "authorization"), []);
      upstream.seen.length = 0;
      await accepted(call(web, "/orders/1", { headers: { authorization: "Basic eA==" } }), idOf("web"));
      assert.deepEqual(valuesOf(upstream.seen[0]!.raw, "authorization"), ["Basic eA=="]);
    });
    it("no token and no claim in any log line", async () => {
      const token = await world.token("cron", { secretclaim: "hidden" });
      await (await call(web, "/orders/1", bearer(token), "edge")).text();
      await (await call(web, "/orders/1", bearer(`${token}x`), "edge")).text();
      await until(() => log.lines.length === 2);
      const text = JSON.stringify(log.lines);
      assert.ok(!text.includes(token.split(".")[2]!) && !text.includes("hidden"));
    });
  });

  describe("[A-11] identity fields", () => {
    const claims = [
      "X-Spiffe-Id",
      "x-spiffe-id",
      "X_Spiffe_Id",
      "X-Spiffe_Id",
      "X-Forwarded-Client-Cert",
      "X_Forwarded_Client_Cert",
    ];
    it("HTTP/1.1: the upstream sees exactly one, the verified one", async () => {
      const fields = [...claims.map((name) => `${name}: ${idOf("admin")}`), "Connection: x-spiffe-id"];
      assert.equal(statusOf(await rawExchange(web, port(), rawRequest("/orders/1", fields))), 200);
      const { raw } = upstream.seen[0]!;
      assert.deepEqual(valuesOf(raw, "x-spiffe-id"), [idOf("web")]);
      assert.deepEqual(valuesOf(raw, "x-forwarded-client-cert"), []);
    });
    it("HTTP/2: the same", async () => {
      const headers = {
        ":path": "/orders/1",
        "x-spiffe-id": [idOf("admin"), idOf("root")],
        x_spiffe_id: idOf("admin"),
        x_forwarded_client_cert: "URI=x",
      };
      const { status, text } = await http2Once(web, port(), headers);
      assert.equal(`${status} ${text}`, "200 ok");
      const { raw } = upstream.seen[0]!;
      assert.deepEqual(valuesOf(raw, "x-spiffe-id"), [idOf("web")]);
      assert.deepEqual(valuesOf(raw, "x-forwarded-client-cert"), []);
    });
    it("trailers of HTTP/1.1 and HTTP/2", async () => {
      const chunked = [
        "POST /orders/1 HTTP/1.1",
        "Host: a",
        "Transfer-Encoding: chunked",
        "Trailer: x-spiffe-id, x-sum",
        "Connection: close",
        "",
        "2",
        "hi",
        "0",
        `X-Spiffe-Id: ${idOf("admin")}`,
        "X-Sum: 1",
        "",
        "",
      ];
      assert.equal(statusOf(await rawExchange(web, port(), chunked.join("\r\n"))), 200);
      const trailers = { "x-spiffe-id": idOf("admin"), "x-sum": "2" };
      const { status } = await http2Once(web, port(), { ":path": "/orders/1", ":method": "POST" }, "hi", trailers);
      assert.equal(status, 200);
      assert.deepEqual(
        upstream.seen.map(({ bytes, trailers }) => [
          bytes,
          valuesOf(trailers, "x-sum"),
          valuesOf(trailers, "x-spiffe-id"),
        ]),
        [
          [2, ["1"], []],
          [2, ["2"], []],
        ],
      );
      for (const { raw } of upstream.seen) assert.deepEqual(valuesOf(raw, "x-spiffe-id"), [idOf("web")]);
    });
    it("an upstream's own do not reach the caller", async () => {
      const response = await call(web, "/orders/sly");
      assert.equal(response.status, 200);
      for (const name of ["x-spiffe-id", "x-forwarded-client-cert", "x-secret-hop"])
        assert.equal(response.headers.get(name), null);
      assert.equal(response.headers.get("x-kept"), "1");
      await response.text();
    });
  });

  describe("[A-10] targets and hosts on the wire", () => {
    const targets = [
      "//orders/1",
      "/orders//1",
      "/orders/../admin",
      "/orders/%2e%2e/admin",
      "/orders/%2E./admin",
      "/orders/.",
      "/orders%2f1",
      "/orders%5c1",
      "/orders/1;x",
      "/orders/%00",
      "/orders/%zz",
      "/orders/%252e%252e",
      "/orders/%c0%af",
      "/orders/1#x",
      "https://edge.example/orders/1",
      "http://evil/orders/1",
      "*",
      "/orders/1?%4",
    ];
    for (const target of targets) {
      it(`HTTP/1.1 ${target}: 400`, async () => {
        const answer = await rawExchange(web, port(), rawRequest(target));
        assert.equal(statusOf(answer), 400);
        assert.equal(upstream.heads, 0);
      });
    }
    it("HTTP/1.1 raw bytes beyond ASCII and backslashes: 400", async () => {
      for (const target of ["/orders/\u00e9", "/orders\\1", "/orders/1\u0001"]) {
        assert.equal(statusOf(await rawExchange(web, port(), rawRequest(target))), 400);
      }
      assert.equal(upstream.heads, 0);
    });
    it("the twin: what is canonical arrives as it was judged", async () => {
      for (const target of ["/orders/1", "/%6frders/1", "/orders/1?a=%2f%2e&b=//", "/orders/%e2%82%ac"]) {
        assert.equal(statusOf(await rawExchange(web, port(), rawRequest(target))), 200);
      }
      assert.deepEqual(
        upstream.seen.map(({ url }) => url),
        ["/orders/1", "/orders/1", "/orders/1?a=%2f%2e&b=//", "/orders/%E2%82%AC"],
      );
    });
    it("HTTP/2: the same targets", async () => {
      for (const target of [...targets.filter((one) => one !== "*"), "/orders/\u00e9", "/orders\\1"]) {
        const { status } = await http2Once(web, port(), { ":path": target });
        // what the runtime's HTTP/2 refuses by itself never becomes a request
        assert.ok(status === 400 || status === 0, `${target} ${status}`);
      }
      assert.equal(upstream.heads, 0);
      assert.equal((await http2Once(web, port(), { ":path": "/orders/1" })).status, 200);
    });
    const hosts: [string, string, string[]][] = [
      ["two", "Host: edge.example", ["Host: edge.example"]],
      ["none", "", []],
      ["empty", "Host:", []],
      ["with userinfo", "Host: a@edge.example", []],
      ["with a path", "Host: edge.example/x", []],
      ["joined", "Host: edge.example, b", []],
    ];
    for (const [title, host, more] of hosts) {
      it(`[S-23] HTTP/1.1 host ${title}: 400`, async () => {
        assert.equal(statusOf(await rawExchange(web, port(), rawRequest("/orders/1", more, "GET", host))), 400);
        assert.equal(upstream.heads, 0);
      });
    }
    it("[S-23] HTTP/2 host other than :authority, plain scheme, small method: 400; their twin 200", async () => {
      const good = { ":path": "/orders/1", ":authority": "edge.example", host: "edge.example" };
      for (const wrong of [
        { ...good, host: "other" },
        { ...good, ":authority": "a@edge.example" },
        { ...good, ":scheme": "http" },
        { ...good, ":method": "get" },
      ]) {
        const { status } = await http2Once(web, port(), wrong);
        assert.ok(status === 400 || status === 0, `${JSON.stringify(wrong)} ${status}`);
      }
      assert.equal(upstream.heads, 0);
      assert.equal((await http2Once(web, port(), good)).status, 200);
    });
    it("framing that can be read in two ways: 400", async () => {
      for (const fields of [
        ["Transfer-Encoding: xchunked"],
        ["Content-Length: 1", "Transfer-Encoding: chunked"],
        ["Content-Length: 1", "Content-Length: 2"],
      ]) {
        const answer = await rawExchange(web, port(), `${rawRequest("/orders/1", fields, "POST")}0\r\n\r\n`);
        assert.equal(statusOf(answer), 400);
      }
      assert.equal(upstream.heads, 0);
      assert.equal(
        statusOf(
          await rawExchange(web, port(), `${rawRequest("/orders/1", ["Transfer-Encoding: chunked"], "POST")}0\r\n\r\n`),
        ),
        200,
      );
    });
    it("pipelined requests are judged one by one", async () => {
      const cron = `Authorization: Bearer ${await world.token("cron")}`;
      const first = rawRequest("/orders/1", [cron]).replace("Connection: close\r\n", "");
      const second = rawRequest("/orders/2", []).replace("Connection: close\r\n", "");
      const answers = await rawExchange(web, port("edge"), first + second + rawRequest("/orders/3", [cron]));
      assert.deepEqual(answers.match(/HTTP\/1\.1 \d{3}/g), ["HTTP/1.1 200", "HTTP/1.1 401", "HTTP/1.1 200"]);
      assert.deepEqual(
        upstream.seen.map(({ url }) => url),
        ["/orders/1", "/orders/3"],
      );
    });
    it("[A-6] Expect: 100-continue is answered by the gateway and refused callers get nothing upstream", async () => {
      const expecting = (identity: Changeable) =>
        rawExchange(
          identity,
          port(),
          `${rawRequest("/orders/1", ["Expect: 100-continue", "Content-Length: 2"], "POST")}hi`,
        );
      assert.match(await expecting(guest), /HTTP\/1\.1 403/);
      assert.equal(upstream.heads, 0);
      assert.match(await expecting(web), /HTTP\/1\.1 200/);
      assert.deepEqual(valuesOf(upstream.seen[0]!.raw, "expect"), []);
      assert.equal(upstream.seen[0]?.bytes, 2);
    });
    it("CONNECT and Upgrade open no tunnel", async () => {
      assert.equal(statusOf(await rawExchange(web, port(), rawRequest("edge.example:443", [], "CONNECT"))), 400);
      assert.equal(upstream.heads, 0);
      const upgrade = ["Connection: upgrade", "Upgrade: websocket"];
      assert.equal(statusOf(await rawExchange(web, port(), rawRequest("/orders/1", upgrade))), 200);
      assert.deepEqual(valuesOf(upstream.seen[0]!.raw, "upgrade"), []);
    });
  });
});
