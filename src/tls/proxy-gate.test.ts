/** The PROXY header before TLS: whose is read, what it changes, and what it never gets past. */
import assert from "node:assert/strict";
import { connect as dialTcp, type Socket } from "node:net";
import { after, before, describe, it } from "node:test";
import { connect as dialTls } from "node:tls";
import { eventually } from "../../test/support/eventually.ts";
import { ManualClock } from "../authority/manual-clock.ts";
import { isSpiffeError } from "../base/errors.ts";
import { writeProxyHeader } from "../encoding/proxy-protocol.ts";
import { type ListenOptions, listen, type TlsListener } from "./listen.ts";
import { isPrefix, ProxyList } from "./proxy-gate.ts";
import {
  http1Done,
  http1Get,
  http2Ended,
  http2Requests,
  identityOf,
  Opened,
  rawOptions,
  type Shown,
  shown,
} from "./wire.testing.ts";
import { HOME, makeWorld, type World } from "./wrong-peers.testing.ts";

const LISTED = { from: ["127.0.0.0/8"] };
const UNLISTED = { from: ["10.0.0.0/8", "fd00::/8"] };
const opened = new Opened();
let world: World;

before(async () => {
  world = await makeWorld();
});
after(() => opened.close());

/** Addresses that handlers were told, in order. */
let told: string[] = [];

async function serve(more: Partial<ListenOptions> = {}): Promise<TlsListener> {
  told = [];
  const orders = await identityOf(`spiffe://${HOME}/orders`, world.home, world.partner);
  return opened.add(
    await listen(orders, {
      port: 0,
      address: "127.0.0.1",
      proxyProtocol: LISTED,
      ...(more.onConnection === undefined
        ? {
            handler: (request, response) => {
              const { remoteAddress, remotePort } = request.socket;
              told.push(`${remoteAddress} ${remotePort}`);
              response.setHeader("content-length", "2");
              response.end("ok");
            },
          }
        : {}),
      ...more,
    }),
  );
}

const headerOf = (address: string, port = 4_711) =>
  writeProxyHeader({ address, port }, { address: address.includes(":") ? "::1" : "192.0.2.1", port: 443 });

type Way = "together" | "apart" | "bytes";

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Sends a header and then speaks TLS and HTTP; what came back. */
async function call(
  port: number,
  header: Uint8Array,
  { stranger = false, way = "apart" as Way, alpn = "http/1.1" } = {},
): Promise<Buffer> {
  const show: Shown = stranger ? undefined : shown(world.good);
  const tcp = dialTcp(port, "127.0.0.1");
  const closed = new Promise<void>((resolve) => tcp.once("close", () => resolve()));
  tcp.setNoDelay(true);
  tcp.on("error", () => {});
  await new Promise<void>((resolve) => tcp.once("connect", () => resolve()));
  if (way === "bytes") {
    for (const byte of header) {
      tcp.write(Uint8Array.of(byte));
      await pause(1);
    }
  } else if (header.length > 0) tcp.write(header);
  if (way === "apart") await pause(20);
  return new Promise((resolve) => {
    let seen: Buffer = Buffer.alloc(0);
    const { host: _, port: __, ...options } = rawOptions(port, show, alpn) as Record<string, unknown>;
    const socket = dialTls({ ...options, socket: tcp });
    socket.on("error", () => {});
    socket.once("secureConnect", () => socket.write(alpn === "h2" ? http2Requests() : http1Get()));
    socket.on("data", (chunk: Buffer) => {
      seen = Buffer.concat([seen, chunk]);
      if (alpn === "h2" ? http2Ended(seen) > 0 : http1Done(seen)) socket.destroy();
    });
    socket.once("close", () => {
      tcp.destroy();
      resolve(seen);
    });
    void closed.then(() => resolve(seen));
  });
}

const NOTHING = new Uint8Array(0);

describe("a PROXY header of a listed address", () => {
  it("is taken off before TLS, however it comes, over HTTP/1.1 and HTTP/2, and tells the caller's address", async () => {
    const server = await serve();
    for (const address of ["192.0.2.7", "2001:db8::7"]) {
      for (const alpn of ["http/1.1", "h2"]) {
        for (const way of ["together", "apart", "bytes"] as const) {
          told = [];
          assert.ok(
            (await call(server.port, headerOf(address), { way, alpn })).length > 0,
            `${address} ${alpn} ${way}`,
          );
          assert.deepEqual(told, [`${address} 4711`], `${alpn} ${way}`);
        }
      }
    }
    assert.equal(server.counters.accepted, 12);
    assert.equal(server.counters.stray, 0);
  });

  it("is taken off before other protocols, whose bytes behind it all arrive", async () => {
    let got = 0;
    const server = await serve({
      onConnection: (socket) => {
        told.push(`${socket.remoteAddress} ${socket.remotePort}`);
        socket.on("data", (chunk: Buffer) => {
          got += chunk.length;
          socket.end("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        });
      },
    });
    await call(server.port, headerOf("192.0.2.7"), { way: "together" });
    assert.deepEqual([told, got], [["192.0.2.7 4711"], http1Get().length]);
  });

  it("[S-7] that is missing, broken or of another kind ends the connection before TLS, and its twin is served", async () => {
    const server = await serve();
    const good = headerOf("192.0.2.7");
    const version = Uint8Array.from(good);
    version[12] = 0x31;
    const unix = Uint8Array.from(good);
    unix[13] = 0x31;
    const long = Uint8Array.from([...good.subarray(0, 14), 0xff, 0xff, ...good.subarray(16)]);
    const bad = [
      NOTHING,
      version,
      unix,
      long,
      new TextEncoder().encode("PROXY TCP4 192.0.2.7 192.0.2.1 1 2\r\n"),
      good.subarray(1),
    ];
    for (const [i, header] of bad.entries()) {
      for (const way of ["together", "apart"] as const) {
        assert.equal((await call(server.port, header, { way })).length, 0, `${i} ${way}`);
        assert.ok((await call(server.port, good, { way })).length > 0);
      }
    }
    assert.equal(told.length, 2 * bad.length);
    assert.equal(server.counters.reasons["request.proxy-header"], 2 * bad.length);
    // of so many refusals none shut the load balancer out
    assert.equal(server.counters.throttled, 0);
  });

  it("[S-7] that does not come in time ends the connection, as does a handshake behind it", async () => {
    const clock = new ManualClock();
    const server = await serve({ clock, handshakeTimeoutMs: 200 });
    const silent = async (bytes: Uint8Array) => {
      const tcp: Socket = dialTcp(server.port, "127.0.0.1");
      tcp.on("error", () => {});
      tcp.resume();
      if (bytes.length > 0) tcp.write(bytes);
      const closed = new Promise((resolve) => tcp.once("close", resolve));
      // served: the connection before it has been taken
      assert.ok((await call(server.port, good)).length > 0);
      await clock.advance(200);
      await closed;
    };
    const good = headerOf("192.0.2.7");
    await silent(NOTHING);
    await silent(good.subarray(0, 20));
    await silent(good);
    assert.equal(server.counters.timedOut, 3);
    assert.deepEqual(server.counters.reasons, {}, "each is counted once");
    assert.equal(told.length, 3);
  });

  it("[S-7] shuts out the caller behind it and nobody else of the same load balancer", async () => {
    const server = await serve({ throttle: { refusals: 3 } });
    for (let i = 0; i < 3; i++)
      assert.equal((await call(server.port, headerOf("192.0.2.66"), { stranger: true })).length, 0);
    await eventually(() => server.counters.refused === 3);
    assert.equal((await call(server.port, headerOf("192.0.2.66"))).length, 0);
    assert.equal(server.counters.throttled, 1);
    assert.ok((await call(server.port, headerOf("192.0.2.7"))).length > 0);
    // the same address in its IPv6 form is the same caller
    assert.equal((await call(server.port, headerOf("::ffff:192.0.2.66"))).length, 0);
    assert.equal(server.counters.throttled, 2);
  });

  it("of the load balancer's own connection leaves its own address", async () => {
    const server = await serve();
    const own = writeProxyHeader(undefined, undefined);
    own[12] = 0x20;
    assert.ok((await call(server.port, own)).length > 0);
    assert.match(told[0]!, /^127\.0\.0\.1 \d+$/);
  });

  it("connections that wait for it count, and those that had theirs leave nothing behind", async () => {
    const server = await serve({ maxConnections: 2 });
    for (let i = 0; i < 6; i++) assert.ok((await call(server.port, headerOf("192.0.2.7"))).length > 0, `${i}`);
    await eventually(() => server.counters.open === 0);
    const waiting = [1, 2].map(() => dialTcp(server.port, "127.0.0.1").on("error", () => {}));
    await Promise.all(waiting.map((tcp) => new Promise((resolve) => tcp.once("connect", resolve))));
    assert.equal((await call(server.port, headerOf("192.0.2.7"))).length, 0);
    assert.ok(server.counters.overLimit >= 1);
    for (const tcp of waiting) tcp.destroy();
    await eventually(async () => (await call(server.port, headerOf("192.0.2.7"))).length > 0, "room again");
  });
});

describe("a PROXY header of an address that is not listed", () => {
  it("is not read: TLS fails by itself, and without one the address is the connection's own", async () => {
    const server = await serve({ proxyProtocol: UNLISTED });
    for (const way of ["together", "apart", "bytes"] as const) {
      assert.equal((await call(server.port, headerOf("10.0.0.1"), { way })).length, 0);
      assert.ok((await call(server.port, NOTHING, { way })).length > 0);
    }
    assert.equal(told.length, 3);
    assert.ok(told.every((one) => one.startsWith("127.0.0.1 ")));
    assert.equal(server.counters.reasons["request.proxy-header"], undefined);
  });
});

describe("the list of load balancers", () => {
  it("knows addresses and prefixes of both families, also of one in the other's form", () => {
    const list = new ProxyList(["10.0.0.0/8", "192.0.2.7", "fd00::/8"]);
    for (const address of ["10.255.0.1", "::ffff:10.1.2.3", "192.0.2.7", "fd12::1", "fd12::1%eth0"])
      assert.ok(list.has(address), address);
    for (const address of [undefined, "11.0.0.1", "192.0.2.8", "::ffff:11.0.0.1", "fe80::1", "", "x"])
      assert.equal(list.has(address), false, String(address));
  });

  it("[S-7] an IPv6 prefix lists no IPv4 address unless it is one of IPv4 in IPv6 form, however that is spelled", () => {
    const forms = ["10.0.0.1", "::ffff:10.0.0.1", "::ffff:a00:1", "0:0:0:0:0:FFFF:a00:1"];
    for (const from of ["::/0", "::/1", "::/80", "::ffff:0.0.0.0/95", "::ffff:11.0.0.0/104"]) {
      const list = new ProxyList([from]);
      for (const address of forms) assert.equal(list.has(address), false, `${from} ${address}`);
    }
    for (const from of ["10.0.0.0/8", "::ffff:10.0.0.0/104", "::ffff:a00:0/104", "::ffff:10.0.0.1", "::ffff:0:0/96"]) {
      const list = new ProxyList([from]);
      for (const address of forms) assert.equal(list.has(address), true, `${from} ${address}`);
    }
    assert.ok(new ProxyList(["::/1"]).has("2001:db8::1"));
  });

  it("takes nothing else", async () => {
    for (const text of [
      "",
      "10.0.0.0/33",
      "10.0.0/8",
      "fd00::/129",
      "10.0.0.0/08",
      "10.0.0.0/8/8",
      "localhost",
      "fe80::1%eth0",
      "/8",
    ])
      assert.equal(isPrefix(text), false, text);
    const orders = await identityOf(`spiffe://${HOME}/orders`, world.home);
    const handler = () => {};
    for (const proxyProtocol of [
      {},
      { from: [] },
      { from: ["x"] },
      { from: "10.0.0.0/8" },
      { from: ["10.0.0.0/8"], trust: true },
    ]) {
      const wrong = listen(orders, { port: 0, address: "127.0.0.1", handler, proxyProtocol: proxyProtocol as never });
      await assert.rejects(wrong, (error) => isSpiffeError(error, "ERR_SPIFFE_USAGE"));
    }
    await assert.rejects(listen(orders, { path: "/tmp/x.sock", handler, proxyProtocol: LISTED }), /on a TCP port/);
  });
});
