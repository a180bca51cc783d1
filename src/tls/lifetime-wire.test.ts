import assert from "node:assert/strict";
import { type ClientHttp2Session, connect as openSession } from "node:http2";
import type { Duplex } from "node:stream";
import { after, before, describe, it } from "node:test";
import { connect as dialTls, type TLSSocket } from "node:tls";
import { eventually } from "../../test/support/eventually.ts";
import { ManualClock } from "../authority/manual-clock.ts";
import type { StaticIdentity } from "../authority/static-identity.ts";
import { TestCa } from "../authority/test-ca.ts";
import type { Reason } from "../base/codes.ts";
import { isSpiffeError, type SpiffeError } from "../base/errors.ts";
import { accept, refuse } from "../base/verdict.ts";
import { TrustDomain } from "../id/index.ts";
import type { Logger } from "../telemetry/logger.ts";
import { X509Bundle } from "../x509/index.ts";
import { connect } from "./connect.ts";
import { type ListenOptions, listen, type TlsListener } from "./listen.ts";
import { identityOf, rawOptions, shown } from "./wire.testing.ts";

const ORDERS = "spiffe://example.org/orders";
const WEB = "spiffe://example.org/web";
const EXAMPLE = TrustDomain.parse("example.org");
const HERE = { address: "127.0.0.1", port: 0, throttle: false } as const;

let ca: TestCa;
let other: TestCa;

/** What a test that fails leaves open. */
const left: (() => Promise<void>)[] = [];
const endAll = async () => {
  for (const end of left) await end();
};

/** One world per case: a listener with a WebSocket, an SSE stream and an HTTP/2 stream of the peer, and those of a twin. */
interface Case {
  clock: ManualClock;
  orders: StaticIdentity;
  server: TlsListener;
  lines: { message: string; reason: unknown }[];
  /** Kinds of streams that are still open, for the peer and for its twin. */
  open: { peer: Set<string>; twin: Set<string> };
  end(): Promise<void>;
}

function both(...cas: TestCa[]): X509Bundle {
  return new X509Bundle(
    EXAMPLE,
    cas.flatMap((each) => each.x509Bundle().authorities),
  );
}

async function begin(options: Partial<ListenOptions>, life: { peerMs?: number } = {}): Promise<Case> {
  const clock = new ManualClock();
  const orders = await identityOf(ORDERS, ca);
  await orders.update({ bundles: both(ca, other) });
  const lines: Case["lines"] = [];
  const note = (message: string, fields?: object) =>
    lines.push({ message, reason: (fields as { reason?: unknown })?.reason });
  const logger: Logger = { debug: note, info: note, warn: note, error: note };
  const server = await listen(orders, {
    ...HERE,
    clock,
    logger,
    handler: (_request, response) => {
      // An event stream that never ends.
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write("data: 1\n\n");
    },
    onUpgrade: (_request, socket) => {
      socket.write("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
    },
    ...options,
  });
  const open = { peer: new Set<string>(), twin: new Set<string>() };
  const sockets: TLSSocket[] = [];
  const sessions: ClientHttp2Session[] = [];
  const dial = async (who: "peer" | "twin", kind: string) => {
    const notAfter = new Date(clock.now() + (who === "peer" ? (life.peerMs ?? 3_000_000) : 3_000_000));
    const svid = await (who === "peer" ? other : ca).issue({ id: who === "peer" ? WEB : `${WEB}/twin`, notAfter });
    const socket = dialTls(rawOptions(server.port, shown(svid), kind === "h2" ? "h2" : "http/1.1"));
    sockets.push(socket);
    socket.on("error", () => {});
    socket.once("close", () => open[who].delete(kind));
    await new Promise((resolve) => socket.once("secureConnect", resolve));
    if (kind === "h2") {
      const session = openSession("https://orders", { createConnection: () => socket as Duplex });
      sessions.push(session);
      session.on("error", () => {});
      const stream = session.request({ ":path": "/" });
      stream.on("error", () => {}).on("close", () => open[who].delete(kind));
      await new Promise((resolve) => stream.once("data", resolve));
      stream.resume();
    } else {
      const upgrade = kind === "websocket" ? "connection: upgrade\r\nupgrade: websocket\r\n" : "";
      const answered = new Promise((resolve) => socket.once("data", resolve));
      socket.write(`GET / HTTP/1.1\r\nhost: orders\r\n${upgrade}\r\n`);
      await answered;
      socket.resume();
    }
    open[who].add(kind);
  };
  for (const who of ["peer", "twin"] as const) for (const kind of ["websocket", "sse", "h2"]) await dial(who, kind);
  const end = async () => {
    for (const session of sessions) session.destroy();
    for (const socket of sockets) socket.destroy();
    await server.close({ deadlineMs: 0 });
  };
  left.push(end);
  return { clock, orders, server, lines, open, end };
}

/** Whether all three kinds of the peer end, and those of the twin stay or end as well. */
async function expectEnd(at: Case, reason: Reason, twinEndsToo = false): Promise<void> {
  await eventually(() => at.open.peer.size === 0);
  if (twinEndsToo) await eventually(() => at.open.twin.size === 0);
  const count = twinEndsToo ? 6 : 3;
  assert.deepEqual(at.server.counters.ended, { [reason]: count });
  assert.equal(at.server.counters.open, 6 - count);
  assert.equal(at.open.twin.size, twinEndsToo ? 0 : 3);
  assert.equal(at.lines.filter((line) => line.message === "connection ended" && line.reason === reason).length, count);
}

describe("streams over the end of what they rest on, accepted", () => {
  before(async () => {
    ca = await TestCa.create();
    other = await TestCa.create();
  });
  after(endAll);

  it("[S-9] [A-15] the certificate of the peer ends", async () => {
    const at = await begin({}, { peerMs: 60_000 });
    await at.clock.advance(50_000);
    assert.equal(at.open.peer.size, 3);
    await at.clock.advance(10_900);
    await expectEnd(at, "x509.expired");
    assert.ok((at.server.counters.drained["x509.expired"] ?? 0) > 0, "they were told to finish before");
    await at.end();
  });

  it("[S-9] [A-15] the authority that vouched leaves, while the bundle keeps another", async () => {
    const at = await begin({});
    await at.clock.advance(5_000);
    assert.equal(at.open.peer.size, 3);
    await at.orders.update({ bundles: both(ca) });
    await at.clock.advance(1_000);
    await expectEnd(at, "x509.no-path");
    await at.end();
  });

  it("[S-9] [A-15] the own identity is revoked", async () => {
    const at = await begin({});
    await at.orders.update({ svid: null });
    await at.clock.advance(1_000);
    await expectEnd(at, "peer.own-identity-lost", true);
    await at.end();
  });

  it("[S-10] [A-14] the own bundle is emptied; it comes back and everything is accepted again", async () => {
    const at = await begin({});
    await at.orders.update({ bundles: new X509Bundle(EXAMPLE, []) });
    await at.clock.advance(1_000);
    await expectEnd(at, "peer.own-identity-lost", true);
    const client = await identityOf(WEB, ca);
    const dial = async () => (await connect(client, { host: "127.0.0.1", port: at.server.port, peer: ORDERS })).socket;
    const refused = await dial();
    await new Promise((resolve) => refused.once("close", resolve).resume());
    assert.equal(at.server.counters.reasons["peer.own-identity-lost"], 1);
    await at.orders.update({ bundles: both(ca, other) });
    const accepted = at.server.counters.accepted;
    const socket = await dial();
    await eventually(() => at.server.counters.accepted > accepted);
    socket.destroy();
    await at.end();
  });

  it("[S-9] [A-15] the policy changes to deny: rejudge ends at once whom it denies", async () => {
    let denied = "";
    const at = await begin({
      authorize: (peer) => (peer.id.uri === denied ? refuse("peer.not-authorized", "no more") : accept(peer.id)),
    });
    assert.deepEqual(await at.server.rejudge(), { ended: 0 });
    denied = WEB;
    assert.deepEqual(await at.server.rejudge(), { ended: 3 });
    await expectEnd(at, "peer.not-authorized");
    await at.end();
    const by = await begin({});
    const decide = (peer?: { id: { uri: string } }) =>
      peer?.id.uri === WEB ? refuse("policy.denied", "rule") : accept(1);
    assert.deepEqual(await by.server.rejudge(decide), { ended: 3 });
    await expectEnd(by, "policy.denied");
    await by.end();
  });

  it("[S-9] the greatest age: told to finish, then ended", async () => {
    const at = await begin({ maxConnectionAgeMs: 60_000 });
    await at.clock.advance(53_000);
    assert.equal(at.server.counters.open, 6);
    await at.clock.advance(8_000);
    await expectEnd(at, "peer.max-age", true);
    assert.equal(at.server.counters.drained["peer.max-age"], 6);
    await at.end();
  });
});

describe("dialled connections over the end of what they rest on", () => {
  after(endAll);

  interface Dialled {
    clock: ManualClock;
    client: StaticIdentity;
    socket: TLSSocket;
    drained: Reason[];
    closed: Promise<SpiffeError>;
    end(): Promise<void>;
  }

  async function dial(more: object = {}, life: { ownMs?: number; peerMs?: number } = {}): Promise<Dialled> {
    const clock = new ManualClock();
    const until_ = (ms = 3_000_000) => new Date(clock.now() + ms);
    const orders = await identityOf(ORDERS, ca);
    await orders.update({
      svid: await other.issue({ id: ORDERS, notAfter: until_(life.peerMs) }),
      bundles: both(ca, other),
    });
    const client = await identityOf(WEB, ca);
    await client.update({ svid: await ca.issue({ id: WEB, notAfter: until_(life.ownMs) }), bundles: both(ca, other) });
    // The other side has a clock that stands, so that this one ends it.
    const server = await listen(orders, {
      ...HERE,
      clock: new ManualClock(),
      onConnection: (socket) => void socket.resume(),
    });
    const drained: Reason[] = [];
    const { socket } = await connect(client, {
      host: "127.0.0.1",
      port: server.port,
      peer: ORDERS,
      clock,
      onDrain: (reason) => drained.push(reason),
      ...more,
    });
    let error: unknown;
    socket.on("error", (reason) => (error = reason));
    const closed = new Promise<SpiffeError>((resolve) => socket.once("close", () => resolve(error as SpiffeError)));
    const end = async () => {
      socket.destroy();
      await server.close({ deadlineMs: 0 });
    };
    left.push(end);
    return { clock, client, socket, drained, closed, end };
  }

  const cases: readonly {
    what: string;
    reason: Reason;
    drains: boolean;
    life?: { ownMs?: number; peerMs?: number };
    more?: object;
    change?: () => Parameters<StaticIdentity["update"]>[0];
  }[] = [
    { what: "the peer's certificate ends", reason: "x509.expired", drains: true, life: { peerMs: 60_000 } },
    { what: "the own identity ends", reason: "peer.own-expired", drains: true, life: { ownMs: 60_000 } },
    { what: "the greatest age", reason: "peer.max-age", drains: true, more: { maxConnectionAgeMs: 60_000 } },
    { what: "the authority leaves", reason: "x509.no-path", drains: false, change: () => ({ bundles: both(ca) }) },
    {
      what: "the own identity is revoked",
      reason: "peer.own-identity-lost",
      drains: false,
      change: () => ({ svid: null }),
    },
  ];
  for (const { what, reason, drains, life, more, change } of cases) {
    it(`[S-9] ${what}: the socket's error says so`, async () => {
      const at = await dial(more, life);
      await at.clock.advance(50_000);
      assert.equal(at.socket.destroyed, false);
      assert.deepEqual(at.drained, []);
      if (reason === "peer.own-expired") await at.client.update({ svid: await ca.issue({ id: WEB }) });
      if (change !== undefined) await at.client.update(change());
      await at.clock.advance(change === undefined ? 11_000 : 1_000);
      const error = await at.closed;
      assert.ok(isSpiffeError(error), String(error));
      assert.deepEqual([error.reason, error.phase], [reason, "connected"]);
      assert.deepEqual(at.drained, drains ? [reason] : []);
      await at.end();
    });
  }
});
