import assert from "node:assert/strict";
import { type AddressInfo, connect as dialTcp, type Server, type Socket, createServer as tcpServer } from "node:net";
import { after, before, describe, it } from "node:test";
import { createServer as tlsServer } from "node:tls";
import { ManualClock } from "../authority/manual-clock.ts";
import type { StaticIdentity } from "../authority/static-identity.ts";
import { TestCa } from "../authority/test-ca.ts";
import type { ErrorCode, Reason } from "../base/codes.ts";
import { isSpiffeError, SpiffeError } from "../base/errors.ts";
import { type ConnectOptions, connect } from "./connect.ts";
import { createFetch } from "./fetch.ts";
import { http2Options } from "./http2-options.ts";
import { listen, type TlsListener } from "./listen.ts";
import { identityOf, type Shown, shown } from "./wire.testing.ts";

const ORDERS = "spiffe://example.org/orders";
const HOST = "127.0.0.1";
const HOUR_MS = 3_600_000;

let ca: TestCa;
let own: StaticIdentity;
let good: TlsListener;
const servers: Server[] = [];

async function open(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, HOST, resolve));
  servers.push(server);
  return (server.address() as AddressInfo).port;
}

const tcp = (take: (socket: Socket) => void): Promise<number> =>
  open(
    tcpServer((socket) => {
      socket.on("error", () => {});
      take(socket);
    }),
  );

function tls(show: Shown, more: object = {}): Promise<number> {
  const server = tlsServer({
    ...show,
    requestCert: true,
    rejectUnauthorized: false,
    ALPNProtocols: ["h2", "http/1.1"],
    ...more,
  });
  server.on("tlsClientError", () => {});
  server.on("secureConnection", (socket) => socket.on("error", () => {}).resume());
  return open(server);
}

interface Failure {
  readonly what: string;
  readonly code: ErrorCode;
  readonly phase: string;
  readonly retryable: boolean;
  readonly reason?: Reason;
  /** Where to dial and how; the identity where it is another one. */
  dial(): Promise<Partial<ConnectOptions> & { identity?: StaticIdentity }>;
}

async function identityWithout(change: Parameters<StaticIdentity["update"]>[0]): Promise<StaticIdentity> {
  const identity = await identityOf("spiffe://example.org/client", ca);
  await identity.update(change);
  return identity;
}

const at = (port: number) => ({ host: HOST, port });
const issue = async (options: object) => shown(await ca.issue({ id: ORDERS, ...options }));

/** Every way a dial can fail. */
const FAILURES: readonly Failure[] = [
  {
    what: "a name that does not exist",
    code: "ERR_SPIFFE_TLS",
    phase: "lookup",
    retryable: true,
    dial: async () => ({ host: "nowhere.invalid", port: 443 }),
  },
  {
    what: "nobody listens",
    code: "ERR_SPIFFE_TLS",
    phase: "connect",
    retryable: true,
    async dial() {
      const port = await tcp(() => {});
      await new Promise((resolve) => servers.pop()!.close(resolve));
      return at(port);
    },
  },
  {
    what: "no such unix socket",
    code: "ERR_SPIFFE_TLS",
    phase: "connect",
    retryable: true,
    dial: async () => ({ path: "/nowhere/orders.sock" }),
  },
  {
    what: "a reset during the handshake",
    code: "ERR_SPIFFE_TLS",
    phase: "handshake",
    retryable: true,
    dial: async () => at(await tcp((socket) => socket.once("data", () => socket.resetAndDestroy()))),
  },
  {
    what: "an end during the handshake",
    code: "ERR_SPIFFE_TLS",
    phase: "handshake",
    retryable: true,
    dial: async () => at(await tcp((socket) => socket.once("data", () => socket.end()))),
  },
  {
    what: "a peer that speaks plain HTTP",
    code: "ERR_SPIFFE_TLS",
    phase: "handshake",
    retryable: false,
    dial: async () =>
      at(await tcp((socket) => void socket.end("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"))),
  },
  {
    what: "a peer with TLS 1.2 alone",
    code: "ERR_SPIFFE_TLS",
    phase: "handshake",
    retryable: false,
    dial: async () => at(await tls(await issue({}), { minVersion: "TLSv1.2", maxVersion: "TLSv1.2" })),
  },
  {
    what: "a peer without a certificate",
    code: "ERR_SPIFFE_TLS",
    phase: "handshake",
    retryable: false,
    dial: async () => at(await tls(undefined)),
  },
  {
    what: "a peer with another ID",
    code: "ERR_SPIFFE_PEER_REFUSED",
    phase: "verify",
    retryable: false,
    reason: "peer.not-authorized",
    dial: async () => at(await tls(await issue({ id: `${ORDERS}2` }))),
  },
  {
    what: "a peer of a foreign CA",
    code: "ERR_SPIFFE_PEER_REFUSED",
    phase: "verify",
    retryable: false,
    reason: "x509.no-path",
    dial: async () => at(await tls(shown(await (await TestCa.create()).issue({ id: ORDERS })))),
  },
  {
    what: "a peer of a trust domain without a bundle",
    code: "ERR_SPIFFE_PEER_REFUSED",
    phase: "verify",
    retryable: false,
    reason: "x509.no-bundle",
    async dial() {
      const other = await TestCa.create({ trustDomain: "other.example" });
      return at(await tls(shown(await other.issue({ id: "spiffe://other.example/orders" }))));
    },
  },
  {
    what: "a peer whose certificate has ended",
    code: "ERR_SPIFFE_PEER_REFUSED",
    phase: "verify",
    retryable: true,
    reason: "x509.expired",
    dial: async () => at(await tls(await issue({ notAfter: new Date(Date.now() - HOUR_MS / 2) }))),
  },
  {
    what: "no connection in time",
    code: "ERR_SPIFFE_TIMEOUT",
    phase: "handshake",
    retryable: true,
    async dial() {
      const clock = new ManualClock();
      const port = await tcp((socket) => socket.once("data", () => void clock.advance(50)));
      return { ...at(port), clock, timeoutMs: 50 };
    },
  },
  {
    what: "a signal that runs out of time",
    code: "ERR_SPIFFE_TIMEOUT",
    phase: "handshake",
    retryable: true,
    async dial() {
      const late = new AbortController();
      const over = new DOMException("too late", "TimeoutError");
      const port = await tcp((socket) => socket.once("data", () => late.abort(over)));
      return { ...at(port), signal: late.signal };
    },
  },
  {
    what: "an aborted call",
    code: "ERR_SPIFFE_ABORTED",
    phase: "handshake",
    retryable: false,
    async dial() {
      const abort = new AbortController();
      const port = await tcp((socket) => socket.once("data", () => abort.abort()));
      return { ...at(port), signal: abort.signal };
    },
  },
  {
    what: "a call aborted before it began",
    code: "ERR_SPIFFE_ABORTED",
    phase: "connect",
    retryable: false,
    dial: async () => ({ ...at(good.port), signal: AbortSignal.abort() }),
  },
  {
    what: "an own identity that was revoked",
    code: "ERR_SPIFFE_REVOKED",
    phase: "identity",
    retryable: false,
    dial: async () => ({ ...at(good.port), identity: await identityWithout({ svid: null }) }),
  },
  {
    what: "an own bundle that is empty",
    code: "ERR_SPIFFE_NO_IDENTITY",
    phase: "identity",
    retryable: true,
    reason: "x509.no-bundle",
    dial: async () => ({ ...at(good.port), identity: await identityWithout({ bundles: [] }) }),
  },
  {
    what: "an own SVID that has ended",
    code: "ERR_SPIFFE_EXPIRED",
    phase: "identity",
    retryable: true,
    reason: "x509.expired",
    dial: async () => ({ ...at(good.port), clock: new ManualClock(Date.now() + 2 * HOUR_MS) }),
  },
  {
    what: "an own identity that is revoked during the handshake",
    code: "ERR_SPIFFE_REVOKED",
    phase: "identity",
    retryable: false,
    async dial() {
      const identity = await identityOf("spiffe://example.org/client", ca);
      const { x509BundleFor } = identity.x509;
      const svid = identity.x509.x509Svid();
      let looks = 0;
      identity.x509.x509BundleFor = (trustDomain) => {
        looks++;
        return x509BundleFor(trustDomain);
      };
      // Every dial looks at bundles for itself at least once before the handshake, and for the peer after it.
      identity.x509.x509Svid = () => {
        if (looks < 2) return svid;
        throw new SpiffeError("ERR_SPIFFE_REVOKED", "The test took the identity away");
      };
      return { ...at(good.port), identity };
    },
  },
  {
    what: "a given stream that has ended before",
    code: "ERR_SPIFFE_TLS",
    phase: "handshake",
    retryable: true,
    async dial() {
      const socket = dialTcp(await tcp((each) => each.destroy()), HOST).on("error", () => {});
      await new Promise((resolve) => socket.once("close", resolve));
      return { socket };
    },
  },
  ...[{ alpn: [""] }, { alpn: ["x".repeat(256)] }, { servername: "127.0.0.1" }].map((more) => ({
    what: `a name that TLS has no form for (${Object.keys(more)}: ${String(Object.values(more)[0]).length})`,
    code: "ERR_SPIFFE_USAGE" as const,
    phase: "options",
    retryable: false,
    dial: async () => ({ ...at(good.port), ...more }),
  })),
  {
    what: "a source that throws something of its own",
    code: "ERR_SPIFFE_NO_IDENTITY",
    phase: "identity",
    retryable: true,
    async dial() {
      const identity = await identityOf("spiffe://example.org/client", ca);
      identity.x509.x509Svid = () => {
        throw new Error("not mine");
      };
      return { ...at(good.port), identity };
    },
  },
];

function check(error: unknown, { what, code, phase, retryable, reason }: Failure): SpiffeError {
  assert.ok(isSpiffeError(error), `${what}: ${error}`);
  assert.deepEqual(
    { code: error.code, phase: error.phase, retryable: error.retryable },
    { code, phase, retryable },
    `${what}: ${error.message} ${error.cause}`,
  );
  if (reason !== undefined) assert.equal(error.reason, reason, what);
  assert.ok(error.hint !== undefined && error.hint.length > 10, `${what} has no hint`);
  assert.ok(error.message.length > 10 && !error.message.includes("PRIVATE"), what);
  return error;
}

async function caught(job: Promise<unknown>): Promise<unknown> {
  try {
    await job;
  } catch (error) {
    return error;
  }
  return "no error";
}

describe("failures of a dial", () => {
  before(async () => {
    ca = await TestCa.create();
    own = await identityOf("spiffe://example.org/client", ca);
    good = await listen(await identityOf(ORDERS, ca), {
      address: HOST,
      port: 0,
      throttle: false,
      handler: (_, response) => void response.end("ok"),
    });
  });
  after(async () => {
    await good.close({ deadlineMs: 0 });
    for (const server of servers) server.close();
  });

  for (const failure of FAILURES) {
    it(`[S-5] connect: ${failure.what} is ${failure.code} in ${failure.phase}`, async () => {
      const { identity = own, ...options } = await failure.dial();
      check(await caught(connect(identity, { peer: ORDERS, ...options })), failure);
    });
  }

  it("[S-5] createFetch and http2Options reject alike, and their twin is let through", async () => {
    for (const failure of FAILURES) {
      const { identity = own, host, port, alpn, servername, timeoutMs, signal, clock } = await failure.dial();
      // what these have no option for
      if (host === undefined || alpn !== undefined || servername !== undefined) continue;
      const url = `https://${host}:${port}/`;
      const dialling = {
        peer: ORDERS,
        ...(timeoutMs === undefined ? {} : { connectTimeoutMs: timeoutMs }),
        ...(clock === undefined ? {} : { clock }),
      };
      // A signal belongs to one dial; the table makes a new one for the other.
      check(await caught(createFetch(identity, dialling)(url, signal === undefined ? {} : { signal })), failure);
      if (signal !== undefined) continue;
      const { sessionManager } = http2Options(identity, { baseUrl: url, ...dialling });
      check(await caught(sessionManager.request("GET", "/", {})), failure);
    }
    const url = `https://${HOST}:${good.port}/`;
    assert.equal(await (await createFetch(own, { peer: ORDERS })(url)).text(), "ok");
    const { sessionManager } = http2Options(own, { baseUrl: url, peer: ORDERS });
    const stream = await sessionManager.request("GET", "/", {});
    await new Promise((resolve) => stream.once("close", resolve).resume().end());
    sessionManager.close();
  });

  it("a peer that nothing vouches for is told apart from one with another ID, and from an identity that was closed", async () => {
    const other = await TestCa.create({ trustDomain: "other.example" });
    const foreign = await tls(shown(await other.issue({ id: "spiffe://other.example/orders" })));
    const closed = await identityOf("spiffe://example.org/client", ca);
    closed.x509.x509Svid = () => {
      throw new SpiffeError("ERR_SPIFFE_CLOSED", "The test closed it");
    };
    for (const [port, identity, peer, says, hint] of [
      [foreign, own, "spiffe://other.example/orders", /could not be verified: .*other\.example/, /^Federate/],
      [good.port, own, `${ORDERS}2`, /is not who was expected: /, /^Compare its SPIFFE ID/],
      [good.port, closed, ORDERS, /The test closed it/, /^This program closed it/],
    ] as const) {
      const error = await caught(connect(identity, { host: HOST, port, peer }));
      assert.ok(isSpiffeError(error), String(error));
      assert.match(error.message, says);
      assert.match(error.hint ?? "", hint);
    }
  });

  it("a wrong peer at the end of an open stream is named by its address, where there is one", async () => {
    const socket = dialTcp(good.port, HOST);
    await new Promise((resolve) => socket.once("connect", resolve));
    const error = await caught(connect(own, { socket, peer: `${ORDERS}2` }));
    assert.ok(isSpiffeError(error, "ERR_SPIFFE_PEER_REFUSED"), String(error));
    assert.match(error.message, new RegExp(`^The peer at ${HOST}:${good.port} is not who`));
  });

  it("a peer that does not choose HTTP/2, and a session that is over, are errors with a phase", async () => {
    const port = await tls(await issue({}), { ALPNProtocols: ["http/1.1"] });
    const { sessionManager } = http2Options(own, { baseUrl: `https://${HOST}:${port}`, peer: ORDERS });
    const error = await caught(sessionManager.request("GET", "/", {}));
    assert.ok(isSpiffeError(error, "ERR_SPIFFE_TLS"), String(error));
    assert.equal(error.phase, "handshake");
    sessionManager.close();
    const closed = await caught(sessionManager.request("GET", "/", {}));
    assert.ok(isSpiffeError(closed, "ERR_SPIFFE_CLOSED"), String(closed));
  });
});
