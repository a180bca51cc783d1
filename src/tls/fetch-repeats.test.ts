import assert from "node:assert/strict";
import type { AddressInfo } from "node:net";
import { after, before, describe, it } from "node:test";
import { type Server, type TLSSocket, createServer as tlsServer } from "node:tls";
import { eventually } from "../../test/support/eventually.ts";
import { ManualClock } from "../authority/manual-clock.ts";
import type { StaticIdentity } from "../authority/static-identity.ts";
import { TestCa } from "../authority/test-ca.ts";
import type { ErrorCode } from "../base/codes.ts";
import { isSpiffeError, type SpiffeError } from "../base/errors.ts";
import { createFetch } from "./fetch.ts";
import { identityOf, shown } from "./wire.testing.ts";

const ORDERS = "spiffe://example.org/orders";
const OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

let ca: TestCa;
let web: StaticIdentity;
const servers: Server[] = [];
const sockets: TLSSocket[] = [];

interface Peer {
  readonly url: string;
  got: string;
}

/** A server that does this with each chunk of a request. */
async function peer(answer: (socket: TLSSocket, got: string) => void, lives = 3_600_000): Promise<Peer> {
  const svid = await ca.issue({ id: ORDERS, notAfter: new Date(Date.now() + lives) });
  const server = tlsServer({ ...shown(svid), requestCert: true, rejectUnauthorized: false });
  server.on("tlsClientError", () => {});
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  servers.push(server);
  const state = { url: `https://127.0.0.1:${(server.address() as AddressInfo).port}/`, got: "" };
  server.on("secureConnection", (socket: TLSSocket) => {
    sockets.push(socket);
    socket.on("error", () => {});
    socket.on("data", (chunk: Buffer) => {
      state.got += chunk.toString("latin1");
      answer(socket, state.got);
    });
  });
  return state;
}

async function rejection(call: Promise<Response>): Promise<SpiffeError> {
  try {
    await (await call).text();
  } catch (error) {
    assert.ok(isSpiffeError(error), String(error));
    assert.ok((error.hint ?? "").length > 10, error.message);
    return error;
  }
  return assert.fail("the call was answered");
}

/** Ways in which a call that has arrived comes to nothing, and whether a GET may be tried again. */
const ENDS: readonly {
  what: string;
  code: ErrorCode;
  phase: string;
  again: boolean;
  fail(init: RequestInit): Promise<SpiffeError>;
}[] = [
  {
    what: "the caller's time runs out",
    code: "ERR_SPIFFE_TIMEOUT",
    phase: "request",
    again: true,
    async fail(init) {
      const late = new AbortController();
      const { url } = await peer(() => late.abort(new DOMException("too late", "TimeoutError")));
      return rejection(createFetch(web, { peer: ORDERS })(url, { ...init, signal: late.signal }));
    },
  },
  {
    what: "the peer's certificate ends",
    code: "ERR_SPIFFE_PEER_REFUSED",
    phase: "connected",
    again: true,
    async fail(init) {
      const clock = new ManualClock();
      const { url } = await peer(() => void clock.advance(61_000), 60_000);
      return rejection(createFetch(web, { peer: ORDERS, clock })(url, init));
    },
  },
  {
    what: "the peer breaks the connection",
    code: "ERR_SPIFFE_UPSTREAM",
    phase: "request",
    again: true,
    async fail(init) {
      const { url } = await peer((socket) => socket.destroy());
      return rejection(createFetch(web, { peer: ORDERS })(url, init));
    },
  },
  {
    what: "the peer breaks its answer off",
    code: "ERR_SPIFFE_UPSTREAM",
    phase: "response-body",
    again: true,
    async fail(init) {
      const { url } = await peer((socket) => socket.end("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok"));
      return rejection(createFetch(web, { peer: ORDERS })(url, init));
    },
  },
  {
    what: "what the peer says is no answer",
    code: "ERR_SPIFFE_UPSTREAM",
    phase: "request",
    again: false,
    async fail(init) {
      const { url } = await peer((socket) => socket.end("no answer\r\n\r\n"));
      return rejection(createFetch(web, { peer: ORDERS })(url, init));
    },
  },
  {
    what: "what follows a head in the same piece is no body",
    code: "ERR_SPIFFE_UPSTREAM",
    phase: "response-body",
    again: false,
    async fail(init) {
      const { url } = await peer((socket) => socket.end("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx\r\n"));
      return rejection(createFetch(web, { peer: ORDERS })(url, init));
    },
  },
];

describe("whether a call of createFetch may be sent again", () => {
  before(async () => {
    ca = await TestCa.create();
    web = await identityOf("spiffe://example.org/web", ca);
  });
  after(() => {
    for (const socket of sockets) socket.destroy();
    for (const server of servers) server.close();
  });

  for (const { what, code, phase, again, fail } of ENDS) {
    it(`[S-24] ${what}: never what may not arrive twice, ${again ? "else yes" : "and nothing else"}`, async () => {
      const stream = () => new Blob(["x"]).stream();
      const once = [
        { method: "POST", body: "x" },
        { method: "POST" },
        { method: "PUT", body: stream(), duplex: "half" },
      ];
      for (const init of once) {
        const error = await fail(init as RequestInit);
        assert.equal(error.code, code, error.message);
        assert.equal(error.retryable, false, error.message);
      }
      for (const init of [{}, { method: "PUT", body: "x" }]) {
        const error = await fail(init);
        assert.equal(error.code, code, error.message);
        assert.equal(error.phase, phase, error.message);
        assert.equal(error.retryable, again, error.message);
      }
    });
  }

  it("[S-24] what has not left may be sent again, whatever it is", async () => {
    const closed = await peer(() => {});
    await new Promise((resolve) => servers.pop()!.close(resolve));
    const call = createFetch(web, { peer: ORDERS });
    const error = await rejection(call(closed.url, { method: "POST", body: "x" }));
    assert.equal(error.phase, "connect");
    assert.equal(error.retryable, true);
    const { url, got } = await peer(() => {});
    const signal = AbortSignal.abort(new DOMException("too late", "TimeoutError"));
    const late = await rejection(call(url, { method: "POST", body: "x", signal }));
    assert.equal(late.code, "ERR_SPIFFE_TIMEOUT");
    assert.equal(late.retryable, true);
    assert.equal(got, "");
  });

  it("[S-24] a request that was given up has no body any more and is not sent as an empty one; a new one is sent", async () => {
    const state = await peer((socket, got) => void (got.endsWith("0\r\n\r\n") && socket.write(OK)));
    const make = () => new Request(state.url, { method: "POST", body: "important" });
    const call = createFetch(web, { peer: ORDERS });
    const given = make();
    const first = await rejection(createFetch(web, { peer: `${ORDERS}2` })(given));
    assert.equal(first.code, "ERR_SPIFFE_PEER_REFUSED");
    const read = new Blob(["important"]).stream();
    for await (const _ of read);
    const locked = new Blob(["important"]).stream();
    locked.getReader();
    const streams = [read, locked].map((body) => ({ method: "POST", body, duplex: "half" }) as RequestInit);
    for (const again of [() => call(given), ...streams.map((init) => () => call(state.url, init))]) {
      const error = await rejection(again());
      assert.equal(error.code, "ERR_SPIFFE_USAGE");
      assert.equal(error.retryable, false);
    }
    assert.equal(state.got, "");
    assert.equal(await (await call(make())).text(), "ok");
    assert.match(state.got, /\r\nimportant\r\n0\r\n\r\n$/);
    state.got = "";
    const init = { method: "POST", body: new Blob(["important"]).stream(), duplex: "half" } as RequestInit;
    assert.equal(await (await call(state.url, init)).text(), "ok");
    assert.match(state.got, /\r\nimportant\r\n0\r\n\r\n$/);
  });

  it("[S-24] the error of another call that a body comes from is that of the body, not of this call", async () => {
    const call = createFetch(web, { peer: ORDERS });
    const closed = await peer(() => {});
    await new Promise((resolve) => servers.pop()!.close(resolve));
    const other = await rejection(call(closed.url));
    assert.equal(other.retryable, true);
    const state = await peer((socket, got) => void (got.endsWith("0\r\n\r\n") && socket.write(OK)));
    const body = (fails: boolean) =>
      new ReadableStream<Uint8Array>({
        async pull(controller) {
          await eventually(() => state.got !== "");
          if (fails) controller.error(other);
          else controller.close();
        },
      });
    const init = (fails: boolean) => ({ method: "POST", body: body(fails), duplex: "half" }) as RequestInit;
    const error = await rejection(call(state.url, init(true)));
    assert.equal(error.code, "ERR_SPIFFE_UPSTREAM");
    assert.equal(error.phase, "request-body");
    assert.equal(error.retryable, false);
    assert.equal(error.cause, other);
    state.got = "";
    assert.equal(await (await call(state.url, init(false))).text(), "ok");
  });

  it("what HTTP cannot carry and what nobody would check is refused, and nothing is sent", async () => {
    const state = await peer((socket) => socket.write(OK));
    const call = createFetch(web, { peer: ORDERS });
    for (const init of [{ headers: { "x-a": "a\u0001b" } }, { integrity: "sha256-AAAA" }]) {
      for (const method of ["GET", "POST"]) {
        const error = await rejection(call(state.url, { ...init, method }));
        assert.equal(error.code, "ERR_SPIFFE_USAGE");
        assert.equal(error.retryable, false);
      }
    }
    assert.equal(state.got, "");
    const twin = { headers: { "x-a": "a\tb" }, integrity: "" };
    assert.equal(await (await call(state.url, twin)).text(), "ok");
  });
});
