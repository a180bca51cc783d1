/** Tokens on real connections: where they may come from, and what they are worth beside a certificate. */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, beforeEach, describe, it } from "node:test";
import { Hono } from "hono";
import { ManualClock, staticIdentity, TestCa } from "../authority/testing.ts";
import type { TrustDomain } from "../id/index.ts";
import { connect } from "../tls/index.ts";
import { createGateway } from "./gateway.ts";
import { type SpiffeEnv, spiffe } from "./middleware/index.ts";
import { type SpiffeServer, serve } from "./serve.ts";
import {
  type Changeable,
  countingUpstream,
  GATEWAY,
  http2Client,
  http2Exchange,
  idOf,
  rawExchange,
  rawRequest,
  requestLog,
  statusOf,
  until,
  World,
} from "./world.testing.ts";

const WEB = idOf("web");
let world: World;
let web: Changeable;
/** Shows a certificate for web that the gateway's bundle does not vouch for. */
let impostor: Changeable;
let token: string;
const servers: SpiffeServer[] = [];
const port: Record<string, number> = {};
let handled = 0;

before(async () => {
  world = await World.create();
  const workload = await world.identity("gateway");
  web = await world.identity("web");
  token = await world.token("cron");
  const svid = await (await TestCa.create()).issue({ id: WEB });
  impostor = { ...web, ...(await staticIdentity({ svid, bundles: [world.ca.x509Bundle()] })), jwt: web.jwt };
  const app = new Hono<SpiffeEnv>().use(spiffe(workload, { jwt: { audience: GATEWAY } })).all("*", async (c) => {
    handled++;
    await c.req.text();
    const { via, id, token: shown } = c.var.peer;
    return c.text(`${via} ${id} ${shown?.id}`);
  });
  for (const clientCertificate of ["require", "optional", "none"] as const) {
    const server = await serve(app, { workload, address: "127.0.0.1", port: 0, signals: [], clientCertificate });
    servers.push(server);
    port[clientCertificate] = server.port;
  }
});
beforeEach(() => {
  handled = 0;
});
after(() => Promise.all(servers.map((server) => server.close({ deadlineMs: 0 }))));

/** Status, reason and body of a raw HTTP/1.1 exchange. */
async function raw(fields: string[], where = "none", by = web, body = ""): Promise<string> {
  const text = `${rawRequest("/a", fields, body === "" ? "GET" : "POST")}${body}`;
  const answer = await rawExchange(by, port[where]!, text);
  const detail = /"reason":"([^"]+)"/.exec(answer)?.[1] ?? /(?:jwt|x509) spiffe:\S+ \S+/.exec(answer)?.[0] ?? "";
  return `${statusOf(answer)} ${detail}`;
}
const BY_TOKEN = `200 jwt ${idOf("cron")} ${idOf("cron")}`;
const NONE = "401 request.no-credentials";

describe("[S-18] where a token may come from", () => {
  it("Authorization alone: no other field, no query, no cookie, no body", async () => {
    const names = [
      "Proxy-Authorization",
      "X-Authorization",
      "X-Forwarded-Authorization",
      "X-Access-Token",
      "Authorization_",
    ];
    for (const name of names) assert.equal(await raw([`${name}: Bearer ${token}`]), NONE, name);
    assert.equal(await raw([`Cookie: access_token=${token}; authorization=Bearer ${token}`]), NONE);
    const form = `access_token=${token}`;
    const fields = ["Content-Type: application/x-www-form-urlencoded", `Content-Length: ${form.length}`];
    assert.equal(await raw(fields, "none", web, form), NONE);
    assert.equal(handled, 0);
    assert.equal(await raw([`Authorization: Bearer ${token}`]), BY_TOKEN);
    assert.equal(await raw([...fields, `Authorization: Bearer ${token}`], "none", web, form), BY_TOKEN);
  });

  it("no trailer is a credential, by HTTP/1.1 and HTTP/2", async () => {
    const chunked = ["Transfer-Encoding: chunked", "Trailer: Authorization"];
    const body = `1\r\na\r\n0\r\nAuthorization: Bearer ${token}\r\n\r\n`;
    assert.equal(await raw(chunked, "none", web, body), NONE);
    assert.equal(handled, 0);
    assert.equal(await raw([...chunked, `Authorization: Bearer ${token}`], "none", web, body), BY_TOKEN);
    const session = await http2Client(web, port.none!);
    try {
      const authorization = `Bearer ${token}`;
      const late = await http2Exchange(session, { ":path": "/a", ":method": "POST" }, "a", { authorization });
      assert.equal(late.status, 401);
      const headers = { ":path": "/a", ":method": "POST", authorization };
      assert.equal((await http2Exchange(session, headers, "a", { authorization })).status, 200);
    } finally {
      session.destroy();
    }
  });

  it("gRPC metadata: authorization, once", async () => {
    const session = await http2Client(web, port.none!);
    const call = (metadata: Record<string, string | string[]>) =>
      http2Exchange(
        session,
        {
          ":path": "/shop.Orders/Get",
          ":method": "POST",
          "content-type": "application/grpc",
          te: "trailers",
          ...metadata,
        },
        "\0\0\0\0\0",
      );
    try {
      assert.equal((await call({ "grpc-authorization": `Bearer ${token}` })).status, 401);
      assert.equal((await call({ authorization: `Bearer ${token}x` })).status, 401);
      assert.equal(handled, 0);
      const answer = await call({ authorization: `Bearer ${token}` });
      assert.equal(`${answer.status} ${answer.text}`, BY_TOKEN);
    } finally {
      session.destroy();
    }
  });

  it("two of them: 400, in one field or two, the same or not, in any spelling", async () => {
    const one = `Bearer ${token}`;
    const bad = "400 request.authorization";
    for (const where of ["none", "require"]) {
      assert.equal(await raw([`Authorization: ${one}`, `authorization: ${one}`], where), bad);
      assert.equal(await raw([`AUTHORIZATION: ${one}`, "Authorization: Basic eA=="], where), bad);
      assert.equal(await raw([`Authorization: ${one}, ${one}`], where), bad);
      assert.equal(await raw([`Authorization: ${one},Basic eA==`], where), bad);
      assert.equal(await raw([`Authorization: ${one} ${token}`], where), bad);
    }
    assert.equal(handled, 0);
    assert.equal(await raw([`aUTHORIZATION: ${one}`]), BY_TOKEN);
  });

  it("one scheme, one token: nothing around it, nothing within", async () => {
    const bad = [
      ...["Bearer", "Bearer\t", "Bearer:", "Bearer=", 'Bearer "', "Bearer ,"].map((scheme) => `${scheme}${token}`),
      ...["=", "==", ".", "%20", "\u007f", ";", "\tx"].map((end) => `Bearer ${token}${end}`),
      "Bearer",
      // folded over two lines, which is no longer one field
      `Bearer\r\n ${token}`,
    ];
    for (const value of bad)
      assert.match(await raw([`Authorization: ${value}`]), /^(?:400|401|0) /, value.replace(token, "<token>"));
    for (const scheme of ["Basic", "DPoP", "Bearerx", "WIT"])
      assert.equal(await raw([`Authorization: ${scheme} ${token}`]), NONE, scheme);
    assert.equal(handled, 0);
    for (const scheme of ["Bearer ", "bearer ", "BEARER   "])
      assert.equal(await raw([`Authorization: ${scheme}${token}  `]), BY_TOKEN);
  });
});

describe("[A-12] [S-19] a token that was accepted before", () => {
  it("is refused once its key has left or one bit of it is another, through serve() and the gateway alike", async () => {
    const workload = await world.identity("gateway");
    let known = true;
    let upstreamRequests = 0;
    const jwt = { jwtBundleFor: (domain: TrustDomain) => (known ? workload.jwt.jwtBundleFor(domain) : undefined) };
    const identity = { ...workload, jwt };
    const app = new Hono<SpiffeEnv>()
      .use(spiffe(identity, { jwt: { audience: GATEWAY } }))
      .get("/a", (c) => c.text("ok"));
    const server = await serve(app, {
      workload: identity,
      address: "127.0.0.1",
      port: 0,
      signals: [],
      clientCertificate: "none",
    });
    const upstream = await countingUpstream((_, response) => {
      upstreamRequests++;
      response.end("ok");
    });
    const gateway = await createGateway(
      {
        status: { port: 0 },
        listen: { address: "127.0.0.1", port: 0, clientCertificate: "none" },
        upstreams: { up: { url: upstream.url } },
        routes: [
          { name: "a", path: "/a", audience: [GATEWAY], upstream: "up" },
          { name: "b", path: "/b", audience: ["another"], upstream: "up" },
        ],
        policy: [{ rule: "cron", allow: { ids: [idOf("cron")] } }],
      },
      { workload: identity },
    );
    try {
      for (const [to, reaches] of [
        [server.port, 0],
        [gateway.listeners[0]!.port, 1],
      ] as const) {
        const ask = async (text: string, path = "/a") =>
          statusOf(await rawExchange(web, to, rawRequest(path, [`Authorization: Bearer ${text}`])));
        const at = token.lastIndexOf(".") + 12;
        const spoilt = `${token.slice(0, at)}${token[at] === "A" ? "B" : "A"}${token.slice(at + 1)}`;
        upstreamRequests = 0;
        assert.equal(await ask(token), 200);
        assert.equal(await ask(token), 200);
        assert.equal(await ask(spoilt), 401);
        known = false;
        assert.equal(await ask(token), 401);
        known = true;
        assert.equal(await ask(token), 200);
        assert.equal(upstreamRequests, 3 * reaches);
        // the same token at a door for another audience
        if (reaches === 1) assert.equal(await ask(token, "/b"), 401);
      }
    } finally {
      await server.close({ deadlineMs: 0 });
      await gateway.close({ deadlineMs: 0 });
      await upstream.close();
    }
  });
});

describe("[A-13] a token beside a certificate", () => {
  const beside = (text: string) => raw([`Authorization: Bearer ${text}`], "require");

  it("of another ID: both are given, apart; the peer is the certificate's", async () => {
    assert.equal(await beside(token), `200 x509 ${WEB} ${idOf("cron")}`);
    assert.equal(await raw([], "require"), `200 x509 ${WEB} undefined`);
  });

  it("expired, for somebody else, spoilt, or a WIT: 401, though the certificate is good", async () => {
    const past = Math.floor(Date.now() / 1_000) - 60;
    const table: [string, Promise<string>][] = [
      ["jwt.expired", world.token("web", { exp: past })],
      ["jwt.audience", world.token("web", { aud: [WEB] })],
      ["jwt.signature", world.token("web", {}, world.strangerKey, { kid: world.key.kid })],
      ["jwt.type", world.token("web", {}, world.key, { typ: "wit+jwt" })],
      ["jwt.type", world.token("web", {}, world.key, { typ: "wimse-id+jwt" })],
    ];
    for (const [reason, bad] of table) assert.equal(await beside(await bad), `401 ${reason}`);
    assert.equal(handled, 0);
    assert.equal(await beside(await world.token("web")), `200 x509 ${WEB} ${WEB}`);
  });

  it("an invalid certificate ends the connection, though the token is good", async () => {
    const field = [`Authorization: Bearer ${token}`];
    for (const where of ["require", "optional"]) assert.equal(await raw(field, where, impostor), "0 ", where);
    assert.equal(handled, 0);
    assert.equal(await raw(field, "optional"), `200 x509 ${WEB} ${idOf("cron")}`);
    // where no certificate is asked for, none is shown
    assert.equal(await raw(field, "none", impostor), BY_TOKEN);
  });
});

describe("a WebSocket by a token alone", () => {
  it("outlives the token, and ends with the age of its connection", async () => {
    const clock = new ManualClock();
    const sockets = createServer();
    sockets.on("upgrade", (_, socket) => {
      socket.on("error", () => {});
      socket.write(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
      );
      socket.pipe(socket);
    });
    await new Promise<void>((resolve) => sockets.listen(0, "127.0.0.1", resolve));
    const { port: up } = sockets.address() as { port: number };
    const gateway = await createGateway(
      {
        status: { port: 0 },
        listen: { address: "127.0.0.1", port: 0, clientCertificate: "none", maxConnectionAge: "5m" },
        upstreams: { up: { url: `http://127.0.0.1:${up}` } },
        routes: [{ name: "up", path: "/**", upstream: "up", websocket: true, audience: [GATEWAY] }],
        policy: [{ rule: "cron", allow: { ids: [idOf("cron")], via: ["jwt"] } }],
        limits: { idle: "1h" },
      },
      { workload: await world.identity("gateway"), clock, logger: requestLog() },
    );
    const shown = await world.token("cron", { exp: Math.floor(clock.now() / 1_000) + 60 });
    const open = async () => {
      const fields = { host: "127.0.0.1", port: gateway.listeners[0]!.port, peer: GATEWAY, alpn: ["http/1.1"] };
      const { socket } = await connect(web, fields);
      const one = { socket, seen: "", over: false };
      socket
        .on("error", () => {})
        .on("data", (chunk: Uint8Array) => void (one.seen += new TextDecoder().decode(chunk)));
      socket.once("close", () => void (one.over = true));
      const upgrade = ["Connection: upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"];
      const key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
      const head = ["GET /ws HTTP/1.1", "Host: a", ...upgrade, key, `Authorization: Bearer ${shown}`, "", ""];
      socket.write(head.join("\r\n"));
      await until(() => one.seen.includes("\r\n\r\n"));
      return one;
    };
    try {
      const one = await open();
      assert.equal(statusOf(one.seen), 101);
      await clock.advance(200_000);
      one.socket.write("still here");
      await until(() => one.seen.endsWith("still here") || one.over);
      assert.equal(one.over, false);
      assert.equal(statusOf((await open()).seen), 401);
      await clock.advance(101_000);
      await until(() => one.over);
    } finally {
      await gateway.close({ deadlineMs: 0 });
      sockets.close().closeAllConnections();
    }
  });
});
