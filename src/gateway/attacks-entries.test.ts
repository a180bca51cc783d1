/** Ways into a server beside the plain request, tried by callers that TLS refuses and by callers that the policy denies. */
import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { after, before, describe, it } from "node:test";
import type { TLSSocket } from "node:tls";
import { http2Frame } from "../../test/support/http2-frames.ts";
import { ManualClock, TestCa } from "../authority/testing.ts";
import { http1Get, http2Requests, http2Told, rawExchange, rawOptions, type Shown, shown } from "../tls/wire.testing.ts";
import { createGateway } from "./gateway.ts";
import type { Gateway } from "./gateway-types.ts";
import { idOf, requestLog, until, World } from "./world.testing.ts";

const WEBSOCKET = ["upgrade: websocket", "sec-websocket-version: 13", "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="];
const SWITCHED =
  "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/** A way in, what comes back on it, and how often its request reaches the upstream. */
interface Way {
  readonly name: string;
  readonly alpn: "http/1.1" | "h2";
  readonly bytes: Uint8Array;
  /** What a caller sends once it is told to go on. */
  readonly body?: Uint8Array;
  /** The answer to a caller that the policy denies. */
  readonly denied: string;
  /** The answer to one that it allows. */
  readonly allowed: string;
  readonly reaches: 0 | 1;
  /** The reason in the log for both, where the answer tells none or the method alone is refused. */
  readonly logged?: string;
  /** What the request is without the odd thing in it, where nobody is let in with that. */
  readonly twin?: Uint8Array;
}

const post = (fields: readonly string[] = []): Uint8Array =>
  Buffer.from(["POST /up/1 HTTP/1.1", "host: orders", "content-length: 2", ...fields, "", ""].join("\r\n"));
/** The request, with its body to come. */
const http2Post = (extra: readonly (readonly [string, string])[] = []): Uint8Array => {
  const bytes = Buffer.from(http2Requests(1, extra, "POST"));
  bytes[http2Requests(0).length + 4] = 4;
  return bytes;
};
const HTTP2_BODY = http2Frame(0, 1, 1, Buffer.from("hi"));
const EXTENDED = [
  [":protocol", "websocket"],
  [":scheme", "https"],
  [":path", "/ws/1"],
] as const;

const WAYS: readonly Way[] = [
  {
    name: "an upgrade to WebSocket",
    alpn: "http/1.1",
    bytes: http1Get("/ws/1", ["connection: upgrade", ...WEBSOCKET]),
    denied: "403 policy.default-deny",
    allowed: "101",
    reaches: 1,
  },
  {
    name: "an upgrade to WebSocket where none is served",
    alpn: "http/1.1",
    bytes: http1Get("/up/1", ["connection: upgrade", ...WEBSOCKET]),
    denied: "403 policy.default-deny",
    allowed: "400 request.upgrade",
    reaches: 0,
    twin: http1Get("/up/1"),
  },
  {
    name: "an upgrade to h2c",
    alpn: "http/1.1",
    bytes: http1Get("/ws/1", ["connection: upgrade, http2-settings", "upgrade: h2c", "http2-settings: AAMAAABk"]),
    denied: "403 policy.default-deny",
    allowed: "400 request.upgrade",
    reaches: 0,
    twin: http1Get("/up/1"),
  },
  {
    name: "CONNECT",
    alpn: "http/1.1",
    bytes: Buffer.from("CONNECT orders:1 HTTP/1.1\r\nhost: orders:1\r\n\r\n"),
    denied: "400 request.method",
    allowed: "400 request.method",
    logged: "request.method",
    reaches: 0,
    twin: http1Get("/up/1"),
  },
  {
    name: "Expect: 100-continue",
    alpn: "http/1.1",
    bytes: post(["expect: 100-continue"]),
    body: Buffer.from("hi"),
    denied: "403 policy.default-deny",
    allowed: "100 200",
    reaches: 1,
  },
  {
    name: "another Expect",
    alpn: "http/1.1",
    bytes: Buffer.concat([post(["expect: x"]), Buffer.from("hi")]),
    denied: "403 policy.default-deny",
    allowed: "417 request.expectation",
    reaches: 0,
    twin: Buffer.concat([post(), Buffer.from("hi")]),
  },
  {
    name: "100-continue beside another Expect",
    alpn: "http/1.1",
    bytes: Buffer.concat([post(["expect: 100-continue, x"]), Buffer.from("hi")]),
    denied: "403 policy.default-deny",
    allowed: "417 request.expectation",
    reaches: 0,
    twin: Buffer.concat([post(), Buffer.from("hi")]),
  },
  {
    name: "CONNECT",
    alpn: "h2",
    bytes: http2Requests(1, [], "CONNECT"),
    denied: "400",
    allowed: "400",
    logged: "request.method",
    reaches: 0,
    twin: http2Requests(1),
  },
  {
    name: "extended CONNECT",
    alpn: "h2",
    bytes: http2Requests(1, EXTENDED, "CONNECT"),
    // nobody is offered it: the stream breaks RFC 8441 section 3, and one runtime ends the connection with it
    denied: "broken",
    allowed: "broken",
    reaches: 0,
    twin: http2Requests(1),
  },
  {
    name: "Expect: 100-continue",
    alpn: "h2",
    bytes: http2Post([["expect", "100-continue"]]),
    body: HTTP2_BODY,
    denied: "403",
    allowed: "100 200",
    reaches: 1,
  },
  {
    name: "another Expect",
    alpn: "h2",
    bytes: Buffer.concat([http2Post([["expect", "x"]]), HTTP2_BODY]),
    denied: "403",
    allowed: "417",
    reaches: 0,
    twin: Buffer.concat([http2Post(), HTTP2_BODY]),
  },
];

/** Statuses of the answers on a connection of HTTP/1.1, and the reason in the last one. */
function http1Told(seen: Buffer): string[] {
  const text = seen.toString("latin1");
  const reason = /"reason":"([^"]+)"/.exec(text)?.[1];
  return [...[...text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status]) => status!), ...(reason ? [reason] : [])];
}

/** Whether the last answer on a connection of HTTP/1.1 is whole. */
function http1Whole(seen: Buffer): boolean {
  const text = seen.toString("latin1");
  const begin = /HTTP\/1\.1 (?!100)\d{3}/.exec(text)?.index;
  if (begin === undefined) return false;
  const head = text.indexOf("\r\n\r\n", begin);
  const length = /^content-length: (\d+)/im.exec(text.slice(begin))?.[1];
  return head >= 0 && text.length >= head + 4 + Number(length ?? 0);
}

/** Statuses of the answers on the first stream up to the final one, or that it was broken off. */
function http2Outcome(seen: Buffer): string[] {
  const told = http2Told(seen, 1);
  const last = told.findIndex((each) => each !== "100");
  const outcome = last < 0 ? told : told.slice(0, last + 1);
  return outcome.map((each) => (/^\d+$/.test(each) ? each : "broken"));
}

let world: World;
let gateway: Gateway;
let upstream: Server;
const clock = new ManualClock();
const log = requestLog();
/** What the upstream has got: connections, heads of requests, bytes of bodies, upgrades. */
let got: { connections: number; heads: string[][]; bytes: number };
const sockets = new Set<Duplex>();

/** What comes back to a caller, as far as it says what became of the request. */
async function go(show: Shown, { alpn, bytes, body }: Pick<Way, "alpn" | "bytes" | "body">): Promise<string> {
  let socket: TLSSocket | undefined;
  let asked = false;
  const told = (seen: Buffer) => (alpn === "h2" ? http2Outcome(seen) : http1Told(seen));
  const enough = (seen: Buffer) => {
    const now = told(seen);
    if (body !== undefined && !asked && now.includes("100")) {
      asked = true;
      socket?.write(body);
    }
    return alpn === "h2" ? now.some((each) => each !== "100") : http1Whole(seen);
  };
  const { port } = gateway.listeners[0]!;
  const { bytes: seen } = await rawExchange(rawOptions(port, show, alpn), bytes, enough, (secure) => {
    socket = secure;
  });
  return told(seen).join(" ");
}

describe("ways into the gateway beside the plain request", () => {
  let web: Shown;
  let guest: Shown;
  let refused: readonly Shown[];
  before(async () => {
    world = await World.create();
    const stranger = await TestCa.create();
    web = shown(await world.ca.issue({ id: idOf("web") }));
    guest = shown(await world.ca.issue({ id: idOf("guest") }));
    refused = [undefined, shown(await stranger.issue({ id: idOf("web") }))];
    upstream = createServer((request, response) => {
      got.heads.push(request.rawHeaders);
      request.on("data", (chunk: Uint8Array) => {
        got.bytes += chunk.byteLength;
      });
      request.on("end", () => response.end("ok"));
    });
    upstream.on("connection", (socket) => {
      got.connections++;
      sockets.add(socket);
    });
    upstream.on("upgrade", (request, socket) => {
      got.heads.push(request.rawHeaders);
      socket.on("error", () => {});
      socket.write(SWITCHED);
    });
    await new Promise<void>((resolve) => upstream.listen(0, "127.0.0.1", resolve));
    gateway = await createGateway(
      {
        status: { port: 0 },
        listen: { address: "127.0.0.1", port: 0 },
        upstreams: { up: { url: `http://127.0.0.1:${(upstream.address() as AddressInfo).port}` } },
        routes: [
          { name: "websocket", path: "/ws/**", upstream: "up", websocket: true },
          { name: "plain", path: "/**", upstream: "up" },
        ],
        policy: [{ rule: "web", allow: { ids: [idOf("web")] } }],
        accessLog: { everyRefusal: true },
      },
      { workload: await world.identity("gateway"), logger: log, clock },
    );
  });
  after(async () => {
    await gateway?.close({ deadlineMs: 0 });
    upstream?.close();
    for (const socket of sockets) socket.destroy();
  });

  for (const way of WAYS) {
    it(`[A-6] [G-2] ${way.name} (${way.alpn}) of refused and of denied callers reaches nothing, and its twin the upstream`, async () => {
      got = { connections: 0, heads: [], bytes: 0 };
      log.lines.length = 0;
      for (const show of refused) {
        assert.equal(await go(show, way), "");
        // else the address would be shut out for its refusals
        await clock.advance(11_000);
      }
      assert.equal(log.lines.length, 0, "a refused caller's request was looked at");
      assert.equal(await go(guest, way), way.denied);
      assert.deepEqual(
        [got.connections, got.heads.length, got.bytes],
        [0, 0, 0],
        "a denied caller reached the upstream",
      );
      assert.equal(await go(web, way), way.allowed);
      assert.equal(got.heads.length, way.reaches);
      if (way.logged !== undefined) {
        await until(() => log.lines.length === 2);
        for (const { method, reason } of log.lines) assert.deepEqual([method, reason], ["CONNECT", way.logged]);
      }
      if (way.twin !== undefined) assert.equal(await go(web, { alpn: way.alpn, bytes: way.twin }), "200");
      assert.equal(got.heads.length, 1);
      assert.ok(!got.heads[0]!.some((name) => /^(?:expect|http2-settings)$/i.test(name)), "Expect went on");
      if (way.body !== undefined) assert.equal(got.bytes, 2);
      // the line of the one that got through comes last
      await until(() => log.lines.some(({ status }) => status === 101 || status === 200));
    });
  }
});
