import assert from "node:assert/strict";
import type { AddressInfo } from "node:net";
import { after, before, describe, it } from "node:test";
import { type TLSSocket, createServer as tlsServer } from "node:tls";
import { eventually } from "../../test/support/eventually.ts";
import { ManualClock } from "../authority/manual-clock.ts";
import { type StaticIdentity, staticIdentity } from "../authority/static-identity.ts";
import { TestCa } from "../authority/test-ca.ts";
import { systemClock } from "../base/clock.ts";
import { isSpiffeError } from "../base/errors.ts";
import { accept } from "../base/verdict.ts";
import { X509Bundle } from "../x509/index.ts";
import { createFetch, type FetchOptions } from "./fetch.ts";
import { poolOf } from "./kept-connections.ts";
import { listen, type TlsListener } from "./listen.ts";
import { identityOf, Opened, shown } from "./wire.testing.ts";

const ORDERS = "spiffe://example.org/orders";
const WEB = "spiffe://example.org/web";

let ca: TestCa;
let orders: StaticIdentity;
let server: TlsListener;
let arrived: string[] = [];
/** The connections that carried a request: others, of dials that were given up, may be counted late. */
const carriers = new Set<number | undefined>();
const opened = new Opened();

/** One call, read to its end; the number of connections that it opened. */
async function call(
  identity: StaticIdentity,
  options: FetchOptions,
  init: RequestInit = {},
  path = "/",
): Promise<number> {
  const before = carriers.size;
  const answer = await createFetch(identity, options)(`https://127.0.0.1:${server.port}${path}`, init);
  assert.equal(await answer.text(), "ok");
  return carriers.size - before;
}

describe("kept connections of createFetch", () => {
  before(async () => {
    ca = await TestCa.create();
    orders = await identityOf(ORDERS, ca);
    server = await listen(orders, {
      address: "127.0.0.1",
      port: 0,
      throttle: false,
      handler: (request, response) => {
        arrived.push(`${request.method} ${request.url}`);
        carriers.add(request.socket.remotePort);
        response.end("ok");
      },
    });
  });
  after(async () => {
    await opened.close();
    await server.close({ deadlineMs: 0 });
  });

  it("[S-6] [G-2] used again for an equal expectation by value, and for nothing else", async () => {
    const web = await identityOf(WEB, ca);
    assert.equal(await call(web, { peer: ORDERS }), 1);
    assert.equal(await call(web, { peer: ORDERS }), 0, "the same");
    assert.equal(await call(web, { peer: [ORDERS] }), 1, "a list");
    assert.equal(await call(web, { peer: [ORDERS] }), 0);
    assert.equal(await call(web, { peer: { trustDomain: "example.org" } }), 1);
    assert.equal(await call(web, { peer: { trustDomain: "example.org" } }), 0);
    const own = (peer: { id: never }) => accept(peer.id);
    assert.equal(await call(web, { peer: own as never }), 1, "a function may decide otherwise the next time");
    assert.equal(await call(web, { peer: own as never }), 1);
    const wrong = createFetch(web, { peer: `${ORDERS}2` });
    arrived = [];
    for (let i = 0; i < 50; i++) {
      await assert.rejects(
        wrong(`https://127.0.0.1:${server.port}/`),
        (error) => isSpiffeError(error, "ERR_SPIFFE_PEER_REFUSED") && error.reason === "peer.not-authorized",
      );
    }
    assert.deepEqual(arrived, [], "nothing was sent over a connection of another expectation");
    assert.equal(await call(web, { peer: ORDERS }), 0, "still there");
    assert.equal(await call(await identityOf(WEB, ca), { peer: ORDERS }), 1, "another identity");
  });

  it("[S-6] another host or port has connections of its own, though the same peer is expected there", async () => {
    const web = await identityOf(WEB, ca);
    const other = opened.add(
      await listen(orders, {
        address: "127.0.0.1",
        port: 0,
        throttle: false,
        handler: (_request, response) => void response.end("other"),
      }),
    );
    const at = async (host: string, { port }: TlsListener) => {
      const before = carriers.size;
      const answer = await createFetch(web, { peer: ORDERS })(`https://${host}:${port}/`);
      return `${await answer.text()} ${carriers.size - before}`;
    };
    assert.equal(await at("127.0.0.1", server), "ok 1");
    assert.equal(await at("127.0.0.1", server), "ok 0");
    assert.equal(await at("localhost", server), "ok 1");
    assert.equal(await at("127.0.0.1", other), "other 0");
    assert.equal(await at("127.0.0.1", server), "ok 0");
  });

  it("[S-6] [A-4] each call compares with the snapshot: own SVID, bundle, own identity", async () => {
    const web = await identityOf(WEB, ca);
    const peer = { peer: ORDERS };
    assert.equal(await call(web, peer), 1);
    await web.update({ svid: await ca.issue({ id: WEB }) });
    assert.equal(await call(web, peer), 1, "own SVID");
    await web.update({ bundles: ca.x509Bundle() });
    assert.equal(await call(web, peer), 0, "an equal bundle");
    const other = await TestCa.create();
    const trustDomain = ca.x509Bundle().trustDomain;
    const authorities = [...ca.x509Bundle().authorities, ...other.x509Bundle().authorities];
    await web.update({ bundles: new X509Bundle(trustDomain, authorities) });
    assert.equal(await call(web, peer), 1, "another bundle");
    await web.update({ bundles: other.x509Bundle() });
    await assert.rejects(call(web, peer), (error) => isSpiffeError(error, "ERR_SPIFFE_PEER_REFUSED"));
    await web.update({ bundles: new X509Bundle(trustDomain, []) });
    await assert.rejects(call(web, peer), (error) => isSpiffeError(error, "ERR_SPIFFE_NO_IDENTITY"));
    await web.update({ svid: null, bundles: ca.x509Bundle() });
    await assert.rejects(
      call(web, peer),
      (error) => isSpiffeError(error, "ERR_SPIFFE_REVOKED") && error.phase === "identity",
    );
    await web.update({ svid: await ca.issue({ id: WEB }) });
    assert.equal(await call(web, peer), 1, "back by itself");
  });

  it("a clock that cannot wait fails the call and nothing else, one that can does not", async () => {
    const web = await identityOf(WEB, ca);
    const sleep = () => {
      throw new Error("no waiting");
    };
    const clock = { ...systemClock, sleep };
    await assert.rejects(call(web, { peer: ORDERS, clock }), (error) => isSpiffeError(error, "ERR_SPIFFE_UPSTREAM"));
    // what is left unhandled would be reported by now, against this test
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(await call(web, { peer: ORDERS, clock: { ...systemClock } }), 1);
  });

  it("[S-6] [A-4] who was verified by a bundle that was there only meanwhile is not asked again once the former is back", async () => {
    const [home, next] = [await TestCa.create({ trustDomain: "home.example" }), await TestCa.create()];
    const svid = await home.issue({ id: "spiffe://home.example/web" });
    for (const back of [true, false]) {
      let bundle = ca.x509Bundle();
      const x509BundleFor = ({ name }: { name: string }) => (name === "home.example" ? home.x509Bundle() : bundle);
      const web = await staticIdentity({ svid, bundles: { x509BundleFor } });
      const options = { requestCert: true, rejectUnauthorized: false };
      const raw = tlsServer({ ...shown(await ca.issue({ id: ORDERS })), ...options });
      const sockets = new Set<TLSSocket>();
      opened.add({
        close: async () => {
          raw.close();
          for (const socket of sockets) socket.destroy();
        },
      });
      let end = "connection: close\r\n";
      raw.on("secureConnection", (socket: TLSSocket) => {
        sockets.add(socket);
        socket.on("error", () => {});
        socket.on("data", () => socket.write(`HTTP/1.1 200 OK\r\ncontent-length: 2\r\n${end}\r\nok`));
      });
      await new Promise<void>((resolve) => raw.listen(0, "127.0.0.1", resolve));
      const url = `https://127.0.0.1:${(raw.address() as AddressInfo).port}/`;
      // no time passes: else the connection would end by itself
      const fetchIt = createFetch(web, { peer: ORDERS, clock: new ManualClock() });
      assert.equal(await (await fetchIt(url)).text(), "ok");
      end = "";
      raw.setSecureContext(shown(await next.issue({ id: ORDERS })));
      raw.once("connection", () => {
        bundle = next.x509Bundle();
      });
      assert.equal(await (await fetchIt(url)).text(), "ok");
      if (back) bundle = ca.x509Bundle();
      const again = fetchIt(url).then((answer) => answer.text());
      if (!back) assert.equal(await again, "ok");
      else await assert.rejects(again, (error) => isSpiffeError(error, "ERR_SPIFFE_PEER_REFUSED"));
    }
  });

  it("[S-24] a call that may not arrive twice has a connection of its own", async () => {
    const web = await identityOf(WEB, ca);
    const peer = { peer: ORDERS };
    assert.equal(await call(web, peer), 1);
    assert.equal(await call(web, peer, { method: "POST", body: "x" }), 1);
    const stream = new Response("x").body!;
    assert.equal(await call(web, peer, { method: "PUT", body: stream, duplex: "half" } as RequestInit), 1);
    assert.equal(await call(web, peer, { method: "PUT", body: "x" }), 0);
    assert.equal(await call(web, peer, { method: "DELETE" }), 0);
  });

  it("[G-3] [S-24] connections that the peer ended meanwhile lose no call", async () => {
    const web = await identityOf(WEB, ca);
    let answered = 0;
    const other = opened.add(
      await listen(orders, {
        address: "127.0.0.1",
        port: 0,
        throttle: false,
        handler: (request, response) => {
          answered++;
          response.end(request.url);
          // The next request finds the connection closed, or closing.
          setTimeout(() => request.socket.destroy(), answered % 3);
        },
      }),
    );
    const fetchIt = createFetch(web, { peer: ORDERS });
    for (let i = 0; i < 60; i++) {
      const answer = await fetchIt(`https://127.0.0.1:${other.port}/${i}`);
      assert.equal(await answer.text(), `/${i}`);
      await new Promise((resolve) => setTimeout(resolve, i % 4));
    }
    assert.ok(answered >= 60);
    await other.close({ deadlineMs: 0 });
  });

  it("[S-24] a call is repeated where its kept connection ended unanswered, and not where it was answered wrongly", async () => {
    const web = await identityOf(WEB, ca);
    const ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    for (const [second, repeated] of [
      ["", true],
      ["HTTP/1.1 200 OK\ncontent-length: 2\n\nok\r\n\r\n", false],
    ] as const) {
      let requests = 0;
      const raw = tlsServer({ ...shown(await ca.issue({ id: ORDERS })), requestCert: true, rejectUnauthorized: false });
      const sockets = new Set<TLSSocket>();
      opened.add({
        close: async () => {
          raw.close();
          for (const socket of sockets) socket.destroy();
        },
      });
      raw.on("secureConnection", (socket: TLSSocket) => {
        sockets.add(socket);
        socket.on("error", () => {});
        socket.on("data", () => {
          if (++requests !== 2) return void socket.write(ok);
          // an end with no bytes is none on one runtime
          if (second === "") socket.end();
          else socket.end(second);
        });
      });
      await new Promise<void>((resolve) => raw.listen(0, "127.0.0.1", resolve));
      const url = `https://127.0.0.1:${(raw.address() as AddressInfo).port}/`;
      const fetchIt = createFetch(web, { peer: ORDERS });
      assert.equal(await (await fetchIt(url)).text(), "ok");
      if (repeated) assert.equal(await (await fetchIt(url)).text(), "ok");
      else await assert.rejects(fetchIt(url), (error) => isSpiffeError(error, "ERR_SPIFFE_UPSTREAM"));
      assert.equal(requests, repeated ? 3 : 2);
    }
  });

  it("[S-9] a kept connection ends with the peer's certificate, idle as it is", async () => {
    const clock = new ManualClock();
    const web = await identityOf(WEB, ca);
    const until = new Date(clock.now() + 60_000);
    const short = await identityOf(ORDERS, ca);
    await short.update({ svid: await ca.issue({ id: ORDERS, notAfter: until }) });
    const other = opened.add(
      await listen(short, {
        address: "127.0.0.1",
        port: 0,
        handler: (_, response) => void response.end("ok"),
      }),
    );
    const answer = await createFetch(web, { peer: ORDERS, clock })(`https://127.0.0.1:${other.port}/`);
    assert.equal(await answer.text(), "ok");
    await clock.advance(20_000);
    assert.equal(other.counters.open, 1);
    await clock.advance(41_000);
    await eventually(() => other.counters.open === 0);
    await other.close({ deadlineMs: 0 });
  });

  it("[S-6] 10,000 distinct peers: the table and the idle connections stay bounded", async () => {
    const web = await identityOf(WEB, ca);
    const pool = poolOf(web, systemClock);
    let dialled = 0;
    const dial = async () => {
      dialled++;
      throw new Error("not dialled here");
    };
    for (let i = 0; i < 10_000; i++) pool.take(`id ${WEB}/${i}`, dial);
    assert.ok(pool.size <= 128, `${pool.size}`);
    // Real connections for a few hundred: the oldest are closed for the newest.
    for (let i = 0; i < 300; i++) await call(web, { peer: [ORDERS, `${WEB}/${i}`] });
    assert.ok(pool.size <= 128);
    await eventually(() => server.counters.open <= 140);
    assert.equal(dialled, 0);
  });

  it("[S-6] calls of every kind reach the peer", async () => {
    const web = await identityOf(WEB, ca);
    arrived = [];
    for (const method of ["GET", "PUT", "POST", "DELETE", "OPTIONS"]) {
      await call(
        web,
        { peer: ORDERS },
        method === "PUT" || method === "POST" ? { method, body: "x" } : { method },
        `/${method}`,
      );
    }
    assert.deepEqual(arrived, ["GET /GET", "PUT /PUT", "POST /POST", "DELETE /DELETE", "OPTIONS /OPTIONS"]);
  });
});
