import assert from "node:assert/strict";
import { connect as dialTcp, createServer as tcpServer } from "node:net";
import { before, describe, it } from "node:test";
import { eventually, soon } from "../../test/support/eventually.ts";
import { ManualClock } from "../authority/manual-clock.ts";
import type { StaticIdentity } from "../authority/static-identity.ts";
import { TestCa, type TestSvid } from "../authority/test-ca.ts";
import { type Clock, systemClock } from "../base/clock.ts";
import { isSpiffeError } from "../base/errors.ts";
import { accept } from "../base/verdict.ts";
import type { TrustDomain } from "../id/index.ts";
import { capabilities } from "../runtime/capabilities.ts";
import { silentLogger } from "../telemetry/logger.ts";
import { type ListenOptions, listen, type RefusedConnection, type TlsListener } from "./listen.ts";
import { listenSettings } from "./listen-options.ts";
import { connectionPeer, peerOf } from "./peer.ts";
import {
  http1Done,
  http1Get,
  http2Ended,
  http2Requests,
  identityOf,
  rawExchange,
  rawOptions,
  type Shown,
  shown,
} from "./wire.testing.ts";
import { chainOf } from "./wrong-peers.testing.ts";

const ORDERS = "spiffe://example.org/orders";
const WEB = "spiffe://example.org/web";

let ca: TestCa;
let foreign: TestCa;
let orders: StaticIdentity;
let web: TestSvid;
let good: Shown;
let bad: Shown;

/** Starts a listener whose handler tells the peer, runs the test, and closes it. */
async function withListener(
  options: Partial<ListenOptions>,
  test: (server: TlsListener, state: { handled: number; refused: RefusedConnection[] }) => Promise<void>,
  identity: StaticIdentity = orders,
): Promise<void> {
  const state = { handled: 0, refused: [] as RefusedConnection[] };
  const server = await listen(identity, {
    port: 0,
    address: "127.0.0.1",
    throttle: false,
    handler: (request, response) => {
      state.handled++;
      response.end(connectionPeer(request)?.peer === undefined ? "nobody" : peerOf(request).id.uri);
    },
    onRefused: (refused) => state.refused.push(refused),
    ...options,
  });
  try {
    await test(server, state);
  } finally {
    await server.close({ deadlineMs: 100 });
  }
}

/** One GET; the body, or nothing when the connection was cut. */
async function get(server: TlsListener, show: Shown): Promise<string | undefined> {
  const seen = await rawExchange(rawOptions(server.port, show, "http/1.1"), http1Get(), http1Done);
  return http1Done(seen.bytes) ? seen.bytes.toString().split("\r\n\r\n")[1] : undefined;
}

/** The same over HTTP/2: whether it was answered. */
async function getH2(server: TlsListener, show: Shown): Promise<boolean> {
  const seen = await rawExchange(
    rawOptions(server.port, show, "h2"),
    http2Requests(),
    (bytes) => http2Ended(bytes) > 0,
  );
  return http2Ended(seen.bytes) > 0;
}

/** A TCP connection that says nothing, or the given bytes, until the other side closes it. */
function silent(port: number, bytes?: Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    const socket = dialTcp(port, "127.0.0.1", () => bytes !== undefined && socket.write(bytes));
    socket.on("error", () => {});
    socket.resume();
    socket.once("close", () => resolve());
  });
}

describe("listen", () => {
  before(async () => {
    ca = await TestCa.create();
    foreign = await TestCa.create();
    orders = await identityOf(ORDERS, ca);
    web = await ca.issue({ id: WEB });
    good = shown(web);
    bad = shown(await foreign.issue({ id: WEB }));
  });

  const modes = [
    { mode: "require", none: undefined, good: WEB, bad: undefined },
    { mode: "optional", none: "nobody", good: WEB, bad: undefined },
    { mode: "none", none: "nobody", good: "nobody", bad: "nobody" },
  ] as const;
  for (const row of modes) {
    it(`[S-1] clientCertificate ${row.mode}: without, with a good, with a foreign certificate`, async () => {
      await withListener({ clientCertificate: row.mode }, async (server, state) => {
        assert.equal(await get(server, undefined), row.none);
        assert.equal(await get(server, good), row.good);
        assert.equal(await get(server, bad), row.bad);
        assert.equal(await getH2(server, undefined), row.none !== undefined);
        assert.equal(await getH2(server, good), true);
        assert.equal(await getH2(server, bad), row.bad !== undefined);
        const served = [row.none, row.good, row.bad].filter((each) => each !== undefined).length * 2;
        assert.equal(state.handled, served);
        assert.equal(state.refused.length, 6 - served);
        assert.equal(server.counters.accepted, served);
        assert.equal(server.counters.stray, 0);
      });
    });
  }

  it("[S-2] TLS 1.2 is refused, TLS 1.3 is served", async () => {
    await withListener({}, async (server, state) => {
      const old = await rawExchange(
        rawOptions(server.port, good, "http/1.1", { minVersion: "TLSv1.2", maxVersion: "TLSv1.2" }),
        http1Get(),
      );
      assert.equal(old.handshake, false);
      assert.equal(state.handled, 0);
      assert.equal(await get(server, good), WEB);
    });
  });

  it("[S-4] a runtime that can not switch resumption off says so at the start, and connections get a greatest age", async () => {
    const warned: (object | undefined)[] = [];
    const warn = (message: string, fields?: object) => void (message.includes("resumed") && warned.push(fields));
    const { resumptionOff } = capabilities;
    const { maxAgeMs } = listenSettings({ handler: () => {} });
    assert.equal(maxAgeMs, resumptionOff.value ? Infinity : 1_800_000);
    assert.equal(listenSettings({ handler: () => {}, maxConnectionAgeMs: 60_000 }).maxAgeMs, 60_000);
    await withListener({ logger: { ...silentLogger, warn } }, async () => {
      assert.deepEqual(warned, resumptionOff.value ? [] : [{ why: resumptionOff.why, maxConnectionAgeMs: maxAgeMs }]);
    });
  });

  it("[S-7] [A-8] chains up to ten certificates are verified, longer and larger ones refused", async () => {
    const nine = shown(await (await chainOf(ca, 9)).issue({ id: WEB }));
    const ten = shown(await (await chainOf(ca, 10)).issue({ id: WEB }));
    const many = await ca.issue({ id: WEB });
    const bulk = (size: number) => ({ oid: "1.3.6.1.4.1.99999.1", critical: false, value: new Uint8Array(size) });
    const padded = async (size: number) => shown(await ca.issue({ id: WEB, extensions: [bulk(size)] }));
    await withListener({}, async (server, state) => {
      assert.equal(await get(server, nine), WEB, "ten certificates");
      assert.equal(await get(server, ten), undefined, "eleven certificates");
      assert.equal(state.refused.at(-1)?.reason, "x509.chain-too-large");
      // Some stacks refuse so many by themselves; then no verdict is made.
      const flood = { cert: many.certPem + many.certPem.repeat(239), key: many.keyPem };
      assert.equal(await get(server, flood), undefined, "240 certificates");
      assert.equal(await get(server, await padded(30_000)), WEB, "30,000 bytes");
      assert.equal(await get(server, await padded(66_000)), undefined, "66,000 bytes");
      assert.equal(state.handled, 2);
    });
  });

  it("[S-7] an address with five refusals is shut out before TLS, and let in again later", async () => {
    const clock = new ManualClock();
    const lines: unknown[] = [];
    const info = (_message: string, fields?: Record<string, unknown>) => void lines.push(fields?.reason);
    await withListener({ throttle: {}, clock, logger: { ...silentLogger, info } }, async (server, state) => {
      for (let i = 0; i < 5; i++) {
        assert.equal(await get(server, good), WEB, "a good peer between refused ones");
        assert.equal(await get(server, bad), undefined);
      }
      for (let i = 0; i < 3; i++) {
        const seen = await rawExchange(rawOptions(server.port, good, "http/1.1"), http1Get(), http1Done);
        assert.equal(seen.handshake, false, "no handshake while shut out");
        assert.equal(server.counters.throttled, i + 1);
        assert.equal(state.refused.at(-1)?.reason, "peer.throttled");
      }
      assert.equal(state.refused.length, 8);
      assert.deepEqual(lines, [...new Array(5).fill("x509.no-path"), "peer.throttled"], "a line for the first alone");
      assert.equal(state.handled, 5);
      await clock.advance(10_001);
      assert.equal(await get(server, good), WEB);
    });
  });

  it("[S-7] [A-8] a chain that is too large for the TLS stack itself counts as refused, other broken handshakes do not", async () => {
    const many = await ca.issue({ id: WEB });
    const flood = { cert: many.certPem.repeat(300), key: many.keyPem };
    await withListener({ throttle: {} }, async (server) => {
      for (let i = 0; i < 6; i++) {
        const old = { minVersion: "TLSv1.2", maxVersion: "TLSv1.2" } as const;
        assert.equal((await rawExchange(rawOptions(server.port, good, "http/1.1", old), http1Get())).handshake, false);
      }
      assert.equal(await get(server, good), WEB);
      for (let i = 0; i < 5; i++) {
        assert.equal(server.counters.throttled, 0);
        assert.equal(await get(server, flood), undefined);
        await eventually(() => server.counters.failed >= 7 + i);
      }
      assert.equal(await get(server, good), undefined);
      assert.equal(server.counters.throttled, 1);
    });
  });

  it("[S-7] idle TCP and half a ClientHello are closed, a slow but whole handshake is not needed for others", async () => {
    const clock = new ManualClock();
    await withListener({ clock, handshakeTimeoutMs: 150 }, async (server) => {
      const waiting = [silent(server.port), silent(server.port, Buffer.from("1603010200010001fc0303", "hex"))];
      // served: the connections before it have been taken
      assert.equal(await get(server, good), WEB);
      await clock.advance(150);
      await Promise.all(waiting);
      assert.equal(await get(server, good), WEB);
      assert.equal(server.counters.timedOut, 2);
    });
  });

  it("plain HTTP to the port is counted as a failed handshake and harms nobody", async () => {
    await withListener({}, async (server, state) => {
      await silent(server.port, http1Get());
      assert.equal(state.handled, 0);
      assert.equal(server.counters.failed, 1);
      assert.equal(await get(server, good), WEB);
    });
  });

  it("[S-8] exceptions of authorizer, bundle source and observer refuse and leave the process alone", async () => {
    let broken = false;
    const throwing = {
      ...orders,
      x509: {
        ...orders.x509,
        x509BundleFor(trustDomain: TrustDomain) {
          if (broken) throw new Error("no bundles today");
          return orders.x509.x509BundleFor(trustDomain);
        },
      },
    };
    const quirks: [string, Partial<ListenOptions>, StaticIdentity][] = [
      [
        "authorizer throws",
        {
          authorize: () => {
            throw new Error("no");
          },
        },
        orders,
      ],
      ["authorizer gives nothing", { authorize: (() => undefined) as never }, orders],
      [
        "authorizer is async",
        { authorize: (async (peer: { id: unknown }) => ({ ok: true, value: peer.id })) as never },
        orders,
      ],
      [
        "authorizer rejects",
        {
          authorize: (async () => {
            throw new Error("later");
          }) as never,
        },
        orders,
      ],
      ["bundle source throws", {}, throwing],
    ];
    for (const [name, options, identity] of quirks) {
      await withListener(
        options,
        async (server, state) => {
          broken = identity === throwing;
          assert.equal(await get(server, good), undefined, name);
          assert.equal(await getH2(server, good), false, name);
          assert.equal(state.handled, 0, name);
          const reason = identity === throwing ? "peer.own-identity-lost" : "peer.internal";
          assert.equal(server.counters.reasons[reason], 2, name);
        },
        identity,
      );
    }
    const fail = () => {
      throw new Error("observer");
    };
    const logger = { debug: fail, info: fail, warn: fail, error: fail };
    const loud = { onRefused: (async () => fail()) as () => void, logger };
    await withListener({ onRefused: fail, logger }, async (server) => {
      assert.equal(await get(server, bad), undefined);
      assert.equal(await get(server, good), WEB);
    });
    await withListener(loud, async (server) => {
      assert.equal(await get(server, bad), undefined);
      assert.equal(await get(server, good), WEB, "the twin of all of them");
    });
  });

  it("[S-8] a handler that throws or rejects answers 500 and the next request is served", async () => {
    const handlers = [
      () => {
        throw new Error("sync");
      },
      async () => {
        throw new Error("async");
      },
    ];
    for (const handler of handlers) {
      let calls = 0;
      const options: Partial<ListenOptions> = {
        handler: (_request, response) => (calls++ < 2 ? handler() : void response.end("fine")),
      };
      await withListener(options, async (server) => {
        const seen = await rawExchange(rawOptions(server.port, good, "http/1.1"), http1Get(), (bytes) =>
          /\r\n\r\n/.test(String(bytes)),
        );
        assert.match(seen.bytes.toString(), /^HTTP\/1\.1 500/);
        assert.equal(await getH2(server, good), true);
        assert.equal(server.counters.handlerErrors, 2);
        assert.equal(await get(server, good), "fine");
      });
    }
  });

  it("[S-8] what throws after the verdict refuses, too: nobody is let in whose end nobody keeps", async () => {
    let broken = false;
    const clock: Clock = {
      now: () => systemClock.now(),
      sleep: (ms, signal) => systemClock.sleep(ms, signal),
      monotonic() {
        if (broken) throw new Error("no time");
        return systemClock.monotonic();
      },
    };
    let breaks = true;
    const authorize: ListenOptions["authorize"] = ({ id }) => {
      broken = breaks;
      return accept(id);
    };
    const onRefused = () => {
      broken = false;
    };
    await withListener({ clock, authorize, onRefused }, async (server, state) => {
      const refused = get(server, good);
      await eventually(() => server.counters.refused === 1);
      assert.equal(await soon(refused, "the refused connection ends"), undefined);
      assert.deepEqual(server.counters.reasons, { "peer.internal": 1 });
      assert.deepEqual([state.handled, server.counters.accepted, server.counters.open], [0, 0, 0]);
      breaks = false;
      assert.equal(await get(server, good), WEB);
    });
  });

  it("[S-8] an upgrade whose handler throws or rejects is cut, and the next one is served", async () => {
    const answer = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
    const fail = () => {
      throw new Error("no");
    };
    for (const failing of [fail, async () => fail()]) {
      let calls = 0;
      const onUpgrade: ListenOptions["onUpgrade"] = (_request, socket) =>
        calls++ === 0 ? failing() : void socket.end(answer);
      await withListener({ onUpgrade }, async (server) => {
        const upgrade = async () => {
          const bytes = http1Get("/", ["connection: upgrade", "upgrade: echo"]);
          const exchanged = rawExchange(rawOptions(server.port, good, "http/1.1"), bytes);
          return (await soon(exchanged, "the connection ends")).bytes.toString();
        };
        assert.equal(await upgrade(), "");
        assert.equal(server.counters.handlerErrors, 1);
        assert.equal(await upgrade(), answer);
        assert.equal(server.counters.handlerErrors, 1);
      });
    }
  });

  it("[S-8] what a handler returns besides a promise means nothing", async () => {
    // As a program in plain JavaScript does without a thought.
    const handler = ((_request: unknown, response: { end(text: string): unknown }) => response.end("fine")) as never;
    await withListener({ handler }, async (server) => {
      for (let i = 0; i < 3; i++) assert.equal(await get(server, good), "fine");
      assert.equal(await getH2(server, good), true);
      assert.equal(server.counters.handlerErrors, 0);
      for (const deadlineMs of [Number.NaN, -1, "x"]) {
        assert.throws(
          () => server.close({ deadlineMs: deadlineMs as number }),
          (error) => isSpiffeError(error, "ERR_SPIFFE_USAGE"),
        );
      }
    });
  });

  it("[S-10] without an own SVID every handshake is refused, and accepted again after an update", async () => {
    const identity = await identityOf(ORDERS, ca);
    await withListener(
      {},
      async (server, state) => {
        assert.equal(await get(server, good), WEB);
        await identity.update({ svid: null });
        assert.equal(await get(server, good), undefined);
        assert.equal(state.refused.at(-1)?.reason, "peer.own-identity-lost");
        await identity.update({ svid: await ca.issue({ id: ORDERS }) });
        assert.equal(await get(server, good), WEB);
        assert.equal(state.handled, 2);
      },
      identity,
    );
  });

  it("[S-10] [S-7] nobody is shut out for the time in which this side had no SVID", async () => {
    const identity = await identityOf(ORDERS, ca);
    await withListener(
      { throttle: { refusals: 2 } },
      async (server) => {
        await identity.update({ svid: null });
        for (let i = 0; i < 4; i++) assert.equal(await get(server, good), undefined);
        await identity.update({ svid: await ca.issue({ id: ORDERS }) });
        assert.equal(await get(server, good), WEB);
        for (let i = 0; i < 2; i++) assert.equal(await get(server, bad), undefined);
        assert.equal(await get(server, good), undefined, "the twin: the client's own fault");
        assert.equal(server.counters.throttled, 1);
      },
      identity,
    );
  });

  it("[S-9] a connection is destroyed when the peer's certificate ends, and not before", async () => {
    const clock = new ManualClock();
    const short = shown(await ca.issue({ id: WEB, notAfter: new Date(clock.now() + 60_000) }));
    await withListener({ clock }, async (server) => {
      const opened = Promise.withResolvers<void>();
      const done = rawExchange(rawOptions(server.port, short, "http/1.1"), http1Get(), () => {
        opened.resolve();
        return false;
      });
      await opened.promise;
      assert.equal(server.counters.open, 1);
      await clock.advance(50_000);
      assert.equal(server.counters.open, 1);
      await clock.advance(11_000);
      const seen = await done;
      assert.equal(http1Done(seen.bytes), true);
      assert.equal(server.counters.open, 0);
    });
  });

  it("says what is wrong with its options and with the port", async () => {
    const taken = tcpServer();
    await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
    const { port } = taken.address() as { port: number };
    const handler = () => {};
    await assert.rejects(listen(orders, { handler, port, address: "127.0.0.1" }), (error) =>
      isSpiffeError(error, "ERR_SPIFFE_PORT_IN_USE"),
    );
    await new Promise((resolve) => taken.close(resolve));
    const usage = (error: unknown) => isSpiffeError(error, "ERR_SPIFFE_USAGE");
    await assert.rejects(listen(orders, { handler, handshakeTimeoutMs: 10_001 }), usage);
    await assert.rejects(listen(orders, { handler, clientCertificate: "sometimes" as never }), usage);
    const lost = await identityOf(ORDERS, ca);
    await lost.update({ svid: null });
    await assert.rejects(listen(lost, { handler, port: 0 }), (error) => isSpiffeError(error, "ERR_SPIFFE_REVOKED"));
    const server = await listen(orders, { handler, port, address: "127.0.0.1" });
    assert.equal(server.port, port, "the twin: the port is free now");
    await server.close();
  });
});
