/** Upstreams that are not who was pinned, and what they hear when the gateway dials them. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { StaticIdentity } from "../authority/static-identity.ts";
import { testJwtBundle, testJwtKey } from "../authority/testing.ts";
import { TrustDomain } from "../id/index.ts";
import { type Counting, CountingServers } from "../tls/counting.testing.ts";
import { createFetch, listen, type TlsListener } from "../tls/index.ts";
import { identityOf, many, type Shown, shown } from "../tls/wire.testing.ts";
import { HOME, makeWorld, WEB } from "../tls/wrong-peers.testing.ts";
import type { RouteInput, UpstreamInput } from "./config-types.ts";
import { createGateway } from "./gateway.ts";
import type { Gateway } from "./gateway-types.ts";
import { http2Once, rawExchange, statusOf, until } from "./world.testing.ts";

const GATEWAY = `spiffe://${HOME}/gateway`;
/** What a caller sends and nobody but the pinned upstream may hear. */
const SECRET = "a secret of the caller";
/** Dials in a row after which an upstream is left alone for a while. */
const DIALS = 5;
/** Upstreams of each class and way. */
const COPIES = 3;

/** How a caller asks, and what the gateway answers for a wrong upstream and passes on from the right one. */
interface Way {
  readonly name: string;
  readonly protocol: "http1" | "h2";
  readonly refused: string;
  readonly served: string;
  ask(caller: StaticIdentity, port: number, path: string): Promise<string>;
}

const WAYS: readonly Way[] = [
  {
    name: "http1",
    protocol: "http1",
    refused: "502 upstream.identity",
    served: `200 ${SECRET}`,
    ask: (caller, port, path) => post(caller, port, path),
  },
  {
    name: "http2",
    protocol: "h2",
    refused: "502 upstream.identity",
    served: `200 ${SECRET}`,
    ask: (caller, port, path) => post(caller, port, path),
  },
  {
    name: "grpc",
    protocol: "h2",
    refused: "14 upstream.identity",
    served: "0 undefined",
    async ask(caller, port, path) {
      const headers = { ":method": "POST", ":path": path, "content-type": "application/grpc", te: "trailers" };
      const { trailers } = await http2Once(caller, port, headers, SECRET, undefined, GATEWAY);
      return `${trailers["grpc-status"]} ${trailers["spiffe-reason"]}`;
    },
  },
  {
    name: "websocket",
    protocol: "http1",
    refused: "502 upstream.identity",
    served: "101 undefined",
    async ask(caller, port, path) {
      const key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
      const upgrade = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", key];
      // frames behind the handshake, as by a caller that cannot wait
      const text = [`GET ${path} HTTP/1.1`, "Host: edge.example", ...upgrade, "", SECRET].join("\r\n");
      const answer = await rawExchange(caller, port, text, GATEWAY);
      return `${statusOf(answer)} ${/"reason":"([^"]+)"/.exec(answer)?.[1]}`;
    },
  },
];

async function post(caller: StaticIdentity, port: number, path: string): Promise<string> {
  const init = { method: "POST", headers: { authorization: `Bearer ${SECRET}` }, body: SECRET };
  const response = await createFetch(caller, { peer: GATEWAY })(`https://127.0.0.1:${port}${path}`, init);
  const text = await response.text();
  return `${response.status} ${text.startsWith("{") ? JSON.parse(text).reason : text}`;
}

/** A class of upstreams, with what each of its members has heard. */
interface Class {
  readonly name: string;
  readonly servers: Readonly<Record<Way["protocol"], Counting>>;
}

const servers = new CountingServers();
const classes: Class[] = [];
let gateway: Gateway;
let caller: StaticIdentity;
let right: TlsListener;
let served = 0;

async function classOf(name: string, show: NonNullable<Shown>): Promise<Class> {
  const [http1, h2] = await Promise.all([servers.open(show, ["http/1.1"]), servers.open(show, ["h2"])]);
  return { name, servers: { http1, h2 } };
}

describe("wrong upstreams of the gateway", () => {
  before(async () => {
    const world = await makeWorld("serverAuth");
    const identity = (name: string) => identityOf(`spiffe://${HOME}/${name}`, world.home, world.partner);
    caller = await identity("caller");
    right = await listen(await identityOf(WEB, world.home, world.partner), {
      port: 0,
      address: "127.0.0.1",
      handler: (request, response) => {
        served++;
        const isCall = request.headers["content-type"] === "application/grpc";
        response.writeHead(200, { "content-type": request.headers["content-type"] ?? "text/plain" });
        request.on("data", (chunk: Uint8Array) => void response.write(chunk));
        request.on("end", () => {
          if (isCall) response.addTrailers({ "grpc-status": "0" });
          response.end();
        });
      },
      onUpgrade: (_request, socket) => {
        served++;
        const accept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
        socket.end(
          `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n${accept}\r\n\r\n`,
        );
      },
    });
    for (const { name, show } of world.wrong) if (show !== undefined) classes.push(await classOf(name, show));
    classes.push(await classOf("another ID than pinned", shown(await world.home.issue({ id: `${WEB}2` }))));
    const upstreams: Record<string, UpstreamInput> = {};
    const add = (name: string, port: number, protocol: Way["protocol"]) => {
      upstreams[name] = { url: `https://127.0.0.1:${port}`, id: WEB, protocol, retries: { max: 0 } };
    };
    for (const { name, protocol } of WAYS) {
      add(`right-${name}`, right.port, protocol);
      for (const [i, wrong] of classes.entries()) {
        for (let copy = 0; copy < COPIES; copy++)
          add(`wrong-${i}-${name}-${copy}`, wrong.servers[protocol].port, protocol);
      }
    }
    const route = (name: string): RouteInput => ({
      name,
      path: `/${name}`,
      upstream: name,
      ...(name.includes("websocket") ? { websocket: true } : {}),
    });
    const domain = TrustDomain.parse(HOME);
    const jwtBundle = testJwtBundle(domain, await testJwtKey());
    const jwt = { jwtBundleFor: (asked: TrustDomain) => (asked.equals(domain) ? jwtBundle : undefined) };
    gateway = await createGateway(
      {
        status: { port: 0 },
        listen: { address: "127.0.0.1", port: 0 },
        upstreams,
        routes: Object.keys(upstreams).map(route),
        policy: [{ rule: "caller", allow: { ids: [`spiffe://${HOME}/caller`] } }],
        accessLog: false,
      },
      { workload: { ...(await identity("gateway")), jwt } },
    );
  });
  after(async () => {
    await gateway?.close({ deadlineMs: 0 });
    await right?.close({ deadlineMs: 0 });
    servers.close();
  });

  for (const way of WAYS) {
    it(`[S-5] [A-5] [G-2] ${way.name}: each class of wrong upstreams hears no byte of a caller, the pinned one all`, async () => {
      const { port } = gateway.listeners[0]!;
      assert.ok(classes.length >= 16, `only ${classes.length} classes`);
      for (const [i, { name, servers }] of classes.entries()) {
        const wrong = servers[way.protocol];
        const before = wrong.connections;
        // calls of one upstream at the same time would share a dial over HTTP/2
        await many(COPIES, COPIES, async (copy) => {
          const path = `/wrong-${i}-${way.name}-${copy}`;
          for (let n = 0; n < DIALS; n++) assert.equal(await way.ask(caller, port, path), way.refused, name);
        });
        assert.equal(wrong.connections - before, DIALS * COPIES, `${name}: dials`);
        await until(() => wrong.open === 0);
        assert.equal(wrong.bytes, 0, `${name} heard something`);
      }
      served = 0;
      for (let i = 0; i < DIALS; i++) assert.equal(await way.ask(caller, port, `/right-${way.name}`), way.served);
      assert.equal(served, DIALS);
    });
  }

  it("[A-5] [S-8] a thousand wrong upstreams leave the gateway as it was", async () => {
    const dials = classes.reduce((sum, { servers: { http1, h2 } }) => sum + http1.connections + h2.connections, 0);
    assert.ok(dials >= 1_000, `${dials} dials`);
    assert.equal(gateway.state, "serving");
    assert.equal(await post(caller, gateway.listeners[0]!.port, "/right-http1"), `200 ${SECRET}`);
  });
});
