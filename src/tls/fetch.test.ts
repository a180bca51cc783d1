import assert from "node:assert/strict";
import type { EventEmitter } from "node:events";
import { after, before, describe, it } from "node:test";
import { type TLSSocket, createServer as tlsServer } from "node:tls";
import { eventually } from "../../test/support/eventually.ts";
import { skipWhen } from "../../test/support/skip.ts";
import type { StaticIdentity } from "../authority/static-identity.ts";
import { TestCa } from "../authority/test-ca.ts";
import { isSpiffeError } from "../base/errors.ts";
import { capabilities } from "../runtime/capabilities.ts";
import type { ListenerRequest } from "./connections.ts";
import type { Handler } from "./entries.ts";
import { createFetch, type SpiffeFetch } from "./fetch.ts";
import { listen, type TlsListener } from "./listen.ts";
import { peerOf } from "./peer.ts";
import { identityOf, shown } from "./wire.testing.ts";

const ORDERS = "spiffe://example.org/orders";

let ca: TestCa;
let web: StaticIdentity;
let server: TlsListener;
let base: string;
let call: SpiffeFetch;

async function bodyOf(request: ListenerRequest): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Bytes: far more than the kernel holds for one connection, which are up to 36 MiB. */
const ENDLESS = 256 * 1_048_576;
let written = 0;

/** Pages of the server, by path. */
const PAGES: { [path: string]: Handler } = {
  "/echo": async (request, response) => {
    const body = await bodyOf(request);
    response.setHeader("x-method", request.method ?? "");
    response.setHeader("x-headers", JSON.stringify(request.headers));
    response.end(body);
  },
  "/cookies": (_request, response) => {
    response.setHeader("set-cookie", ["a=1", "b=2"]);
    response.end();
  },
  "/redirect": (_request, response) => {
    response.writeHead(302, { location: "https://elsewhere.example/" });
    response.end();
  },
  "/empty": (_request, response) => {
    response.writeHead(204);
    response.end();
  },
  "/big": async (_request, response) => {
    for (let i = 0; i < 64; i++) response.write(Buffer.alloc(65_536, i));
    response.end();
  },
  "/endless": async (_request, response) => {
    written = 0;
    let gone = false;
    let wake = () => {};
    const out: EventEmitter = response;
    out.once("close", () => {
      gone = true;
      wake();
    });
    out.on("drain", () => wake());
    while (written < ENDLESS && !gone) {
      written += 65_536;
      const room = new Promise<void>((resolve) => {
        wake = resolve;
      });
      if (!response.write(Buffer.alloc(65_536))) await room;
    }
    response.end();
  },
  "/slow": (_request, response) => {
    response.write("first");
  },
};

/** A server that answers with exactly these bytes and then ends the connection. */
async function answering(bytes: string): Promise<{ url: string; close(): void }> {
  const raw = tlsServer({ ...shown(await ca.issue({ id: ORDERS })), requestCert: true, rejectUnauthorized: false });
  raw.on("secureConnection", (socket: TLSSocket) => {
    socket.on("error", () => {});
    socket.once("data", () => (bytes === "" ? socket.end() : socket.end(bytes)));
  });
  await new Promise<void>((resolve) => raw.listen(0, "127.0.0.1", resolve));
  return { url: `https://127.0.0.1:${(raw.address() as { port: number }).port}/`, close: () => raw.close() };
}

function upstream(phase: string) {
  return (error: unknown) => isSpiffeError(error, "ERR_SPIFFE_UPSTREAM") && error.phase === phase;
}

describe("createFetch", () => {
  before(async () => {
    ca = await TestCa.create();
    web = await identityOf("spiffe://example.org/web", ca);
    server = await listen(await identityOf(ORDERS, ca), {
      port: 0,
      address: "127.0.0.1",
      handler: (request, response) => PAGES[request.url?.split("?")[0] ?? ""]?.(request, response),
    });
    base = `https://127.0.0.1:${server.port}`;
    call = createFetch(web, { peer: ORDERS });
  });
  after(() => server.close({ deadlineMs: 0 }));

  it("gives status, headers, body, URL and peer like the platform's fetch", async () => {
    const response = await call(`${base}/echo?q=1`, { method: "post", headers: { "x-one": "1" }, body: "hello" });
    assert.equal(response.status, 200);
    assert.equal(response.ok, true);
    assert.equal(response.url, `${base}/echo?q=1`);
    assert.equal(response.headers.get("x-method"), "POST");
    const seen = JSON.parse(response.headers.get("x-headers")!);
    assert.equal(seen["x-one"], "1");
    assert.equal(seen.host, `127.0.0.1:${server.port}`);
    assert.equal(seen["content-length"], "5");
    assert.match(seen["content-type"], /^text\/plain/);
    assert.equal(await response.text(), "hello");
    assert.equal(peerOf(response).id.uri, ORDERS);
    const cookies = await call(`${base}/cookies`);
    assert.deepEqual(cookies.headers.getSetCookie(), ["a=1", "b=2"]);
    assert.equal((await call(`${base}/empty`)).body, null);
    assert.equal((await call(new URL(`${base}/echo`), { method: "HEAD" })).body, null);
  });

  it("takes every kind of body, and Request objects", async () => {
    const bytes = new Uint8Array(100_000).map((_, i) => i);
    const form = new FormData();
    form.set("field", "value");
    const stream = () =>
      new ReadableStream<Uint8Array>({
        start(controller) {
          for (let i = 0; i < 50; i++) controller.enqueue(bytes.subarray(i * 2_000, (i + 1) * 2_000));
          controller.close();
        },
      });
    const text = async (body: NonNullable<RequestInit["body"]>, headers = {}) =>
      (await call(`${base}/echo`, { method: "PUT", body, headers })).bytes();
    assert.deepEqual(await text(bytes), bytes);
    assert.deepEqual(await text(bytes.buffer as ArrayBuffer), bytes);
    assert.deepEqual(await text(new Blob([bytes])), bytes);
    assert.deepEqual(await text(stream()), bytes);
    assert.deepEqual(await text(stream(), { "content-length": "100000" }), bytes);
    assert.equal(new TextDecoder().decode(await text(new URLSearchParams({ a: "b c" }))), "a=b+c");
    assert.match(new TextDecoder().decode(await text(form)), /name="field"\s+value/);
    const request = new Request(`${base}/echo`, { method: "POST", body: "from a request", headers: { "x-two": "2" } });
    const response = await call(request);
    assert.equal(JSON.parse(response.headers.get("x-headers")!)["x-two"], "2");
    assert.equal(await response.text(), "from a request");
  });

  it("streams a large response no faster than it is read, also when the peer is gone before", async () => {
    const response = await call(`${base}/big`);
    const reader = response.body!.getReader();
    let length = 0;
    let sum = 0;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      length += value.length;
      for (const byte of value) sum += byte;
      if (length < 1_000_000) await new Promise((resolve) => setTimeout(resolve, 1));
    }
    assert.equal(length, 64 * 65_536);
    assert.equal(sum, (65_536 * 64 * 63) / 2);
    const short = await answering("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
    const late = await call(short.url);
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(await late.text(), "hello");
    short.close();
  });

  it("an answer whose end is that of its connection arrives whole, also for a slow reader", async () => {
    const length = 2_000_000;
    const peer = await answering(`HTTP/1.1 200 OK\r\n\r\n${"x".repeat(length)}`);
    const reader = (await call(peer.url)).body!.getReader();
    let read = 0;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      read += value.length;
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    assert.equal(read, length);
    peer.close();
  });

  const slow = "lets the peer wait while nobody reads";
  const { readBackpressure } = capabilities;
  it(slow, skipWhen(slow, readBackpressure.value ? undefined : readBackpressure.why), async () => {
    const response = await call(`${base}/endless`);
    const reader = response.body!.getReader();
    await reader.read();
    for (let before = -1; before !== written; ) {
      before = written;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    assert.ok(written < ENDLESS / 2, `${written} bytes were taken with nobody reading`);
    let length = 0;
    while (length < 4_000_000) length += (await reader.read()).value!.length;
    await reader.cancel();
  });

  it("never follows a redirect", async () => {
    const response = await call(`${base}/redirect`, { redirect: "follow" });
    assert.equal(response.status, 302);
    assert.equal(response.headers.get("location"), "https://elsewhere.example/");
    await assert.rejects(call(`${base}/redirect`, { redirect: "error" }), upstream("response"));
    assert.equal((await call(`${base}/echo`, { redirect: "error" })).status, 200);
  });

  it("stops on abort before, while waiting and while reading", async () => {
    const aborted = (error: unknown) => isSpiffeError(error, "ERR_SPIFFE_ABORTED");
    await assert.rejects(call(`${base}/echo`, { signal: AbortSignal.abort() }), aborted);
    const abort = new AbortController();
    const response = await call(`${base}/slow`, { signal: abort.signal });
    const reader = response.body!.getReader();
    assert.equal(new TextDecoder().decode((await reader.read()).value), "first");
    abort.abort();
    await assert.rejects(reader.read(), aborted);
    await assert.rejects(call(`${base}/nothing`, { signal: AbortSignal.timeout(50) }), (error) =>
      isSpiffeError(error, "ERR_SPIFFE_TIMEOUT"),
    );
    const unread = await call(`${base}/slow`);
    await unread.body!.cancel();
    await eventually(() => server.counters.open === 0);
  });

  it("an answer that ends early is an error, a whole one is not", async () => {
    const cases = [
      { bytes: "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort", ok: false },
      { bytes: "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nshort", ok: true },
      { bytes: "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort\r\n", ok: false },
      { bytes: "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort\r\n0\r\n\r\n", ok: true },
    ];
    for (const { bytes, ok } of cases) {
      const peer = await answering(bytes);
      const text = call(peer.url).then((response) => response.text());
      if (ok) assert.equal(await text, "short");
      else await assert.rejects(text, (error) => isSpiffeError(error, "ERR_SPIFFE_UPSTREAM"), bytes);
      peer.close();
    }
    for (const bytes of [
      "",
      "garbage\r\n\r\n",
      "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
    ]) {
      const peer = await answering(bytes);
      await assert.rejects(call(peer.url), upstream("request"), bytes);
      peer.close();
    }
  });

  it("a body that differs from its content-length breaks the call, and its source is told", async () => {
    for (const declared of ["2", "9"]) {
      const body = new Blob(["hello"]).stream();
      const headers = { "content-length": declared };
      await assert.rejects(call(`${base}/echo`, { method: "POST", body, headers }), (error) =>
        isSpiffeError(error, "ERR_SPIFFE_UPSTREAM"),
      );
    }
    let cancelled = 0;
    const endless = () => new ReadableStream<Uint8Array>({ cancel: () => void cancelled++ });
    await assert.rejects(createFetch(web, { peer: `${ORDERS}2` })(`${base}/echo`, { method: "POST", body: endless() }));
    await assert.rejects(call(`${base}/echo`, { method: "POST", body: endless(), signal: AbortSignal.timeout(50) }));
    await eventually(() => cancelled >= 2);
  });

  it("sends no header of another connection, and refuses what is no https request", async () => {
    const response = await call(`${base}/echo`, {
      headers: { connection: "x-one", te: "trailers", upgrade: "x", "x-one": "1" },
    });
    const seen = JSON.parse(response.headers.get("x-headers")!);
    assert.equal(seen.te, undefined);
    assert.equal(seen.upgrade, undefined);
    assert.match(seen.connection, /^(?:close|keep-alive)$/);
    const usage = (error: unknown) => isSpiffeError(error, "ERR_SPIFFE_USAGE");
    const inputs: [string, RequestInit?][] = [
      ["http://127.0.0.1/"],
      ["/relative"],
      ["https://user:word@127.0.0.1/"],
      [base, { method: "CONNECT" }],
      [base, { method: "BAD METHOD" }],
      [base, { method: "GET", body: "x" }],
    ];
    for (const [url, init] of inputs) await assert.rejects(call(url, init), usage, url);
  });
});
