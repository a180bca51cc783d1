/** Requests that come while their connection ends: each is answered, or nobody acts on it. */
import assert from "node:assert/strict";
import { afterEach, before, beforeEach, describe, it } from "node:test";
import { connect as dialTls, type TLSSocket } from "node:tls";
import type { StaticIdentity } from "../authority/static-identity.ts";
import { TestCa } from "../authority/test-ca.ts";
import { until } from "../gateway/world.testing.ts";
import type { ListenerResponse } from "./connections.ts";
import { listen, type TlsListener } from "./listen.ts";
import {
  http1Get,
  http2Get,
  http2Requests,
  http2Told,
  identityOf,
  rawOptions,
  type Shown,
  shown,
} from "./wire.testing.ts";

/** What is done with a request, in the order of their coming, and the answers that a test has to end itself. */
const handled: string[] = [];
const open: ListenerResponse[] = [];

/** Whether every answer waits for the test. */
let holds = false;
let orders: StaticIdentity;
let show: Shown;
let server: TlsListener;

/** A client that writes bytes and reads until the connection ends. */
async function client(alpn = "http/1.1") {
  const { accepted } = server.counters;
  const socket: TLSSocket = dialTls(rawOptions(server.port, show, alpn));
  let seen: Buffer = Buffer.alloc(0);
  let over = false;
  socket.setNoDelay(true);
  socket.on("error", () => {});
  socket.on("data", (chunk: Buffer) => {
    seen = Buffer.concat([seen, chunk]);
  });
  const closed = new Promise<void>((resolve) =>
    socket.once("close", () => {
      over = true;
      resolve();
    }),
  );
  await new Promise((resolve) => socket.once("secureConnect", resolve));
  await until(() => server.counters.accepted > accepted);
  return {
    write: (...parts: Uint8Array[]) => socket.write(Buffer.concat(parts)),
    closed,
    isOver: () => over,
    text: () => seen.toString("latin1"),
    told: (stream: number) => http2Told(seen, stream),
    answers: () => seen.toString("latin1").match(/HTTP\/1\.1 (?:200|101|400)/g)?.length ?? 0,
  };
}

const post = (path: string, fields: string, body = "") =>
  Buffer.from(`POST ${path} HTTP/1.1\r\nhost: orders\r\n${fields}\r\n\r\n${body}`);

/** Each way into a handler over HTTP/1.1, as bytes. */
const WAYS: readonly (readonly [way: string, bytes: Uint8Array])[] = [
  ["a request", http1Get("/late")],
  ["a request with its body", post("/late", "content-length: 4", "body")],
  ["a request whose body goes on", post("/late", "transfer-encoding: chunked", "4\r\nbody\r\n")],
  ["a request that waits to be asked for its body", post("/late", "content-length: 4\r\nexpect: 100-continue")],
  ["an upgrade", http1Get("/late", ["connection: upgrade", "upgrade: echo"])],
  ["a CONNECT", Buffer.from("CONNECT orders:1 HTTP/1.1\r\nhost: orders:1\r\n\r\n")],
];

describe("requests that come while a listener drains", () => {
  before(async () => {
    const ca = await TestCa.create();
    show = shown(await ca.issue({ id: "spiffe://example.org/web" }));
    orders = await identityOf("spiffe://example.org/orders", ca);
  });
  beforeEach(async () => {
    handled.length = 0;
    open.length = 0;
    holds = false;
    server = await listen(orders, {
      address: "127.0.0.1",
      port: 0,
      handler: ({ url = "" }, response) => {
        handled.push(url);
        if (holds || url.startsWith("/open")) open.push(response);
        else response.end("ok");
      },
      onUpgrade: (_request, socket) => {
        handled.push("upgrade");
        socket.end("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n");
      },
      onConnect: {
        http1: (_request, socket) => {
          handled.push("connect");
          socket.end("HTTP/1.1 200 OK\r\n\r\n");
        },
        http2: (_request, response) => void response.end(),
      },
    });
  });
  afterEach(() => server.close({ deadlineMs: 0 }));

  for (const [way, bytes] of WAYS) {
    it(`[S-9] ${way} behind the end of an idle connection reaches no handler, and before it is answered`, async () => {
      const one = await client();
      one.write(bytes);
      await until(() => one.answers() === 1);
      assert.equal(handled.splice(0).length, 1);
      const late = await client();
      late.write(http1Get("/first"));
      await until(() => late.answers() === 1);
      assert.deepEqual(handled.splice(0), ["/first"]);
      const closing = server.close({ deadlineMs: 20_000 });
      late.write(bytes);
      await Promise.all([closing, late.closed]);
      assert.deepEqual(handled, []);
      assert.equal(late.answers(), 1);
    });
  }

  it("[S-9] one behind the last answer of a drain reaches no handler", async () => {
    const kept = await client();
    kept.write(http1Get("/open"));
    await until(() => open.length === 1);
    // says nothing yet of an end
    open[0]!.write("begun ");
    await until(() => kept.text().includes("begun "));
    const closing = server.close({ deadlineMs: 20_000 });
    open[0]!.once("close", () => kept.write(http1Get("/late")));
    open[0]!.end("done");
    await Promise.all([closing, kept.closed]);
    assert.deepEqual(handled, ["/open"]);
    assert.match(kept.text(), /done/);
  });

  it("[S-9] of several on one connection, at one time or one behind the other, each that is handled is answered", async () => {
    const together = await client();
    together.write(http1Get("/open/1"), http1Get("/open/2"), http1Get("/open/3"));
    const behind = await client();
    behind.write(http1Get("/open/4"));
    await until(() => handled.includes("/open/1") && handled.includes("/open/4"));
    const before = handled.length;
    const closing = server.close({ deadlineMs: 20_000 });
    behind.write(http1Get("/open/5"));
    await answerAll(() => together.isOver() && behind.isOver());
    assert.deepEqual(await closing, { cut: 0 });
    assert.equal(together.answers() + behind.answers(), handled.length, handled.join());
    assert.ok(handled.length >= before);
    assert.match(together.text(), /connection: close/i);
    assert.match(behind.text(), /connection: close/i);
  });

  it("[S-9] a stream of HTTP/2 behind GOAWAY reaches no handler, one before it is answered", async () => {
    const session = await client("h2");
    holds = true;
    session.write(http2Requests(1));
    await until(() => handled.length === 1);
    const closing = server.close({ deadlineMs: 20_000 });
    session.write(http2Get(3));
    await answerAll(session.isOver);
    assert.deepEqual(await closing, { cut: 0 });
    assert.deepEqual(session.told(1), ["200"]);
    assert.equal(session.told(3).includes("200"), handled.length === 2);
  });

  /** Ends what is open, and what comes then, until all is over. */
  function answerAll(isOver: () => boolean): Promise<void> {
    return until(() => {
      for (const response of open.splice(0)) response.end("ok");
      return isOver();
    });
  }
});
