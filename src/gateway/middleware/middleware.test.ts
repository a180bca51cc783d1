import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import { after, before, describe, it } from "node:test";
import { getRequestListener } from "@hono/node-server";
import { Hono, type MiddlewareHandler } from "hono";
import { some } from "hono/combine";
import { isSpiffeError, systemClock } from "../../base/index.ts";
import { type Peer, SpiffeId, type TokenIdentity, type X509Peer } from "../../id/index.ts";
import { markConnection } from "../../tls/peer.ts";
import { GATEWAY, idOf, World } from "../world.testing.ts";
import { bearerToken, carriesSvid } from "./authenticate.ts";
import { authorize, type SpiffeEnv, spiffe, type TokenPeer } from "./index.ts";
import { asPeer } from "./peer-env.ts";

let world: World;
let workload: Awaited<ReturnType<World["identity"]>>;
before(async () => {
  world = await World.create();
  workload = await world.identity("gateway");
});

const WEB = idOf("web");
const expiresAt = new Date(2 ** 42);
const x509 = (name: string, token?: TokenIdentity): X509Peer => ({
  via: "x509",
  id: SpiffeId.parse(idOf(name)),
  expiresAt,
  ...(token === undefined ? {} : { token }),
});
const tokenOf = (name: string): TokenIdentity => ({
  id: SpiffeId.parse(idOf(name)),
  expiresAt,
  audience: [GATEWAY],
  claims: {},
});
const jwtPeer = (name: string): Peer => ({
  via: "jwt",
  id: SpiffeId.parse(idOf(name)),
  expiresAt,
  token: tokenOf(name),
});

function errors(): { lines: string[]; error(message: string): void } {
  const lines: string[] = [];
  return { lines, error: (message) => void lines.push(message) };
}
async function outcome(response: Response | Promise<Response>): Promise<string> {
  const answer = await response;
  if (answer.status === 200) return `200 ${await answer.text()}`;
  assert.equal(answer.headers.get("content-type"), "application/problem+json");
  assert.equal(answer.headers.get("cache-control"), "no-store");
  const problem = (await answer.json()) as { status: number; code: string; reason?: string };
  assert.equal(problem.status, answer.status);
  return `${answer.status} ${problem.code} ${problem.reason ?? ""}`.trim();
}

describe("an app without a socket", () => {
  let handled = 0;
  const app = () =>
    new Hono()
      .use(spiffe(workload, { jwt: { audience: GATEWAY } }))
      .get("/orders", authorize({ ids: [WEB] }), (c) => {
        handled++;
        return c.text(`${c.var.peer.via} ${c.var.peer.id}`);
      })
      .get("/domain", authorize({ trustDomains: ["example.org"] }), (c) => c.text(c.var.peer.id.uri))
      .get("/token", authorize({ via: "jwt" }), (c) => c.text(c.var.peer.token.id.uri))
      .get("/certificate", authorize({ via: "x509" }), (c) => c.text(c.var.peer.id.uri))
      .get("/cron-token", authorize({ ids: [idOf("cron")], via: "jwt" }), (c) => c.text(c.var.peer.token.id.uri))
      .get("/either", some(authorize({ ids: [WEB] }), authorize({ trustDomains: ["partner.example"] })), (c) =>
        c.text("ok"),
      )
      .get("/anyone", (c) => c.text(c.var.peer.id.uri));

  it("asPeer makes a caller; another is 403 with the reason", async () => {
    handled = 0;
    assert.equal(
      await outcome(app().request("/orders", {}, asPeer(idOf("guest")))),
      "403 ERR_SPIFFE_DENIED policy.default-deny",
    );
    assert.equal(handled, 0);
    assert.equal(await outcome(app().request("/orders", {}, asPeer(WEB))), `200 x509 ${WEB}`);
    assert.equal(await outcome(app().request("/orders", {}, asPeer(SpiffeId.parse(WEB)))), `200 x509 ${WEB}`);
    assert.equal(handled, 2);
    const refused = await app().request("/orders", {}, asPeer(idOf("guest")));
    assert.equal(((await refused.json()) as { detail: string }).detail, `no rule allows ${idOf("guest")}`);
  });

  it("trust domains, kinds of identity, alternatives", async () => {
    const partner = `spiffe://partner.example/web`;
    const table: [path: string, peer: string | Peer, outcome: string][] = [
      ["/domain", WEB, `200 ${WEB}`],
      ["/domain", partner, "403 ERR_SPIFFE_DENIED policy.default-deny"],
      ["/domain", "spiffe://sub.example.org/web", "403 ERR_SPIFFE_DENIED policy.default-deny"],
      ["/token", jwtPeer("cron"), `200 ${idOf("cron")}`],
      ["/token", x509("web", tokenOf("cron")), `200 ${idOf("cron")}`],
      ["/token", x509("web"), "403 ERR_SPIFFE_DENIED policy.default-deny"],
      ["/certificate", x509("web"), `200 ${WEB}`],
      ["/certificate", jwtPeer("web"), "403 ERR_SPIFFE_DENIED policy.default-deny"],
      ["/cron-token", x509("web", tokenOf("cron")), `200 ${idOf("cron")}`],
      ["/cron-token", x509("cron", tokenOf("web")), "403 ERR_SPIFFE_DENIED policy.default-deny"],
      ["/orders", x509("guest", tokenOf("web")), "403 ERR_SPIFFE_DENIED policy.default-deny"],
      ["/either", WEB, "200 ok"],
      ["/either", partner, "200 ok"],
      ["/anyone", partner, `200 ${partner}`],
    ];
    for (const [path, peer, wanted] of table) {
      assert.equal(`${path} ${await outcome(app().request(path, {}, asPeer(peer)))}`, `${path} ${wanted}`);
    }
    assert.equal(
      await outcome(app().request("/either", {}, asPeer(idOf("guest")))),
      "403 ERR_SPIFFE_DENIED policy.default-deny",
    );
  });

  it("[A-13] tokens beside an assumed certificate are verified as ever", async () => {
    const request = (token: string) =>
      app().request("/token", { headers: { authorization: `Bearer ${token}` } }, asPeer(WEB));
    assert.equal(await outcome(request(await world.token("cron"))), `200 ${idOf("cron")}`);
    assert.equal(
      await outcome(request(await world.token("cron", { aud: ["other"] }))),
      "401 ERR_SPIFFE_NO_PEER jwt.audience",
    );
    const two = await world.token("cron");
    assert.equal(await outcome(request(`${two}, Bearer ${two}`)), "400 ERR_SPIFFE_REQUEST request.authorization");
  });

  it("[S-17] an identity past its end is no identity", async () => {
    const clock = { now: () => 2 ** 42, monotonic: () => 0, sleep: async () => {} };
    const make = (at: Date) =>
      new Hono()
        .use(spiffe(workload, { clock }))
        .get("/", (c) => c.text("ok"))
        .request("/", {}, asPeer({ ...x509("web"), expiresAt: at }));
    assert.equal(await outcome(make(new Date(2 ** 42))), "401 ERR_SPIFFE_NO_PEER x509.expired");
    assert.equal(await outcome(make(new Date(2 ** 42 + 1))), "200 ok");
  });

  it("[S-18] no header, environment variable or JSON is a caller", async () => {
    const forged = [
      { peer: WEB },
      { incoming: { socket: { peer: x509("web") } } },
      { "Symbol(spiffe-edge.assumed-peer)": x509("web") },
      { [Symbol("spiffe-edge.assumed-peer")]: x509("web") },
      { [Symbol.for("spiffe-edge.assumed-peer")]: x509("web") },
      JSON.parse(JSON.stringify(asPeer(WEB))),
    ];
    for (const env of forged) {
      const log = errors();
      const closed = new Hono().use(spiffe(workload, { logger: log })).get("/", (c) => c.text(c.var.peer.id.uri));
      const headers = { "x-spiffe-id": WEB, "x-forwarded-client-cert": `URI=${WEB}` };
      assert.equal(await outcome(closed.request("/", { headers }, env)), "500 ERR_SPIFFE_NO_LISTENER");
      assert.equal(await outcome(closed.request("/", { headers }, asPeer(WEB))), `200 ${WEB}`);
    }
  });

  it("wrong wiring is 500 and one log line that says the fix", async () => {
    const log = errors();
    const app = new Hono().use(spiffe(workload, { logger: log })).get("/", (c) => c.text("never"));
    for (let i = 0; i < 3; i++)
      assert.equal(await outcome(app.fetch(new Request("http://localhost/"))), "500 ERR_SPIFFE_NO_LISTENER");
    assert.equal(log.lines.length, 1);
    assert.match(log.lines[0]!, /serve\(app, \{ workload \}\)/);
    const withJwt = new Hono()
      .use(spiffe(workload, { logger: log, jwt: { audience: GATEWAY } }))
      .get("/", (c) => c.text("never"));
    const authorization = `Bearer ${await world.token("web")}`;
    assert.equal(
      await outcome(withJwt.fetch(new Request("https://localhost/", { headers: { authorization } }))),
      "500 ERR_SPIFFE_NO_LISTENER",
    );
  });

  it("[S-18] a platform that ends TLS itself is one for tokens, and where its URL says https", async () => {
    const real = Object.getOwnPropertyDescriptor(globalThis, "navigator");
    const authorization = `Bearer ${await world.token("web")}`;
    const ask = (url: string, jwt?: { audience: string }) => {
      const open =
        jwt === undefined ? spiffe(workload, { logger: errors() }) : spiffe(workload, { logger: errors(), jwt });
      const app = new Hono().use(open as MiddlewareHandler).get("/", (c) => c.text("ok"));
      return outcome(app.fetch(new Request(url, { headers: { authorization } })));
    };
    const jwt = { audience: GATEWAY };
    try {
      for (const [userAgent, url, door, wanted] of [
        ["Cloudflare-Workers", "https://edge.example/", jwt, "200 ok"],
        ["Cloudflare-Workers", "http://edge.example/", jwt, "500 ERR_SPIFFE_NO_LISTENER"],
        ["Cloudflare-Workers", "https://edge.example/", undefined, "500 ERR_SPIFFE_NO_LISTENER"],
        ["Another", "https://edge.example/", jwt, "500 ERR_SPIFFE_NO_LISTENER"],
      ] as const) {
        Object.defineProperty(globalThis, "navigator", { value: { userAgent }, configurable: true });
        assert.equal(await ask(url, door), wanted, `${userAgent} ${url}`);
      }
    } finally {
      Object.defineProperty(globalThis, "navigator", real ?? { value: undefined, configurable: true });
    }
  });

  it("without a door for tokens Authorization is the app's own, whatever it holds", async () => {
    const ask = (jwt: { audience: string } | undefined) => {
      const open = jwt === undefined ? spiffe(workload) : spiffe(workload, { jwt });
      const app = new Hono().use(open as MiddlewareHandler).get("/", (c) => c.text("ok"));
      return outcome(app.request("/", { headers: { authorization: "Bearer a b" } }, asPeer(WEB)));
    };
    assert.equal(await ask(undefined), "200 ok");
    assert.equal(await ask({ audience: GATEWAY }), "400 ERR_SPIFFE_REQUEST request.authorization");
  });

  it("authorize() without spiffe(), or with somebody else's peer, is 500", async () => {
    const real = console.error;
    const lines: unknown[] = [];
    console.error = (line: unknown) => void lines.push(line);
    try {
      const bare = new Hono<SpiffeEnv>().get("/", authorize({ ids: [WEB] }), (c) => c.text("never"));
      assert.equal(await outcome(bare.request("/", {}, asPeer(WEB))), "500 ERR_SPIFFE_NO_LISTENER");
      assert.equal(await outcome(bare.request("/", {}, asPeer(WEB))), "500 ERR_SPIFFE_NO_LISTENER");
      assert.equal(lines.length, 1);
      const forged = new Hono<SpiffeEnv>()
        .use((c, next) => {
          c.set("peer", x509("web"));
          return next();
        })
        .get("/", authorize({ ids: [WEB] }), (c) => c.text("never"));
      assert.equal(await outcome(forged.request("/")), "500 ERR_SPIFFE_NO_LISTENER");
      const right = new Hono().use(spiffe(workload)).get("/", authorize({ ids: [WEB] }), (c) => c.text("ok"));
      assert.equal(await outcome(right.request("/", {}, asPeer(WEB))), "200 ok");
    } finally {
      console.error = real;
    }
  });

  it("faults of the wiring are told when the app is made", () => {
    const config = (make: () => unknown, message: RegExp) =>
      assert.throws(make, (error: unknown) => isSpiffeError(error) && message.test(error.message));
    config(() => spiffe(workload, { jwt: { audience: "" } }), /audience/);
    const misspelt = { audience: GATEWAY } as object;
    config(
      () => spiffe(workload, misspelt),
      /^Expected options of spiffe\(\) among jwt, forwarded, clock, logger; got audience$/,
    );
    const door = { audience: GATEWAY, audiences: [] } as { audience: string };
    config(() => spiffe(workload, { jwt: door }), /^Expected options of spiffe\(\{ jwt \}\) .*; got audiences$/);
    assert.ok(spiffe(workload, { jwt: { audience: GATEWAY }, clock: systemClock, logger: errors() }));
    config(() => spiffe(workload, { jwt: { audience: [] } }), /audience/);
    config(() => spiffe(workload, { jwt: { audience: [GATEWAY, ""] } }), /audience/);
    config(() => spiffe(workload, { jwt: { audience: [GATEWAY, 1 as never] } }), /audience/);
    config(() => spiffe(workload, { jwt: {} as never }), /audience/);
    config(() => spiffe(workload, { jwt: { audience: [GATEWAY, ""] } }), /audience/);
    config(() => spiffe(workload, { jwt: { audience: [GATEWAY, 1 as never] } }), /audience/);
    assert.ok(spiffe(workload, { jwt: { audience: [GATEWAY] } }));
    config(() => authorize({}), /authorize\(\): does not say who/);
    config(() => authorize({ ids: [] }), /authorize\(\)\.ids: is empty/);
    config(() => authorize({ ids: undefined }), /does not say who/);
    config(() => authorize({ ids: ["example.org/web"] }), /did you mean "spiffe:\/\/example\.org\/web"/);
    config(
      () => authorize({ id: [WEB] } as never),
      /^Expected options of authorize\(\) among ids, trustDomains, via; got id$/,
    );
    config(() => authorize({ ids: [WEB], trustDomains: ["example.org"] } as never), /both ids and trustDomains/);
    config(() => authorize({ via: "mtls" as never }), /no kind of identity/);
  });

  it("types: what a middleware lets through is what the handler sees", () => {
    const app = new Hono()
      .use(spiffe(workload, { jwt: { audience: GATEWAY } }))
      .get("/a", (c) => {
        const peer: Peer = c.var.peer;
        // @ts-expect-error a token is not there for certain
        const token: TokenIdentity = c.var.peer.token;
        return c.json({ peer, token });
      })
      .get("/b", authorize({ via: "jwt" }), (c) => {
        const peer: TokenPeer = c.var.peer;
        const token: TokenIdentity = c.var.peer.token;
        return c.json({ peer, token });
      })
      .get("/c", authorize({ ids: [WEB], via: "x509" }), (c) => {
        const peer: X509Peer = c.var.peer;
        return c.json({ peer });
      });
    const certificates = new Hono().use(spiffe(workload)).get("/", (c) => {
      const peer: X509Peer = c.var.peer;
      return c.json({ peer });
    });
    // @ts-expect-error ids and trustDomains exclude each other
    assert.throws(() => authorize({ ids: [WEB], trustDomains: ["example.org"] }));
    assert.ok(app !== undefined && certificates !== undefined);
  });
});

describe("[S-18] an app behind somebody else's server", () => {
  const servers: Server[] = [];
  const log = errors();
  let handled = 0;
  const start = async (app: Hono, address: string) => {
    const server = createServer(getRequestListener(app.fetch, { overrideGlobalObjects: false }));
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, address, resolve));
    return (server.address() as { port: number }).port;
  };
  const make = (jwt: boolean): Hono => {
    const app = new Hono<SpiffeEnv>();
    if (jwt) app.use(spiffe(workload, { jwt: { audience: GATEWAY }, logger: log }));
    else app.use(spiffe(workload, { logger: log }));
    return app.get("/", (c) => {
      handled++;
      return c.text(c.var.peer.id.uri);
    }) as unknown as Hono;
  };
  after(() => {
    for (const server of servers) server.close().closeAllConnections();
  });

  it("a certificate cannot have been verified there: 500; a token on loopback can be: 200", async () => {
    handled = 0;
    const headers = { authorization: `Bearer ${await world.token("web")}`, "x-spiffe-id": idOf("admin") };
    const certificates = await start(make(false), "127.0.0.1");
    assert.equal(await outcome(fetch(`http://127.0.0.1:${certificates}/`, { headers })), "500 ERR_SPIFFE_NO_LISTENER");
    assert.equal(handled, 0);
    const tokens = await start(make(true), "127.0.0.1");
    assert.equal(await outcome(fetch(`http://127.0.0.1:${tokens}/`)), "401 ERR_SPIFFE_NO_PEER request.no-credentials");
    assert.equal(await outcome(fetch(`http://127.0.0.1:${tokens}/`, { headers })), `200 ${WEB}`);
  });

  it("a token in plaintext from another machine is 500, also under the name localhost", async () => {
    handled = 0;
    const app = make(true);
    const authorization = `Bearer ${await world.token("web")}`;
    const from = (socket: object | null | undefined) => {
      const incoming = { rawHeaders: ["Authorization", authorization], socket };
      return app.request("http://localhost/", { headers: { authorization } }, { incoming });
    };
    for (const socket of [
      { remoteAddress: "192.0.2.1" },
      { remoteAddress: "10.127.0.1" },
      { remoteAddress: "::ffff:192.0.2.1" },
      { remoteAddress: "2001:db8::1" },
      { remoteAddress: undefined, destroyed: true },
      { remoteAddress: undefined, localAddress: "192.0.2.2", destroyed: false },
      { remoteAddress: undefined },
      null,
      undefined,
    ]) {
      assert.equal(await outcome(from(socket)), "500 ERR_SPIFFE_NO_LISTENER");
    }
    assert.equal(handled, 0);
    const fine = [
      { remoteAddress: "127.0.0.1" },
      { remoteAddress: "::1" },
      { remoteAddress: "::ffff:127.0.0.1" },
      { remoteAddress: undefined, destroyed: false },
      { remoteAddress: "192.0.2.1", encrypted: true },
    ];
    for (const socket of fine) assert.equal(await outcome(from(socket)), `200 ${WEB}`);
  });

  it("a platform that ends TLS itself takes a token over https alone; its name is none elsewhere", async () => {
    const app = make(true);
    const headers = { authorization: `Bearer ${await world.token("web")}` };
    const real = Object.getOwnPropertyDescriptor(globalThis, "navigator")!;
    const on = async (userAgent: string, url: string) => {
      Object.defineProperty(globalThis, "navigator", { value: { userAgent }, configurable: true });
      try {
        return await outcome(app.request(url, { headers }));
      } finally {
        Object.defineProperty(globalThis, "navigator", real);
      }
    };
    handled = 0;
    assert.equal(await on("Cloudflare-Workers", "http://edge.example/"), "500 ERR_SPIFFE_NO_LISTENER");
    assert.equal(await on("another", "https://edge.example/"), "500 ERR_SPIFFE_NO_LISTENER");
    assert.equal(handled, 0);
    assert.equal(await on("Cloudflare-Workers", "https://edge.example/"), `200 ${WEB}`);
  });

  it("two Authorization fields on the wire are 400, though the request object shows one", async () => {
    const authorization = `Bearer ${await world.token("web")}`;
    const from = (...fields: string[]) => {
      const incoming = { rawHeaders: fields, socket: { remoteAddress: "127.0.0.1" } };
      return make(true).request("http://localhost/", { headers: { authorization } }, { incoming });
    };
    const two = ["authorization", authorization, "Authorization", authorization];
    assert.equal(await outcome(from(...two)), "400 ERR_SPIFFE_REQUEST request.authorization");
    assert.equal(await outcome(from(...two.slice(2))), `200 ${WEB}`);
  });

  it("a real connection makes an assumed peer worthless", async () => {
    const app = new Hono().use(spiffe(workload, { logger: log })).get("/", (c) => c.text("never"));
    for (const assumed of [asPeer(WEB), asPeer(jwtPeer("web"))]) {
      const wrapped = { fetch: (request: Request, env: object) => app.fetch(request, { ...env, ...assumed }) };
      const port = await start(wrapped as unknown as Hono, "127.0.0.1");
      assert.equal(await outcome(fetch(`http://127.0.0.1:${port}/`)), "500 ERR_SPIFFE_NO_LISTENER");
      assert.equal(await outcome(app.request("/", {}, assumed)), "200 never");
    }
  });

  it("so it does where tokens are taken: an assumed one is none, and the request's own is judged", async () => {
    const app = make(true);
    const wrapped = {
      fetch: (request: Request, env: object) => app.fetch(request, { ...env, ...asPeer(jwtPeer("admin")) }),
    };
    const url = `http://127.0.0.1:${await start(wrapped as unknown as Hono, "127.0.0.1")}/`;
    assert.equal(await outcome(fetch(url)), "401 ERR_SPIFFE_NO_PEER request.no-credentials");
    const headers = { authorization: `Bearer ${await world.token("web")}` };
    assert.equal(await outcome(fetch(url, { headers })), `200 ${WEB}`);
    assert.equal(await outcome(app.request("/", {}, asPeer(jwtPeer("admin")))), `200 ${idOf("admin")}`);
  });

  it("[S-1] a token does not let in what came over a connection that was refused", async () => {
    const authorization = `Bearer ${await world.token("web")}`;
    const over = (accepted: boolean | undefined) => {
      const socket = { remoteAddress: "127.0.0.1" };
      if (accepted !== undefined) markConnection(socket, { accepted });
      const incoming = { rawHeaders: ["authorization", authorization], socket };
      return outcome(make(true).request("http://localhost/", { headers: { authorization } }, { incoming }));
    };
    handled = 0;
    assert.equal(await over(false), "500 ERR_SPIFFE_NO_LISTENER");
    assert.equal(handled, 0);
    assert.equal(await over(true), `200 ${WEB}`);
    assert.equal(await over(undefined), `200 ${WEB}`);
  });
});

describe("[S-18] the Authorization field", () => {
  it("is a bearer token, something else, or malformed", () => {
    const tokens = ["Bearer a.b.c", "bearer a.b.c", "BEARER   a.b.c", "Bearer a.b.c ", " \tBearer a.b.c"];
    for (const value of tokens) assert.deepEqual(bearerToken(value), { token: "a.b.c" }, value);
    for (const value of [
      "Basic a",
      "Bearerx a",
      "DPoP a",
      "",
      "bearer-token a",
      "Negotiate",
      "\u00a0Bearer a",
      "\vBearer a",
    ])
      assert.deepEqual(bearerToken(value), {}, value);
    for (const value of [
      "Bearer",
      "Bearer ",
      "Bearer a b",
      "Bearer a, Bearer b",
      "Bearer a,b",
      "Bearer\ta",
      "Bearer,a",
      'Bearer "a"',
      "Bearer é",
      "Bearer=a",
    ]) {
      assert.deepEqual(bearerToken(value), { malformed: true }, value);
    }
  });
  it("carries a JWT-SVID whoever it is for", async () => {
    assert.equal(carriesSvid(`Bearer ${await world.token("web", { aud: ["other"] })}`), true);
    const svid = await world.token("web");
    for (const odd of [`Bearer\t${svid}`, `Bearer  ${svid} `, `Token ${svid}`, `bearer token="${svid}", x=1`, svid]) {
      assert.equal(carriesSvid(odd), true, odd.replace(svid, "..."));
    }
    assert.equal(carriesSvid("Bearer opaque"), false);
    assert.equal(carriesSvid("Basic eA=="), false);
    assert.equal(carriesSvid(undefined), false);
    const foreign = await world.token("web", { sub: "alice", iss: "https://idp.example" });
    assert.equal(carriesSvid(`Bearer ${foreign}`), false);
  });
});
