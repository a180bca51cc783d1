import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { StaticIdentity } from "../authority/static-identity.ts";
import { TestCa } from "../authority/test-ca.ts";
import { isSpiffeError } from "../base/errors.ts";
import { createFetch, type SpiffeFetch } from "./fetch.ts";
import type { FetchHandler } from "./fetch-handler.ts";
import { listen, type TlsListener } from "./listen.ts";
import { peerOf } from "./peer.ts";
import {
  http1Done,
  http1Get,
  http2Ended,
  http2Requests,
  identityOf,
  Opened,
  rawExchange,
  rawOptions,
  type Shown,
  shown,
} from "./wire.testing.ts";

const ORDERS = "spiffe://example.org/orders";
const WEB = "spiffe://example.org/web";

let ca: TestCa;
let web: StaticIdentity;
let good: Shown;
let server: TlsListener;
let call: SpiffeFetch;
let base: string;
const opened = new Opened();

const answer: FetchHandler = async (request, info) => {
  const { pathname, protocol } = new URL(request.url);
  if (pathname === "/throw") throw new Error("on purpose");
  if (pathname === "/stream") {
    return new Response(
      new ReadableStream({
        async start(controller) {
          for (let i = 0; i < 3; i++) {
            controller.enqueue(new TextEncoder().encode(`${i};`));
            await new Promise((resolve) => setTimeout(resolve, 1));
          }
          controller.close();
        },
      }),
    );
  }
  return Response.json({
    peer: info.peer?.id.uri,
    same: peerOf(request).id.uri === peerOf(info.incoming).id.uri,
    protocol,
    method: request.method,
    body: await request.text(),
  });
};

describe("listen with fetch", () => {
  before(async () => {
    ca = await TestCa.create();
    web = await identityOf(WEB, ca);
    good = shown(await ca.issue({ id: WEB }));
    server = await listen(await identityOf(ORDERS, ca), {
      address: "127.0.0.1",
      port: 0,
      throttle: false,
      fetch: answer,
    });
    base = `https://127.0.0.1:${server.port}`;
    call = createFetch(web, { peer: ORDERS });
  });
  after(async () => {
    await opened.close();
    await server.close({ deadlineMs: 0 });
  });

  it("gives request and peer, and takes a response, also a streaming one", async () => {
    const response = await call(`${base}/echo?x=1`, { method: "POST", body: "hello" });
    const told = (await response.json()) as object;
    assert.deepEqual(told, { peer: WEB, same: true, protocol: "https:", method: "POST", body: "hello" });
    assert.equal(await (await call(`${base}/stream`)).text(), "0;1;2;");
  });

  it("answers HTTP/2, and counts what the handler throws", async () => {
    const seen = await rawExchange(
      rawOptions(server.port, good, "h2"),
      http2Requests(3),
      (bytes) => http2Ended(bytes) >= 3,
    );
    assert.equal(http2Ended(seen.bytes), 3);
    const before = server.counters.handlerErrors;
    assert.equal((await call(`${base}/throw`)).status, 500);
    assert.equal(server.counters.handlerErrors, before + 1);
    assert.equal((await call(`${base}/`)).status, 200);
  });

  it("a host that makes no URL is answered 400 and reaches no handler", async () => {
    const bytes = Buffer.from("GET / HTTP/1.1\r\nhost: a b\r\n\r\n");
    const enough = (seen: Buffer) => seen.includes("\r\n\r\n");
    const seen = await rawExchange(rawOptions(server.port, good, "http/1.1"), bytes, enough);
    assert.match(seen.bytes.toString(), /^HTTP\/1\.1 400/);
    const fine = await rawExchange(rawOptions(server.port, good, "http/1.1"), http1Get(), http1Done);
    assert.match(fine.bytes.toString(), /^HTTP\/1\.1 200/);
  });

  it("[S-1] a caller without a certificate has no peer, and one that does not verify reaches nothing", async () => {
    let called = 0;
    const open = opened.add(
      await listen(await identityOf(ORDERS, ca), {
        address: "127.0.0.1",
        port: 0,
        throttle: false,
        clientCertificate: "optional",
        fetch: (request, { peer }) => {
          called++;
          assert.throws(
            () => peer ?? peerOf(request),
            (error: unknown) => isSpiffeError(error, "ERR_SPIFFE_NO_PEER"),
          );
          return new Response("nobody");
        },
      }),
    );
    const get = async (show: Shown) =>
      (await rawExchange(rawOptions(open.port, show, "http/1.1"), http1Get(), http1Done)).bytes.toString();
    assert.match(await get(undefined), /nobody$/);
    assert.equal(await get(shown(await (await TestCa.create()).issue({ id: WEB }))), "");
    assert.equal(called, 1);
    await open.close({ deadlineMs: 0 });
  });
});
