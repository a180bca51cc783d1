/** An app behind the project's own gateway knows the first caller, and hears of it from that gateway alone. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { connect as dialSocket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { after, before, beforeEach, describe, it } from "node:test";
import { Hono } from "hono";
import { createFetch, listen, type TlsListener } from "../tls/index.ts";
import { createGateway } from "./gateway.ts";
import type { Gateway } from "./gateway-types.ts";
import { authorize, spiffe } from "./middleware/index.ts";
import { asPeer } from "./middleware/peer-env.ts";
import { dial, outcomeOf, type RawAnswer, type RawClient, type RawField, raw1, raw2 } from "./raw.testing.ts";
import { type SpiffeServer, serve } from "./serve.ts";
import { type PlainServer, servePlain } from "./serve-plain.ts";
import {
  type Changeable,
  GATEWAY,
  http2Once,
  idOf,
  rawExchange,
  rawRequest,
  statusOf,
  until,
  World,
} from "./world.testing.ts";

const ORDERS = idOf("orders");
const WEB = idOf("web");
const ADMIN = idOf("admin");

/** What the app saw of a request. */
interface Told {
  readonly path: string;
  readonly peer: string;
  readonly via: string;
  readonly caller: string | null;
  readonly token: string | null;
  /** Fields of the request whose name looks like that of the identity field. */
  readonly fields: readonly string[];
  readonly header: string | null;
  readonly body: string;
}

let world: World;
let gatewayIdentity: Changeable;
let web: Changeable;
let guest: Changeable;
/** The app, which every server below serves. */
let app: ReturnType<typeof appOf>;
let server: SpiffeServer;
/** The same app for callers without a certificate. */
let open: SpiffeServer;
let gateway: Gateway;
/** Where the gateway's egress has its socket. */
let home: string;
let told: Told[] = [];
/** Requests that got as far as a handler which `authorize()` guards. */
let guarded = 0;
const faults: string[] = [];

function appOf(workload: Changeable) {
  return new Hono()
    .use(
      spiffe(workload, {
        jwt: { audience: ORDERS },
        forwarded: { from: [GATEWAY, idOf("edge")] },
        logger: { error: (line) => void faults.push(line) },
      }),
    )
    .get("/guarded/*", authorize({ ids: [GATEWAY] }), (c) => {
      guarded++;
      return c.text(`${c.var.caller}`);
    })
    .all("*", async (c) => {
      const { peer, caller } = c.var;
      const body = await c.req.text();
      const fields = [...c.req.raw.headers.keys()].filter((name) => /^x.spiffe.id$/i.test(name));
      const header = c.req.header("x-spiffe-id") ?? null;
      const token = peer.token?.id.uri ?? null;
      const path = c.req.path;
      const seen = { path, peer: peer.id.uri, via: peer.via, caller: caller?.uri ?? null, token, fields, header, body };
      told.push(seen);
      const text = JSON.stringify(seen);
      // behind an upgrade there is no body; what is not told by it is told by the list
      return c.body(text, 200, { "content-length": String(text.length), "content-type": "application/json" });
    });
}

before(async () => {
  home = mkdtempSync(join(tmpdir(), "forwarded-"));
  world = await World.create();
  const orders = await world.identity("orders");
  gatewayIdentity = await world.identity("gateway");
  [web, guest] = await Promise.all([world.identity("web"), world.identity("guest")]);
  app = appOf(orders);
  const options = { workload: orders, address: "127.0.0.1", port: 0, signals: [] };
  server = await serve(app, { ...options, clientCertificate: "optional" });
  open = await serve(app, { ...options, clientCertificate: "none" });
  const url = `https://127.0.0.1:${server.port}`;
  gateway = await createGateway(
    {
      status: { port: 0 },
      listen: [
        { name: "mesh", address: "127.0.0.1", port: 0 },
        { name: "edge", address: "127.0.0.1", port: 0, clientCertificate: "none" },
        { name: "bytes", address: "127.0.0.1", port: 0, protocol: "tcp" },
      ],
      egress: [{ name: "out", socket: join(home, "out.sock"), upstream: "bytes" }],
      upstreams: {
        one: { url, id: ORDERS },
        two: { url, id: ORDERS, protocol: "h2" },
        bytes: { url: `tls://127.0.0.1:${server.port}`, id: ORDERS },
      },
      routes: [
        { name: "one", path: "/one/**", upstream: "one", audience: [GATEWAY] },
        { name: "two", path: "/two/**", upstream: "two", audience: [GATEWAY] },
        { name: "both", path: "/both", upstream: "one", audience: [ORDERS], unsafeForwardToken: true },
        { name: "guarded", path: "/guarded/**", upstream: "one", audience: [GATEWAY] },
        { name: "bytes", listen: ["bytes"], upstream: "bytes" },
        { name: "socket", path: "/socket", upstream: "one", websocket: true, audience: [GATEWAY] },
      ],
      policy: [
        { rule: "known", allow: { ids: [WEB, idOf("guest"), idOf("cron"), "spiffe://partner.example/web"] } },
        { rule: "by-token", allow: { ids: [idOf("cron")], via: ["jwt"] } },
        { rule: "open", allow: { anonymous: true }, path: "/one/open" },
      ],
    },
    { workload: gatewayIdentity },
  );
});
beforeEach(() => {
  told = [];
  guarded = 0;
  faults.length = 0;
});
after(async () => {
  await gateway?.close({ deadlineMs: 0 });
  await server?.close({ deadlineMs: 0 });
  await open?.close({ deadlineMs: 0 });
  rmSync(home, { recursive: true, force: true });
});

const port = (name: "mesh" | "edge" | "bytes" = "mesh") => gateway.listeners.find((one) => one.name === name)!.port;
const bearer = async (name: string, aud: string) => `Bearer ${await world.token(name, { aud: [aud] })}`;
/** What one answer tells; an answer that is not the app's fails. */
const read = (text: string): Told => JSON.parse(text.slice(text.indexOf("{"), text.lastIndexOf("}") + 1)) as Told;
/** Peer and caller of an answer, or status and reason; the field has reached no handler. */
const known = (answer: RawAnswer): string => {
  if (answer.status !== 200) return outcomeOf(answer);
  const { peer, via, caller, fields, header } = read(answer.body);
  assert.deepEqual([fields, header], [[], null]);
  return `${via} ${peer} for ${caller}`;
};
/** Clients of the app itself, by both protocols, each on a connection that it keeps. */
const clients = (who: Changeable, to = server.port): [string, RawClient, RawField][] => [
  ["HTTP/1.1", raw1(who, to, () => dial(who, to, "http/1.1", ORDERS)), ["Host", "orders.example"]],
  ["HTTP/2", raw2(who, to, () => dial(who, to, "h2", ORDERS)), [":authority", "orders.example"]],
];

describe("[S-21] the first caller behind the gateway", () => {
  const throughGateway = async (who: Changeable, path: string, headers: Record<string, string> = {}, name?: "edge") => {
    const answer = await createFetch(who, { peer: GATEWAY })(`https://127.0.0.1:${port(name)}${path}`, { headers });
    const body = await answer.text();
    return { status: answer.status, body };
  };

  for (const [path, upstream] of [
    ["/one/orders", "HTTP/1.1"],
    ["/two/orders", "HTTP/2"],
  ] as const) {
    it(`over ${upstream}: by certificate, by token, of another trust domain`, async () => {
      const wanted = (caller: string | null) => `x509 ${GATEWAY} for ${caller}`;
      assert.equal(known(await throughGateway(web, path)), wanted(WEB));
      const partner = await world.identity("web", "partner.example");
      assert.equal(known(await throughGateway(partner, path)), wanted("spiffe://partner.example/web"));
      const authorization = await bearer("cron", GATEWAY);
      assert.equal(known(await throughGateway(web, path, { authorization }, "edge")), wanted(idOf("cron")));
      // of certificate and token the certificate's is who calls, as everywhere
      assert.equal(known(await throughGateway(web, path, { authorization })), wanted(WEB));
      assert.deepEqual(new Set(told.map(({ token }) => token)), new Set([null]));
    });

    it(`[A-11] over ${upstream}: whatever a caller writes, the app hears of that caller`, async () => {
      const wanted = `x509 ${GATEWAY} for ${WEB}`;
      const names = ["x-spiffe-id", "X-Spiffe-Id", "X_Spiffe_Id", "x_spiffe-id", "X-SPIFFE_ID"];
      for (const fields of [
        ...names.map((name) => [[name, ADMIN]] as RawField[]),
        [
          ["x-spiffe-id", ADMIN],
          ["x-spiffe-id", ADMIN],
        ] as RawField[],
        names.map((name) => [name, ADMIN] as const),
        [["x-spiffe-id", `${ADMIN}, ${WEB}`]] as RawField[],
        [["x-spiffe-id", ""]] as RawField[],
        [["connection", "x-spiffe-id"]] as RawField[],
        [
          ["connection", "x-spiffe-id, X-Spiffe-Id"],
          ["x-spiffe-id", ADMIN],
        ] as RawField[],
        [["x-forwarded-client-cert", `URI=${ADMIN}`]] as RawField[],
      ]) {
        const lines = fields.map(([name, value]) => `${name}: ${value}`);
        const one = await rawExchange(web, port(), rawRequest(path, lines));
        assert.equal(known({ status: statusOf(one), body: one }), wanted, `HTTP/1.1 ${lines}`);
        // HTTP/2 knows no capitals and no Connection
        if (fields.some(([name]) => /[A-Z]|connection/.test(name))) continue;
        const client = raw2(web, port());
        const two = await client.ask(path, [[":authority", "edge.example"], ...fields]);
        client.close();
        assert.equal(known(two), wanted, `HTTP/2 ${lines}`);
      }
      const chunked = ["2", "hi", "0", `X-Spiffe-Id: ${ADMIN}`, `x_spiffe_id: ${ADMIN}`, "", ""];
      const head = [`POST ${path} HTTP/1.1`, "Host: a", "Transfer-Encoding: chunked", "Trailer: x-spiffe-id"];
      const one = await rawExchange(web, port(), [...head, "Connection: close", "", ...chunked].join("\r\n"));
      assert.equal(known({ status: statusOf(one), body: one }), wanted);
      const post = { ":path": path, ":method": "POST" };
      const two = await http2Once(web, port(), post, "hi", { "x-spiffe-id": ADMIN, x_spiffe_id: ADMIN });
      assert.equal(known({ status: two.status, body: two.text }), wanted);
      assert.deepEqual(
        told.slice(-2).map(({ body }) => body),
        ["hi", "hi"],
      );
    });

    it(`over ${upstream}: many callers at once over kept connections, each is told as itself`, async () => {
      const authorization = await bearer("cron", GATEWAY);
      const callers: [string, () => Promise<RawAnswer>][] = [
        [WEB, () => throughGateway(web, path)],
        [idOf("guest"), () => throughGateway(guest, path)],
        [idOf("cron"), () => throughGateway(web, path, { authorization }, "edge")],
      ];
      for (let round = 0; round < 10; round++) {
        const answers = await Promise.all(callers.map(async ([id, call]) => [id, known(await call())]));
        for (const [id, answer] of answers) assert.equal(answer, `x509 ${GATEWAY} for ${id}`);
      }
    });
  }

  it("a caller that the gateway lets in without an identity is nobody", async () => {
    const answer = await throughGateway(web, "/one/open", { "x-spiffe-id": ADMIN }, "edge");
    assert.equal(known(answer), `x509 ${GATEWAY} for null`);
  });

  it("[S-18] a token that the gateway hands on is the peer's token, and the caller is told apart from it", async () => {
    const authorization = await bearer("cron", ORDERS);
    assert.equal(
      known(await throughGateway(web, "/both", { authorization }, "edge")),
      `x509 ${GATEWAY} for ${idOf("cron")}`,
    );
    assert.equal(known(await throughGateway(web, "/both", { authorization })), `x509 ${GATEWAY} for ${WEB}`);
    assert.deepEqual(
      told.map(({ token }) => token),
      [idOf("cron"), idOf("cron")],
    );
  });

  it("a request that asks for WebSocket", async () => {
    const fields: RawField[] = [
      ["Host", "edge.example"],
      ["Upgrade", "websocket"],
      ["Connection", "Upgrade, x-spiffe-id"],
      ["Sec-WebSocket-Version", "13"],
      ["Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="],
      ["X-Spiffe-Id", ADMIN],
    ];
    const client = raw1(web, port());
    // the app speaks no WebSocket: its answer passes as a refusal, without its body
    await client.ask("/socket", fields);
    client.close();
    await until(() => told.length === 1);
    const { peer, caller, fields: left } = told[0]!;
    assert.deepEqual([peer, caller, left], [GATEWAY, WEB, []]);
  });

  it("bytes that the gateway carries over its own mutual TLS name nobody, though its certificate is shown", async () => {
    const plain = () =>
      new Promise<Duplex>((resolve, reject) => {
        const socket = dialSocket(join(home, "out.sock"), () => resolve(socket)).on("error", reject);
      });
    for (const [name, client] of [
      ["egress", raw1(web, 0, plain)],
      ["tcp", raw1(web, port("bytes"))],
    ] as const) {
      const ask = (...fields: RawField[]) => client.ask("/one/orders", [["Host", "orders.example"], ...fields]);
      assert.equal(known(await ask()), `x509 ${GATEWAY} for null`, name);
      assert.equal(known(await ask(["x_spiffe_id", ADMIN])), `x509 ${GATEWAY} for null`, name);
      const before = told.length;
      assert.equal(outcomeOf(await ask(["x-spiffe-id", ADMIN])), "400 request.spiffe-id", name);
      assert.equal(told.length, before);
      client.close();
    }
  });

  it("[A-11] no caller goes missing behind more fields than a server takes", async () => {
    const many = (count: number) => Array.from({ length: count }, (_, i) => `a${i}: b`);
    for (const [count, through, direct] of [
      [900, `x509 ${GATEWAY} for ${WEB}`, `x509 ${GATEWAY} for ${WEB}`],
      // the gateway adds its own to those of the caller
      [996, "431", `x509 ${GATEWAY} for ${WEB}`],
      [1_100, "431", "431"],
    ] as const) {
      const one = await rawExchange(web, port(), rawRequest("/one/orders", many(count)));
      assert.equal(known({ status: statusOf(one), body: one }), through, String(count));
      const fields = [...many(count), `x-spiffe-id: ${WEB}`];
      const two = await rawExchange(gatewayIdentity, server.port, rawRequest("/", fields), ORDERS);
      assert.equal(known({ status: statusOf(two), body: two }), direct, String(count));
    }
  });

  it("authorize() lets the gateway in, and nobody who dials the app", async () => {
    const allowed = await throughGateway(web, "/guarded/1");
    assert.equal(`${allowed.status} ${allowed.body}`, `200 ${WEB}`);
    assert.equal(guarded, 1);
    for (const [protocol, client, host] of clients(web)) {
      const answer = await client.ask("/guarded/1", [host, ["x-spiffe-id", WEB]]);
      client.close();
      assert.equal(outcomeOf(answer), "403 policy.default-deny", protocol);
    }
    assert.equal(guarded, 1);
  });
});

describe("[S-21] a peer that dials the app itself", () => {
  const forms: RawField[][] = [
    [["x-spiffe-id", ADMIN]],
    [["x_spiffe_id", ADMIN]],
    [
      ["x-spiffe-id", ADMIN],
      ["x-spiffe-id", ADMIN],
    ],
    [["x-spiffe-id", "no ID"]],
    [["x-spiffe-id", GATEWAY]],
  ];

  it("says nothing of callers unless its certificate has an ID of the list, whatever it writes", async () => {
    const strangers = await Promise.all([
      guest,
      web,
      world.identity("gateway", "partner.example"),
      world.identity("gateway/2"),
      world.identity("gatewa"),
    ]);
    for (const who of strangers) {
      const { uri } = who.x509.x509Svid().id;
      for (const [protocol, client, host] of clients(who)) {
        for (const fields of forms) {
          const answer = await client.ask("/", [host, ...fields]);
          assert.equal(known(answer), `x509 ${uri} for null`, `${protocol} ${uri} ${JSON.stringify(fields)}`);
        }
        client.close();
      }
    }
    for (const who of [gatewayIdentity, await world.identity("edge")]) {
      for (const [protocol, client, host] of clients(who)) {
        assert.equal(
          known(await client.ask("/", [host, ...forms[0]!])),
          `x509 ${who.x509.x509Svid().id.uri} for ${ADMIN}`,
          protocol,
        );
        client.close();
      }
    }
  });

  it("[S-18] says nothing by a token, alone or beside another certificate", async () => {
    const byToken = await bearer("gateway", ORDERS);
    for (const [who, to, wanted] of [
      // the listener asks for no certificate, so that nothing but the token is shown
      [gatewayIdentity, open.port, `jwt ${GATEWAY} for null`],
      [guest, server.port, `x509 ${idOf("guest")} for null`],
    ] as const) {
      for (const [protocol, client, host] of clients(who, to)) {
        const answer = await client.ask("/", [host, ["authorization", byToken], ["x-spiffe-id", ADMIN]]);
        client.close();
        assert.equal(known(answer), wanted, protocol);
      }
    }
    assert.deepEqual(new Set(told.map(({ token }) => token)), new Set([GATEWAY]));
  });

  it("[S-18] beside the gateway's certificate a token is judged, and the caller is the field's", async () => {
    const token = await bearer("cron", ORDERS);
    for (const [protocol, client, host] of clients(gatewayIdentity)) {
      const ask = async (authorization: string) =>
        known(await client.ask("/", [host, ["authorization", authorization], ["x-spiffe-id", WEB]]));
      assert.equal(await ask(token), `x509 ${GATEWAY} for ${WEB}`, protocol);
      assert.equal(await ask(`${token.slice(0, -4)}AAAA`), "401 jwt.signature", protocol);
      client.close();
    }
    assert.deepEqual(
      told.map(({ token: shown }) => shown),
      [idOf("cron"), idOf("cron")],
    );
  });

  it("with the gateway's certificate: one field with one SPIFFE ID is a caller, none is nobody, all else is 400", async () => {
    const long = `spiffe://example.org/${"a".repeat(2_048)}`;
    const none: RawField[][] = [
      [],
      [["x_spiffe_id", WEB]],
      [
        ["x-spiffe_id", WEB],
        ["x_spiffe-id", WEB],
      ],
      [["x-spiffe-ids", WEB]],
    ];
    const one: RawField[][] = [
      [["x-spiffe-id", WEB]],
      [
        ["x_spiffe_id", ADMIN],
        ["x-spiffe-id", WEB],
      ],
      [
        ["x-spiffe-id", WEB],
        ["x-spiffe_id", ADMIN],
        ["x-forwarded-client-cert", `URI=${ADMIN}`],
      ],
    ];
    const doubled: RawField[][] = [
      [
        ["x-spiffe-id", WEB],
        ["x-spiffe-id", WEB],
      ],
      [
        ["x-spiffe-id", WEB],
        ["x-kept", "1"],
        ["x-spiffe-id", ADMIN],
      ],
      [
        ["x-spiffe-id", ""],
        ["x-spiffe-id", WEB],
      ],
    ];
    const malformed = [
      "",
      "web",
      "spiffe://",
      `${WEB},${WEB}`,
      `${WEB}, ${ADMIN}`,
      `${WEB} ${ADMIN}`,
      `"${WEB}"`,
      `<${WEB}>`,
      `${WEB}/`,
      `${WEB}?a`,
      `${WEB}#a`,
      `${WEB};a`,
      "spiffe://example.org/*",
      "spiffe://example.org//web",
      "spiffe://example.org/../web",
      "spiffe://example.org/%77eb",
      "spiffe://Example.org/web",
      "SPIFFE://example.org/web",
      "spiffe://a@example.org/web",
      "spiffe://example.org:443/web",
      "https://example.org/web",
      "spiffe://example.org/w\xe9b",
      long,
    ];
    for (const [protocol, client, host] of clients(gatewayIdentity)) {
      const ask = async (fields: readonly RawField[]) => known(await client.ask("/", [host, ...fields]));
      for (const fields of none) assert.equal(await ask(fields), `x509 ${GATEWAY} for null`, `${protocol} ${fields}`);
      for (const fields of one) assert.equal(await ask(fields), `x509 ${GATEWAY} for ${WEB}`, `${protocol} ${fields}`);
      const before = told.length;
      for (const fields of [...doubled, ...malformed.map((value): RawField[] => [["x-spiffe-id", value]])])
        assert.equal(await ask(fields), "400 request.spiffe-id", `${protocol} ${JSON.stringify(fields)}`);
      assert.equal(told.length, before);
      client.close();
    }
  });

  it("what HTTP/1.1 alone can write: capitals, blanks around the value, Connection", async () => {
    const [[, client, host]] = clients(gatewayIdentity) as [[string, RawClient, RawField]];
    const ask = async (...fields: RawField[]) => known(await client.ask("/", [host, ...fields]));
    const wanted = `x509 ${GATEWAY} for ${WEB}`;
    assert.equal(await ask(["X-Spiffe-Id", WEB]), wanted);
    assert.equal(await ask(["X-SPIFFE-ID", WEB]), wanted);
    assert.equal(await ask(["X-Spiffe-Id", `  ${WEB} \t`]), wanted);
    assert.equal(await ask(["X_Spiffe_Id", WEB]), `x509 ${GATEWAY} for null`);
    assert.equal(await ask(["X-Spiffe-Id", WEB], ["x-SPIFFE-id", WEB]), "400 request.spiffe-id");
    // neither says who calls nor takes away who does: else a caller could make itself nobody through a careless proxy
    assert.equal(await ask(["Connection", "x-spiffe-id"], ["X-Spiffe-Id", WEB]), wanted);
    assert.equal(await ask(["Connection", `x-spiffe-id, keep-alive`]), `x509 ${GATEWAY} for null`);
    client.close();
  });

  it("trailers say nothing, and what a request says is its own on a kept connection", async () => {
    for (const [protocol, client, host] of clients(gatewayIdentity)) {
      const ask = async (...fields: RawField[]) => known(await client.ask("/", [host, ...fields]));
      assert.equal(await ask(["x-spiffe-id", WEB]), `x509 ${GATEWAY} for ${WEB}`, protocol);
      assert.equal(await ask(), `x509 ${GATEWAY} for null`, protocol);
      assert.equal(await ask(["x-spiffe-id", ADMIN]), `x509 ${GATEWAY} for ${ADMIN}`, protocol);
      assert.equal(await ask(), `x509 ${GATEWAY} for null`, protocol);
      client.close();
    }
    const chunked = (fields: readonly string[]) =>
      [
        ...["POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "Trailer: x-spiffe-id", ...fields],
        ...["Connection: close", "", "2", "hi", "0", `x-spiffe-id: ${ADMIN}`, "", ""],
      ].join("\r\n");
    const post = { ":path": "/", ":method": "POST" };
    for (const [field, caller] of [
      [undefined, null],
      [WEB, WEB],
    ] as const) {
      const text = chunked(field === undefined ? [] : [`x-spiffe-id: ${field}`]);
      const one = await rawExchange(gatewayIdentity, server.port, text, ORDERS);
      assert.equal(known({ status: statusOf(one), body: one }), `x509 ${GATEWAY} for ${caller}`);
      const head = field === undefined ? post : { ...post, "x-spiffe-id": field };
      const two = await http2Once(gatewayIdentity, server.port, head, "hi", { "x-spiffe-id": ADMIN }, ORDERS);
      assert.equal(known({ status: two.status, body: two.text }), `x509 ${GATEWAY} for ${caller}`);
    }
    assert.deepEqual(
      told.slice(-4).map(({ body }) => body),
      ["hi", "hi", "hi", "hi"],
    );
  });

  it("upgrades and bodies that are held back go the same way", async () => {
    const upgrade = [
      ...["GET / HTTP/1.1", "Host: a", "Upgrade: websocket", "Connection: Upgrade, close", "Sec-WebSocket-Version: 13"],
      ...["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", `X-Spiffe-Id: ${WEB}`, "", ""],
    ].join("\r\n");
    const held = [
      ...["POST / HTTP/1.1", "Host: a", "Expect: 100-continue", "Content-Length: 2", "Connection: close"],
      ...[`X-Spiffe-Id: ${WEB}`, "", "hi"],
    ].join("\r\n");
    for (const text of [upgrade, held]) {
      for (const [who, caller] of [
        [gatewayIdentity, WEB],
        [guest, null],
      ] as const) {
        const answer = await rawExchange(who, server.port, text, ORDERS);
        const status = Number(/HTTP\/1\.1 ([2-5]\d\d)/.exec(answer)?.[1]);
        assert.equal(known({ status, body: answer }), `x509 ${who.x509.x509Svid().id.uri} for ${caller}`);
      }
    }
  });
});

describe("[S-21] where no caller is told", () => {
  it("over plaintext, whoever's token it is", async () => {
    const plain: PlainServer = await servePlain(app, { port: 0, signals: [] });
    try {
      const headers = { authorization: await bearer("gateway", ORDERS), "x-spiffe-id": WEB };
      const answer = await fetch(`http://127.0.0.1:${plain.port}/`, { headers });
      assert.equal(known({ status: answer.status, body: await answer.text() }), `jwt ${GATEWAY} for null`);
    } finally {
      await plain.close({ deadlineMs: 0 });
    }
  });

  it("a listener that strips nothing is refused as wrong wiring, and told once", async () => {
    const listener: TlsListener = await listen(await world.identity("orders"), {
      address: "127.0.0.1",
      port: 0,
      fetch: (request, info) => app.fetch(request, info as never),
    });
    try {
      for (const who of [gatewayIdentity, guest]) {
        for (const [protocol, client, host] of clients(who, listener.port)) {
          const answer = await client.ask("/", [host, ["x-spiffe-id", ADMIN]]);
          assert.equal(answer.status, 500, protocol);
          assert.match(answer.body, /"code":"ERR_SPIFFE_NO_LISTENER"/);
          client.close();
        }
      }
      assert.deepEqual(told, []);
      assert.equal(faults.length, 1);
      const [[, client, host]] = clients(gatewayIdentity, listener.port) as [[string, RawClient, RawField]];
      assert.equal(known(await client.ask("/", [host])), `x509 ${GATEWAY} for null`);
      client.close();
    } finally {
      await listener.close({ deadlineMs: 0 });
    }
  });

  it("what a test says counts for nothing on a real connection", async () => {
    const assumed = asPeer(GATEWAY, { caller: ADMIN });
    const wrapped = { fetch: (request: Request, env: object) => app.fetch(request, { ...env, ...assumed } as never) };
    const options = { workload: await world.identity("orders"), address: "127.0.0.1", port: 0, signals: [] };
    const sly = await serve(wrapped as never, options);
    try {
      for (const who of [gatewayIdentity, guest]) {
        for (const [protocol, client, host] of clients(who, sly.port)) {
          assert.equal(known(await client.ask("/", [host])), `x509 ${who.x509.x509Svid().id.uri} for null`, protocol);
          client.close();
        }
      }
    } finally {
      await sly.close({ deadlineMs: 0 });
    }
    const alone = await app.request("/", {}, assumed);
    assert.equal(known({ status: alone.status, body: await alone.text() }), `x509 ${GATEWAY} for ${ADMIN}`);
  });
});
