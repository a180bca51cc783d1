import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import { createSecureServer, type Http2SecureServer } from "node:http2";
import { after, before, describe, it } from "node:test";
import type { TLSSocket } from "node:tls";
import { TestCa } from "../authority/test-ca.ts";
import { guardEntries, type Rooms } from "./entries.ts";
import { markConnection } from "./peer.ts";
import {
  http1Done,
  http1Get,
  http2Ended,
  http2Requests,
  http2Told,
  rawExchange,
  rawOptions,
  type Shown,
  shown,
} from "./wire.testing.ts";

interface Way {
  way: string;
  alpn: string;
  bytes: Uint8Array;
  /** What an HTTP/1.1 answer holds, or how many streams of HTTP/2 are answered. */
  answer: RegExp | number;
  handled: number;
}

/** Every way in, as bytes, with what an accepted client gets back. */
const WAYS: readonly Way[] = [
  { way: "request", alpn: "http/1.1", bytes: http1Get(), answer: /HTTP\/1\.1 200/, handled: 1 },
  {
    way: "upgrade",
    alpn: "http/1.1",
    bytes: http1Get("/", ["connection: upgrade", "upgrade: echo"]),
    answer: /HTTP\/1\.1 101/,
    handled: 1,
  },
  {
    way: "CONNECT",
    alpn: "http/1.1",
    bytes: Buffer.from("CONNECT orders:1 HTTP/1.1\r\nhost: orders:1\r\n\r\n"),
    answer: /HTTP\/1\.1 400/,
    handled: 0,
  },
  {
    way: "Expect: 100-continue",
    alpn: "http/1.1",
    bytes: http1Get("/", ["expect: 100-continue"]),
    answer: /^HTTP\/1\.1 200/,
    handled: 1,
  },
  {
    way: "another Expect",
    alpn: "http/1.1",
    bytes: http1Get("/", ["expect: more"]),
    answer: /HTTP\/1\.1 417/,
    handled: 0,
  },
  { way: "stream", alpn: "h2", bytes: http2Requests(5), answer: 5, handled: 5 },
  { way: "stream with CONNECT", alpn: "h2", bytes: http2Requests(1, [], "CONNECT"), answer: 1, handled: 0 },
  {
    way: "stream with Expect",
    alpn: "h2",
    bytes: http2Requests(1, [["expect", "100-continue"]]),
    answer: 1,
    handled: 1,
  },
];

type Marking = "accepted" | "refused" | "none";

let server: Http2SecureServer;
let port: number;
let show: Shown;
let marking: Marking = "none";
let handled = 0;
let stray = 0;

const rooms: Rooms = {
  handler: (_request, response) => {
    handled++;
    response.end("ok");
  },
  maxHeaderBytes: 4_096,
  countsHttp1: true,
  onUpgrade: (_request, socket) => {
    handled++;
    socket.end("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n");
  },
  begin: () => true,
  goesOn() {},
  upgraded: () => true,
  session() {},
  streamClosed() {},
  stray: () => stray++,
  failed: (error) => assert.fail(String(error)),
};

async function start(): Promise<void> {
  const ca = await TestCa.create();
  const { cert, key } = shown(await ca.issue({ id: "spiffe://example.org/orders" }));
  show = shown(await ca.issue({ id: "spiffe://example.org/web" }));
  // A server without the gate: what is tested is the second answer alone.
  server = createSecureServer({ cert, key, allowHTTP1: true, ALPNProtocols: ["h2", "http/1.1"] });
  server.prependListener("secureConnection", (socket: TLSSocket) => {
    if (marking !== "none") markConnection(socket, { accepted: marking === "accepted" });
  });
  guardEntries(server, rooms);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  port = (server.address() as { port: number }).port;
}

describe("entry points", () => {
  before(start);
  after(() => server.close());

  for (const { way, alpn, bytes, answer, handled: expected } of WAYS) {
    it(`[S-1] [A-6] ${way} (${alpn}) is cut without an acceptance and served with one`, async () => {
      const answered = (seen: Buffer) =>
        typeof answer === "number" ? http2Ended(seen) >= answer : answer.test(seen.toString("latin1"));
      for (const refusing of ["none", "refused"] as const) {
        marking = refusing;
        handled = stray = 0;
        const seen = await rawExchange(rawOptions(port, show, alpn), bytes, answered);
        assert.equal(seen.handshake, true);
        assert.equal(answered(seen.bytes), false);
        assert.equal(handled, 0);
        assert.ok(stray > 0, "nothing noticed it");
      }
      marking = "accepted";
      handled = stray = 0;
      const seen = await rawExchange(rawOptions(port, show, alpn), bytes, answered);
      assert.equal(answered(seen.bytes), true);
      assert.equal(handled, expected);
      assert.equal(stray, 0);
    });
  }

  it("[S-1] a stream that came past the look at its session ends that without an acceptance, and not with one", () => {
    for (const accepted of [undefined, false, true]) {
      stray = 0;
      let destroyed = 0;
      const bare = new EventEmitter();
      guardEntries(bare as unknown as Http2SecureServer, rooms);
      const socket = {};
      if (accepted !== undefined) markConnection(socket, { accepted });
      const session = { socket, destroy: () => destroyed++ };
      bare.emit("stream", Object.assign(new EventEmitter(), { session, endAfterHeaders: true }));
      assert.deepEqual([stray, destroyed], accepted === true ? [0, 0] : [1, 1]);
    }
  });

  const upgrade = ["connection: upgrade", "upgrade: echo"];
  const ends = (seen: Buffer) => /^HTTP\/1\.1 101/.test(seen.toString()) || http1Done(seen);
  const http1 = (seen: Buffer) => seen.toString("latin1").slice(9, 12);
  const http2 = (seen: Buffer) => http2Told(seen, 1).join();
  const fields = (count: number) => Array.from({ length: count }, (_, i) => [`x-${i}`, "a".repeat(100)] as const);
  const lines = (count: number) => fields(count).map((field) => field.join(": "));
  for (const { way, alpn, bytes, told, refused, accepted } of [
    {
      way: "request",
      alpn: "http/1.1",
      bytes: (more: number) => http1Get("/", lines(more)),
      told: http1,
      refused: "431",
      accepted: "200",
    },
    {
      way: "Expect: 100-continue",
      alpn: "http/1.1",
      bytes: (more: number) => http1Get("/", ["expect: 100-continue", ...lines(more)]),
      told: http1,
      refused: "431",
      accepted: "200",
    },
    {
      way: "upgrade",
      alpn: "http/1.1",
      bytes: (more: number) => http1Get("/", [...upgrade, ...lines(more)]),
      told: http1,
      refused: "",
      accepted: "101",
    },
    {
      way: "stream",
      alpn: "h2",
      bytes: (more: number) => http2Requests(1, fields(more)),
      told: http2,
      refused: "431",
      accepted: "200",
    },
  ]) {
    it(`[S-25] a head of more bytes than may be reaches nobody by ${way} (${alpn}), one of fewer does`, async () => {
      marking = "accepted";
      const done = alpn === "h2" ? (seen: Buffer) => http2Ended(seen) > 0 : ends;
      for (const [more, answer, count] of [
        [50, refused, 0],
        [30, accepted, 1],
      ] as const) {
        handled = stray = 0;
        const seen = await rawExchange(rawOptions(port, show, alpn), bytes(more), done);
        assert.equal(told(seen.bytes), answer);
        assert.deepEqual([handled, stray], [count, 0]);
      }
    });
  }
});
