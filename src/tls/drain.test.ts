import assert from "node:assert/strict";
import { type ClientHttp2Session, connect as openSession } from "node:http2";
import { connect as dialTcp } from "node:net";
import type { Duplex } from "node:stream";
import { before, describe, it } from "node:test";
import { connect as dialTls, type TLSSocket } from "node:tls";
import { eventually } from "../../test/support/eventually.ts";
import { ManualClock } from "../authority/manual-clock.ts";
import type { StaticIdentity } from "../authority/static-identity.ts";
import { TestCa } from "../authority/test-ca.ts";
import type { ListenerResponse } from "./connections.ts";
import { type ListenOptions, listen, type TlsListener } from "./listen.ts";
import { http1Get, identityOf, rawOptions, type Shown, shown } from "./wire.testing.ts";

let orders: StaticIdentity;
let show: Shown;
let asked: string[] = [];
let waiting: { response: ListenerResponse; arrived: PromiseWithResolvers<void> };

/** A listener whose handler answers only when the test does it. */
async function start(options: Partial<ListenOptions> = {}): Promise<TlsListener> {
  asked = [];
  waiting = { response: undefined as never, arrived: Promise.withResolvers<void>() };
  return listen(orders, {
    port: 0,
    address: "127.0.0.1",
    handler: ({ url = "" }, response) => {
      asked.push(url);
      waiting.response = response;
      waiting.arrived.resolve();
    },
    ...options,
  });
}

interface Client {
  socket: TLSSocket;
  text(): string;
  closed: Promise<void>;
}

function client(port: number, alpn = "http/1.1"): Promise<Client> {
  return clientOver(dialTls(rawOptions(port, show, alpn)), alpn);
}

async function clientOver(socket: TLSSocket, alpn = "http/1.1"): Promise<Client> {
  let text = "";
  socket.on("error", () => {});
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  await new Promise<void>((resolve) => socket.once("secureConnect", () => resolve()));
  if (alpn === "http/1.1") socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
  return { socket, text: () => text, closed };
}

/** Waits until the listener has seen the handshake, which a client finishes first. */
async function open(server: TlsListener, count: number): Promise<void> {
  await eventually(() => server.counters.open >= count);
}

async function session(port: number): Promise<ClientHttp2Session> {
  const { socket } = await client(port, "h2");
  const h2 = openSession("https://orders", { createConnection: () => socket as Duplex });
  h2.on("error", () => {});
  return h2;
}

describe("graceful close", () => {
  before(async () => {
    const ca = await TestCa.create();
    orders = await identityOf("spiffe://example.org/orders", ca);
    show = shown(await ca.issue({ id: "spiffe://example.org/web" }));
  });

  it("closes idle connections at once, and a second later those that nobody used or that shake hands", async () => {
    const clock = new ManualClock();
    const server = await start({ clock });
    const idle = await client(server.port);
    idle.socket.write(http1Get());
    await waiting.arrived.promise;
    waiting.response.end("ok");
    await eventually(() => idle.text().endsWith("ok"));
    const unused = await client(server.port);
    const h2 = await session(server.port);
    const gone = new Promise((resolve) => h2.once("close", resolve));
    const silent = dialTcp(server.port, "127.0.0.1");
    const cut = new Promise((resolve) => silent.on("error", () => {}).once("close", resolve));
    await new Promise((resolve) => silent.once("connect", resolve));
    await open(server, 3);
    const closing = server.close({ deadlineMs: 60_000 });
    await Promise.all([idle.closed, gone]);
    assert.deepEqual([unused.socket.destroyed, silent.destroyed], [false, false]);
    await clock.advance(1_000);
    assert.deepEqual(await closing, { cut: 0 });
    await Promise.all([unused.closed, cut, server.closed]);
    assert.equal(server.counters.open, 0);
    assert.equal(server.counters.timedOut, 0, "nobody waited for the end of a handshake");
  });

  it("lets a running HTTP/1.1 request finish, with Connection: close, and takes no new connection", async () => {
    const server = await start();
    const busy = await client(server.port);
    busy.socket.write(http1Get());
    await waiting.arrived.promise;
    const closing = server.close({ deadlineMs: 60_000 });
    const late = dialTls(rawOptions(server.port, show, "http/1.1"));
    await assert.rejects(new Promise((resolve, reject) => late.once("secureConnect", resolve).once("error", reject)));
    waiting.response.end("done");
    assert.deepEqual(await closing, { cut: 0 });
    await busy.closed;
    assert.match(busy.text(), /^HTTP\/1\.1 200[\s\S]*connection: close[\s\S]*done$/i);
  });

  it("answers the first request of a connection that came before the end, whether its handshake was over or not", async () => {
    const server = await start({ clock: new ManualClock() });
    const unused = await client(server.port);
    const silent = dialTcp(server.port, "127.0.0.1");
    await new Promise((resolve) => silent.once("connect", resolve));
    // the system has it before the server: one that came later, and is served, came behind it
    const behind = await client(server.port);
    await open(server, 2);
    const closing = server.close({ deadlineMs: 60_000 });
    const shaking = await clientOver(dialTls({ ...rawOptions(server.port, show, "http/1.1"), socket: silent }));
    for (const one of [unused, shaking, behind]) {
      const before = asked.length;
      one.socket.write(Buffer.concat([http1Get("/first"), http1Get("/second")]));
      await eventually(() => asked.length > before, "the first request reaches the handler");
      waiting.response.end("done");
      await one.closed;
      assert.match(one.text(), /^HTTP\/1\.1 200[\s\S]*connection: close[\s\S]*done$/i);
    }
    assert.deepEqual(asked, ["/first", "/first", "/first"]);
    assert.deepEqual(await closing, { cut: 0 });
  });

  it("lets a running HTTP/2 stream finish and says GOAWAY", async () => {
    const server = await start();
    const h2 = await session(server.port);
    const goaway = new Promise((resolve) => h2.once("goaway", resolve));
    const stream = h2.request({ ":path": "/" });
    let body = "";
    stream.setEncoding("utf8").on("data", (chunk) => (body += chunk));
    const ended = new Promise((resolve) => stream.once("end", resolve));
    await waiting.arrived.promise;
    const closing = server.close({ deadlineMs: 60_000 });
    await goaway;
    waiting.response.end("done");
    await ended;
    assert.equal(body, "done");
    assert.deepEqual(await closing, { cut: 0 });
  });

  it("cuts what is still busy at the deadline and says how many", async () => {
    const clock = new ManualClock();
    const server = await start({ clock });
    const busy = await client(server.port);
    busy.socket.write(http1Get());
    await waiting.arrived.promise;
    const h2 = await session(server.port);
    waiting.arrived = Promise.withResolvers<void>();
    h2.request({ ":path": "/" }).on("error", () => {});
    await waiting.arrived.promise;
    const closing = server.close({ deadlineMs: 30_000 });
    let over = false;
    void closing.then(() => (over = true));
    await clock.advance(29_000);
    assert.equal(over, false);
    await clock.advance(2_000);
    assert.deepEqual(await closing, { cut: 2 });
    await busy.closed;
  });

  it("[S-9] a connection drains when it has its full age, and one below it does not", async () => {
    const clock = new ManualClock();
    const server = await start({ clock, maxConnectionAgeMs: 60_000 });
    const h2 = await session(server.port);
    await open(server, 1);
    let goaway = false;
    h2.once("goaway", () => (goaway = true));
    await clock.advance(50_000);
    assert.equal(goaway, false);
    assert.equal(server.counters.open, 1);
    const gone = new Promise((resolve) => h2.once("close", resolve));
    await clock.advance(11_000);
    await gone;
    await server.close({ deadlineMs: 0 });
  });

  it("ends upgraded sockets at the deadline only", async () => {
    const clock = new ManualClock();
    const upgraded = Promise.withResolvers<Duplex>();
    const server = await start({ clock, onUpgrade: (_request, socket) => upgraded.resolve(socket) });
    const peer = await client(server.port);
    peer.socket.write(http1Get("/", ["connection: upgrade", "upgrade: echo"]));
    const socket = await upgraded.promise;
    const closing = server.close({ deadlineMs: 10_000 });
    socket.write("still here");
    await eventually(() => peer.text().endsWith("still here"));
    await clock.advance(11_000);
    assert.deepEqual(await closing, { cut: 1 });
    await peer.closed;
  });
});
