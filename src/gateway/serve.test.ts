import assert from "node:assert/strict";
import process from "node:process";
import { after, before, beforeEach, describe, it } from "node:test";
import { Hono } from "hono";
import { isSpiffeError } from "../base/index.ts";
import { silentLogger } from "../telemetry/logger.ts";
import { authorizeId, createFetch } from "../tls/index.ts";
import { Opened } from "../tls/wire.testing.ts";
import { authorize, type SpiffeEnv, spiffe } from "./middleware/index.ts";
import { asPeer } from "./middleware/peer-env.ts";
import { proxy } from "./proxy.ts";
import { type SpiffeServer, serve } from "./serve.ts";
import {
  type Changeable,
  type CountingUpstream,
  countingUpstream,
  GATEWAY,
  http2Once,
  idOf,
  rawExchange,
  rawRequest,
  statusOf,
  until,
  valuesOf,
  World,
} from "./world.testing.ts";

const WEB = idOf("web");
let world: World;
let workload: Changeable;
let web: Changeable;
let guest: Changeable;
/** Closed at the end, also after a failure. */
const opened = new Opened();
after(() => opened.close());
before(async () => {
  world = await World.create();
  [workload, web, guest] = await Promise.all([
    world.identity("gateway"),
    world.identity("web"),
    world.identity("guest"),
  ]);
});

const options = { address: "127.0.0.1", port: 0 };
const caller = (identity: Changeable, server: SpiffeServer) => {
  const call = createFetch(identity, { peer: GATEWAY });
  return (path: string, init?: RequestInit) => call(`https://127.0.0.1:${server.port}${path}`, init);
};

describe("an app behind serve()", () => {
  let server: SpiffeServer;
  let open: SpiffeServer;
  let paths: string[] = [];

  before(async () => {
    const app = new Hono<SpiffeEnv>()
      .use(spiffe(workload, { jwt: { audience: GATEWAY } }))
      .get("/orders", authorize({ ids: [WEB] }), (c) => {
        paths.push(c.req.path);
        return c.json({ you: c.var.peer.id, via: c.var.peer.via, token: c.var.peer.token?.id });
      })
      .get("/fields", (c) => {
        paths.push(c.req.path);
        const raw = c.req.raw.headers;
        return c.json([raw.get("x-spiffe-id"), c.req.header("x-spiffe-id") ?? null, [...raw.keys()]]);
      })
      .all("*", async (c) => {
        paths.push(c.req.path);
        return c.text(`${c.req.path} ${(await c.req.text()).length}`);
      });
    server = opened.add(await serve(app, { ...options, workload }));
    open = opened.add(await serve(app, { ...options, workload, clientCertificate: "none" }));
  });
  beforeEach(() => {
    paths = [];
  });
  after(async () => {
    await server?.close({ deadlineMs: 0 });
    await open?.close({ deadlineMs: 0 });
  });

  it("the caller is the certificate's, by HTTP/1.1 and HTTP/2; another is 403", async () => {
    const refused = await caller(guest, server)("/orders");
    assert.equal(refused.status, 403);
    assert.equal(((await refused.json()) as { reason: string }).reason, "policy.default-deny");
    assert.equal((await http2Once(guest, server.port, { ":path": "/orders" })).status, 403);
    assert.deepEqual(paths, []);
    assert.deepEqual(await (await caller(web, server)("/orders")).json(), { you: WEB, via: "x509" });
    const h2 = await http2Once(web, server.port, { ":path": "/orders" });
    assert.deepEqual(JSON.parse(h2.text), { you: WEB, via: "x509" });
    assert.deepEqual(paths, ["/orders", "/orders"]);
  });

  it("[S-18] [JWT-16] tokens, alone and beside a certificate", async () => {
    const bearer = (token: string) => ({ headers: { authorization: `Bearer ${token}` } });
    const token = await world.token("web");
    const none = await caller(web, open)("/orders");
    assert.equal(`${none.status} ${none.headers.get("www-authenticate")}`, '401 Bearer realm="spiffe"');
    assert.equal((await caller(web, open)("/orders", bearer(`${token.slice(0, -4)}AAAA`))).status, 401);
    assert.equal((await caller(web, server)("/orders", bearer(`${token.slice(0, -4)}AAAA`))).status, 401);
    assert.deepEqual(paths, []);
    const alone = await (await caller(web, open)("/orders", bearer(token))).json();
    assert.deepEqual(alone, { you: WEB, via: "jwt", token: WEB });
    const beside = await (await caller(web, server)("/orders", bearer(await world.token("cron")))).json();
    assert.deepEqual(beside, { you: WEB, via: "x509", token: idOf("cron") });
    const twice = rawRequest("/orders", [`Authorization: Bearer ${token}`, `Authorization: Bearer ${token}`]);
    assert.equal(statusOf(await rawExchange(web, open.port, twice)), 400);
  });

  it("[S-21] identity fields of a caller do not reach the app", async () => {
    const names = ["X-Spiffe-Id", "x-spiffe-id", "X_Spiffe_Id", "X-Forwarded-Client-Cert", "x_forwarded_client_cert"];
    const h1 = await rawExchange(
      web,
      server.port,
      rawRequest("/fields", [...names.map((name) => `${name}: ${idOf("admin")}`), "X-Kept: 1"]),
    );
    const seen = JSON.parse(h1.slice(h1.indexOf("["), h1.lastIndexOf("]") + 1)) as [null, null, string[]];
    assert.deepEqual(seen.slice(0, 2), [null, null]);
    assert.ok(seen[2].includes("x-kept"));
    assert.deepEqual(
      seen[2].filter((name) => /spiffe|client.cert/.test(name)),
      [],
    );
    const h2 = await http2Once(web, server.port, {
      ":path": "/fields",
      "x-spiffe-id": idOf("admin"),
      x_spiffe_id: "a",
      "x-kept": "1",
    });
    const seen2 = JSON.parse(h2.text) as [null, null, string[]];
    assert.deepEqual(seen2.slice(0, 2), [null, null]);
    assert.deepEqual(
      seen2[2].filter((name) => /spiffe/.test(name)),
      [],
    );
    assert.ok(seen2[2].includes("x-kept"));
  });

  const targets = [
    "/public/../orders",
    "/public/%2e%2e/orders",
    "//orders",
    "/a\\b",
    "/a%5cb",
    "/a%00",
    "/a%2fb",
    "/a;b",
    "/a#b",
    "/%",
    "/%252e",
    "https://edge.example/orders",
    "*",
  ];
  for (const target of targets) {
    it(`[A-10] ${target} does not reach the app`, async () => {
      assert.equal(statusOf(await rawExchange(web, server.port, rawRequest(target))), 400);
      const { status } = await http2Once(web, server.port, { ":path": target });
      assert.ok(status === 400 || status === 0, String(status));
      assert.deepEqual(paths, []);
      assert.equal(statusOf(await rawExchange(web, server.port, rawRequest("/a"))), 200);
      assert.deepEqual(paths, ["/a"]);
    });
  }

  it("[A-10] what passes is what the app sees", async () => {
    for (const [target, path] of [
      ["/%61?x=%2e%2e//", "/a"],
      ["/a/b.c/...", "/a/b.c/..."],
      ["/a%20b", "/a b"],
      ["/100%25", "/100%"],
    ] as const) {
      assert.equal(statusOf(await rawExchange(web, server.port, rawRequest(target))), 200);
      // Hono shows the path decoded, which is one to one for a canonical path
      assert.ok([path, encodeURI(path)].includes(paths.at(-1)!), `${target} ${paths.at(-1)}`);
    }
  });

  it("[S-23] two hosts, userinfo and a small method do not reach the app", async () => {
    assert.equal(statusOf(await rawExchange(web, server.port, rawRequest("/a", ["Host: b"]))), 400);
    assert.equal(statusOf(await rawExchange(web, server.port, rawRequest("/a", [], "GET", "Host: a@b"))), 400);
    assert.equal(statusOf(await rawExchange(web, server.port, rawRequest("/a", [], "GET", ""))), 400);
    for (const headers of [
      { ":path": "/a", ":method": "get" },
      { ":path": "/a", ":authority": "a", host: "b" },
    ]) {
      const { status } = await http2Once(web, server.port, headers);
      assert.ok(status === 400 || status === 0, String(status));
    }
    assert.deepEqual(paths, []);
    assert.equal(statusOf(await rawExchange(web, server.port, rawRequest("/a"))), 200);
  });

  it("bodies", async () => {
    const body = "x".repeat(300_000);
    assert.equal(await (await caller(web, server)("/b", { method: "POST", body })).text(), "/b 300000");
    assert.equal((await http2Once(web, server.port, { ":path": "/b", ":method": "POST" }, body)).text, "/b 300000");
  });

  it("an assumed peer is ignored on a real connection", async () => {
    const app = new Hono().use(spiffe(workload)).get("/", (c) => c.text(c.var.peer.id.uri));
    const wrapped = {
      fetch: (request: Request, env: object) => app.fetch(request, { ...env, ...asPeer(idOf("admin")) }),
    };
    const sly = opened.add(await serve(wrapped, { ...options, workload }));
    try {
      assert.equal(await (await caller(web, sly)("/")).text(), WEB);
    } finally {
      await sly.close({ deadlineMs: 0 });
    }
  });
});

describe("the life of a server", () => {
  const app = () => new Hono().use(spiffe(workload)).get("/", (c) => c.text("ok"));

  it("callers that are not welcome at all do not get to the app", async () => {
    const server = opened.add(await serve(app(), { ...options, workload, authorize: authorizeId(WEB) }));
    try {
      await assert.rejects(caller(guest, server)("/"));
      assert.equal(await (await caller(web, server)("/")).text(), "ok");
    } finally {
      await server.close({ deadlineMs: 0 });
    }
  });

  it("a taken port is said so", async () => {
    const first = opened.add(await serve(app(), { ...options, workload }));
    const taken = serve(app(), { ...options, port: first.port, workload });
    await assert.rejects(
      taken,
      (error: unknown) => isSpiffeError(error, "ERR_SPIFFE_PORT_IN_USE") && error.message.includes(String(first.port)),
    );
    await first.close({ deadlineMs: 0 });
    const second = opened.add(await serve(app(), { ...options, port: first.port, workload }));
    await second.close({ deadlineMs: 0 });
  });

  it("[S-8] a logger that throws does not keep a signal from draining", async () => {
    const info = () => {
      throw new Error("no space");
    };
    for (const logger of [silentLogger, { ...silentLogger, info }]) {
      const server = opened.add(await serve(app(), { ...options, workload, signals: ["SIGHUP"], logger }));
      process.emit("SIGHUP");
      await server.closed;
    }
  });

  it("a signal drains: running requests finish, then closed settles and the handlers are gone", async () => {
    let finish: (() => void) | undefined;
    const slow = new Hono().use(spiffe(workload)).get("/", async (c) => {
      await new Promise<void>((resolve) => {
        finish = resolve;
      });
      return c.text("finished");
    });
    const before = process.listenerCount("SIGHUP");
    const server = opened.add(await serve(slow, { ...options, workload, signals: ["SIGHUP"] }));
    assert.equal(process.listenerCount("SIGHUP"), before + 1);
    const answer = caller(web, server)("/");
    await until(() => finish !== undefined);
    process.kill(process.pid, "SIGHUP");
    await until(() => process.listenerCount("SIGHUP") === before);
    await assert.rejects(caller(web, server)("/"));
    finish!();
    assert.equal(await (await answer).text(), "finished");
    await server.closed;
  });

  it("SIGTERM and SIGINT are heard unless told otherwise", async () => {
    const count = () => process.listenerCount("SIGTERM") + process.listenerCount("SIGINT");
    const before = count();
    const quiet = opened.add(await serve(app(), { ...options, workload, signals: [] }));
    assert.equal(count(), before);
    const server = opened.add(await serve(app(), { ...options, workload }));
    assert.equal(count(), before + 2);
    await server[Symbol.asyncDispose]();
    assert.equal(count(), before);
    await quiet.close();
  });

  it("what is left at the deadline is cut", async () => {
    let begun = false;
    const stuck = new Hono().use(spiffe(workload)).get("/", () => {
      begun = true;
      return new Promise<Response>(() => {});
    });
    const server = opened.add(await serve(stuck, { ...options, workload, drainMs: 20 }));
    const answer = assert.rejects(caller(web, server)("/"));
    await until(() => begun);
    assert.deepEqual(await server.close(), { cut: 1 });
    await answer;
  });
});

describe("proxy() in an app", () => {
  let upstream: CountingUpstream;
  let orders: SpiffeServer;
  let server: SpiffeServer;
  let breakOff: () => void;
  let left = 0;

  before(async () => {
    upstream = await countingUpstream((request, response) => {
      if (request.url?.startsWith("/up/echo")) return void request.pipe(response);
      if (request.url === "/up/events") {
        response.on("close", () => {
          if (!response.writableFinished) left++;
        });
        return void response.write("data: 1\n\n");
      }
      if (request.url === "/hang") return;
      if (request.url === "/up/cut") {
        breakOff = () => void response.destroy();
        return void response.write("half");
      }
      if (request.url === "/up/none") response.statusCode = 204;
      if (request.url === "/up/odd") response.statusCode = 600;
      response.setHeader("x-spiffe-id", idOf("admin"));
      response.setHeader("set-cookie", ["a=1", "b=2"]);
      if (request.url === "/up/redirect") response.writeHead(302, { location: "/elsewhere" });
      response.end("ok");
    });
    const ordersWorkload = await world.identity("orders");
    const echo = new Hono().use(spiffe(ordersWorkload)).all("*", (c) => c.text(`${c.var.peer.id} ${c.req.path}`));
    orders = opened.add(await serve(echo, { ...options, workload: ordersWorkload }));
    const app = new Hono()
      .use(spiffe(workload, { jwt: { audience: GATEWAY } }))
      .all("/up/*", proxy(workload, { url: upstream.url }))
      .all("/hang", proxy(workload, { url: upstream.url, timeoutMs: 500 }))
      .all("/orders/*", proxy(workload, { url: `https://127.0.0.1:${orders.port}`, id: idOf("orders") }))
      .all("/wrong/*", proxy(workload, { url: `https://127.0.0.1:${orders.port}`, id: idOf("other") }))
      .all("/dead/*", proxy(workload, { url: "http://127.0.0.1:1" }));
    server = opened.add(await serve(app, { ...options, workload }));
  });
  beforeEach(() => {
    upstream.seen.length = 0;
    upstream.heads = 0;
  });
  after(async () => {
    await server?.close({ deadlineMs: 0 });
    await orders?.close({ deadlineMs: 0 });
    await upstream?.close();
  });

  it("[A-11] the upstream sees exactly one identity field, the verified one, and no token", async () => {
    const token = await world.token("cron");
    const headers = {
      "x-spiffe-id": idOf("admin"),
      authorization: `Bearer ${token}`,
      "x-forwarded-for": "192.0.2.9",
      "x-kept": "1",
    };
    const response = await caller(web, server)("/up/a?q=1", { headers });
    assert.equal(`${response.status} ${await response.text()}`, "200 ok");
    assert.equal(response.headers.get("x-spiffe-id"), null);
    assert.deepEqual(response.headers.getSetCookie(), ["a=1", "b=2"]);
    const { raw, url } = upstream.seen[0]!;
    assert.equal(url, "/up/a?q=1");
    assert.deepEqual(valuesOf(raw, "x-spiffe-id"), [WEB]);
    assert.deepEqual(valuesOf(raw, "authorization"), []);
    assert.deepEqual(valuesOf(raw, "x-forwarded-for"), ["127.0.0.1"]);
    assert.deepEqual(valuesOf(raw, "x-kept"), ["1"]);
  });

  it("bodies go both ways, by HTTP/1.1 and HTTP/2", async () => {
    const body = "x".repeat(3_000_000);
    for (const init of [{ body }, { body: new Response(body).body, duplex: "half" }]) {
      const response = await caller(web, server)("/up/echo", { method: "POST", ...init } as RequestInit);
      assert.equal((await response.text()).length, body.length);
    }
    const h2 = await http2Once(web, server.port, { ":path": "/up/echo", ":method": "POST" }, body);
    assert.equal(h2.text.length, body.length);
  });

  it("an event arrives while the answer is open; a caller that leaves ends the exchange", async () => {
    const leaving = new AbortController();
    const response = await caller(web, server)("/up/events", { signal: leaving.signal });
    const reader = response.body!.getReader();
    assert.equal(new TextDecoder().decode((await reader.read()).value), "data: 1\n\n");
    leaving.abort();
    await until(() => left === 1);
  });

  it("HEAD, 204 and redirects", async () => {
    assert.equal(await (await caller(web, server)("/up/a", { method: "HEAD" })).text(), "");
    assert.equal((await caller(web, server)("/up/none")).status, 204);
    const redirect = await caller(web, server)("/up/redirect");
    assert.equal(`${redirect.status} ${redirect.headers.get("location")}`, "302 /elsewhere");
    await redirect.text();
  });

  it("an upstream over mTLS has to have the ID; it sees the app's own identity", async () => {
    assert.equal(await (await caller(web, server)("/orders/1")).text(), `${GATEWAY} /orders/1`);
    for (const [path, status, reason] of [
      ["/wrong/1", 502, "upstream.identity"],
      ["/dead/1", 502, "upstream.unreachable"],
      ["/hang", 504, "upstream.timeout"],
    ] as const) {
      const refused = await caller(web, server)(path, { method: "POST", body: "secret" });
      const problem = (await refused.json()) as { reason: string; requestId: string };
      assert.equal(`${path} ${refused.status} ${problem.reason}`, `${path} ${status} ${reason}`);
      assert.equal(refused.headers.get("x-request-id"), problem.requestId);
    }
  });

  it("an answer that breaks off never looks whole", async () => {
    const response = await caller(web, server)("/up/cut");
    breakOff();
    await assert.rejects(response.text());
  });

  it("without a socket, and without spiffe()", async () => {
    const real = console.error;
    const lines: string[] = [];
    console.error = (line: string) => void lines.push(line);
    try {
      const bare = new Hono().all("/up/*", proxy(workload, { url: upstream.url }));
      const response = await bare.request("/up/a", {}, asPeer(WEB));
      assert.equal(
        `${response.status} ${((await response.json()) as { code: string }).code}`,
        "500 ERR_SPIFFE_NO_LISTENER",
      );
      assert.equal(upstream.heads, 0);
      assert.match(lines[0]!, /spiffe\(\) did not run/);
    } finally {
      console.error = real;
    }
    const app = new Hono().use(spiffe(workload)).all("*", proxy(workload, { url: upstream.url }));
    assert.equal(await (await app.request("/up/a", {}, asPeer(WEB))).text(), "ok");
    assert.deepEqual(valuesOf(upstream.seen[0]!.raw, "x-spiffe-id"), [WEB]);
    assert.equal((await app.request("/up/a%2fb", {}, asPeer(WEB))).status, 400);
    assert.equal((await app.request("/up//b", {}, asPeer(WEB))).status, 400);
    assert.equal(upstream.seen.length, 1);
  });

  it("a status that is none is 502, and who has left before is not asked for", async () => {
    const app = new Hono().use(spiffe(workload)).all("*", proxy(workload, { url: upstream.url }));
    const odd = await app.request("/up/odd", {}, asPeer(WEB));
    assert.equal(odd.status, 502);
    assert.equal(((await odd.json()) as { code: string }).code, "ERR_SPIFFE_UPSTREAM");
    assert.equal(upstream.heads, 1);
    app.onError((error, c) => c.text(error.name, 500));
    const ask = (signal: AbortSignal) => app.request("/up/a", { signal }, asPeer(WEB));
    assert.equal(await (await ask(AbortSignal.abort())).text(), "AbortError");
    assert.equal(upstream.heads, 1);
    assert.equal(await (await ask(new AbortController().signal)).text(), "ok");
    assert.equal(upstream.heads, 2);
  });

  it("faults are told when the app is made", () => {
    const fault = (input: Parameters<typeof proxy>[1], message: RegExp) =>
      assert.throws(
        () => proxy(workload, input),
        (error: unknown) => isSpiffeError(error, "ERR_SPIFFE_CONFIG") && message.test(error.message),
      );
    fault({ url: "https://orders:8443" }, /proxy\(\): https needs "id"/);
    fault({ url: "http://orders:80" }, /plaintext leaves this machine/);
    fault({ url: "ftp://orders" }, /no address of an upstream/);
    const misspelt = { url: "http://127.0.0.1:1", ulr: "" } as Parameters<typeof proxy>[1];
    assert.throws(() => proxy(workload, misspelt), {
      code: "ERR_SPIFFE_USAGE",
      message: /^Expected options of proxy\(\) among url, .*; got ulr$/,
    });
    assert.equal(typeof proxy(workload, { url: "http://orders:80", unsafePlainUpstream: true }), "function");
  });
});
