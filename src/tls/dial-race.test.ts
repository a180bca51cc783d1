import assert from "node:assert/strict";
import { request } from "node:https";
import { connect as dialTcp } from "node:net";
import { after, before, describe, it } from "node:test";
import * as grpc from "@grpc/grpc-js";
import { eventually, soon } from "../../test/support/eventually.ts";
import type { StaticIdentity } from "../authority/static-identity.ts";
import { TestCa } from "../authority/test-ca.ts";
import { type Clock, systemClock } from "../base/clock.ts";
import { isSpiffeError, SpiffeError } from "../base/errors.ts";
import { accept, refuse } from "../base/verdict.ts";
import { connect, fallenSince } from "./connect.ts";
import { type Counting, CountingServers } from "./counting.testing.ts";
import { createFetch } from "./fetch.ts";
import { grpcCredentials } from "./grpc-credentials.ts";
import { http2Options } from "./http2-options.ts";
import type { TlsIdentity } from "./identity.ts";
import { listen } from "./listen.ts";
import { peerOf } from "./peer.ts";
import { createAgent } from "./peer-agent.ts";
import { tlsOptions } from "./tls-options.ts";
import { streamFactory } from "./verified-stream.ts";
import { identityOf, shown } from "./wire.testing.ts";

const AWAY = "away.example";
const SERVER = `spiffe://${AWAY}/server`;
const CLIENT = "spiffe://home.example/client";

/** Each sends a request to a server that never answers; settles when that is clear or the dial has failed. */
const WAYS: readonly {
  way: string;
  alpn: string;
  send(identity: TlsIdentity, port: number): Promise<unknown>;
}[] = [
  {
    way: "createFetch",
    alpn: "http/1.1",
    send: (identity, port) => createFetch(identity, { peer: SERVER })(`https://127.0.0.1:${port}/`),
  },
  {
    way: "http2Options",
    alpn: "h2",
    async send(identity, port) {
      const { sessionManager } = http2Options(identity, { baseUrl: `https://127.0.0.1:${port}`, peer: SERVER });
      const stream = await sessionManager.request("GET", "/", {});
      return new Promise((resolve) => stream.once("error", resolve).once("close", resolve));
    },
  },
  {
    way: "createAgent",
    alpn: "http/1.1",
    send: (identity, port) =>
      new Promise((_, reject) => {
        const agent = createAgent(identity, { peer: SERVER });
        request({ agent, host: "127.0.0.1", port }).once("error", reject).end();
      }),
  },
  {
    way: "createFetch with a body",
    alpn: "http/1.1",
    send: (identity, port) =>
      createFetch(identity, { peer: SERVER })(`https://127.0.0.1:${port}/`, { method: "POST", body: "x" }),
  },
  {
    way: "tlsOptions",
    alpn: "http/1.1",
    send: (identity, port) =>
      new Promise((_, reject) => {
        const options = tlsOptions(identity, { peer: SERVER });
        request({ ...options, host: "127.0.0.1", port })
          .once("error", reject)
          .end();
      }),
  },
  {
    way: "streamFactory",
    alpn: "http/1.1",
    send: (identity, port) =>
      new Promise((_, reject) => {
        streamFactory(identity, { peer: SERVER })({ host: "127.0.0.1", port }).once("error", reject).write("x");
      }),
  },
  {
    way: "grpcCredentials",
    alpn: "h2",
    async send(identity, port) {
      const credentials = grpcCredentials(grpc, identity, { peer: SERVER });
      const calls = grpc.CallCredentials.createEmpty();
      const target = { scheme: "dns", path: `127.0.0.1:${port}` };
      const { socket } = await credentials
        ._createSecureConnector(target, {}, calls)
        .connect(dialTcp(port, "127.0.0.1"));
      socket.write("x");
      return new Promise((resolve) => socket.once("close", resolve));
    },
  },
];

/** What became of a request first: its error, or that the peer got bytes. */
async function outcome(sent: Promise<unknown>, peer: Counting): Promise<unknown> {
  let over: unknown;
  sent.then(
    () => {
      over = "answered";
    },
    (error) => {
      over = error;
    },
  );
  await eventually(() => over !== undefined || peer.bytes > 0);
  return over ?? "bytes";
}

describe("what comes up while a connection is dialled", () => {
  let away: TestCa;
  let own: StaticIdentity;
  let show: { cert: string; key: string };
  /** Another authority of the same trust domain, which did not issue the server's certificate. */
  let next: TestCa;
  const servers = new CountingServers();
  before(async () => {
    const home = await TestCa.create({ trustDomain: "home.example" });
    [away, next] = [await TestCa.create({ trustDomain: AWAY }), await TestCa.create({ trustDomain: AWAY })];
    own = await identityOf("spiffe://home.example/client", home, away);
    show = shown(await away.issue({ id: SERVER }));
  });
  after(() => servers.close());

  /** The own identity; the peer's bundle is replaced once it has been asked for so many times. */
  const replacing = (after: number): TlsIdentity => {
    let asked = 0;
    const { x509 } = own;
    const x509BundleFor: typeof x509.x509BundleFor = (trustDomain) =>
      trustDomain.name === AWAY && ++asked > after ? next.x509Bundle() : x509.x509BundleFor(trustDomain);
    return { x509: { ...x509, x509BundleFor } };
  };

  it("[S-10] [S-5] an identity that is taken away during the handshake sends nothing; one that stays does", async () => {
    const { x509 } = own;
    for (const lost of [true, false]) {
      const peer = await servers.open(show, ["http/1.1"]);
      let gone = false;
      const x509Svid: typeof x509.x509Svid = () => {
        if (gone) throw new SpiffeError("ERR_SPIFFE_REVOKED", "Taken away");
        return x509.x509Svid();
      };
      const dialled = connect(
        { x509: { ...x509, x509Svid } },
        {
          host: "127.0.0.1",
          port: peer.port,
          peer: SERVER,
          onStep: (step) => {
            gone = lost && step === "handshake";
          },
        },
      );
      if (lost) {
        await assert.rejects(dialled, (e) => isSpiffeError(e, "ERR_SPIFFE_REVOKED") && e.phase === "identity");
        assert.equal(peer.bytes, 0);
      } else {
        const { socket } = await dialled;
        socket.destroy();
      }
    }
  });

  it("[S-8] what throws after the verdict refuses the peer, whose twin is talked to", async () => {
    for (const breaks of [true, false]) {
      const peer = await servers.open(show, ["http/1.1"]);
      let broken = false;
      const clock: Clock = {
        now: () => systemClock.now(),
        sleep: (ms, signal) => systemClock.sleep(ms, signal),
        monotonic() {
          if (broken) throw new Error("no time");
          return systemClock.monotonic();
        },
      };
      const onStep = (step: string) => {
        broken = breaks && step === "handshake";
      };
      const dialled = connect(own, { host: "127.0.0.1", port: peer.port, peer: SERVER, clock, onStep });
      if (breaks) {
        await assert.rejects(
          soon(dialled, "the dial fails"),
          (e) => isSpiffeError(e, "ERR_SPIFFE_PEER_REFUSED") && e.reason === "peer.internal",
        );
        assert.equal(peer.bytes, 0);
      } else (await dialled).socket.destroy();
    }
  });

  it("[S-6] a verdict that the bundle of now does not vouch for is never current; that of one that stays is", async () => {
    const { port } = await servers.open(show, ["http/1.1"]);
    const dial = (identity: TlsIdentity) => connect(identity, { host: "127.0.0.1", port, peer: SERVER });
    const replaced = await dial(replacing(1));
    assert.equal(replaced.isCurrent(), false);
    assert.equal(replaced.rejudge().ok, false);
    assert.ok(fallenSince(replaced) !== undefined);
    const stays = await dial(replacing(Infinity));
    assert.equal(stays.isCurrent(), true);
    assert.equal(stays.rejudge().ok, true);
    assert.equal(fallenSince(stays), undefined);
    for (const { socket } of [replaced, stays]) socket.destroy();
  });

  it("[S-6] a verdict that is not current stands where it is given again, and falls where it is not", () => {
    const peer = accept(undefined as never);
    const no = refuse("peer.not-authorized", "no more");
    assert.equal(fallenSince({ isCurrent: () => true, rejudge: () => no }), undefined);
    assert.equal(fallenSince({ isCurrent: () => false, rejudge: () => peer }), undefined);
    assert.equal(fallenSince({ isCurrent: () => false, rejudge: () => no }), no);
  });

  it("[S-6] a request that begins after the own SVID changed shares no session that is opened with the one before", async () => {
    const home = await TestCa.create({ trustDomain: "home.example" });
    const [first, second] = [await identityOf(CLIENT, home, away), await identityOf(`${CLIENT}2`, home, away)];
    for (const changed of [true, false]) {
      const seen: Record<string, string> = {};
      const sessions = new Set<unknown>();
      const server = await listen(await identityOf(SERVER, away, home), {
        port: 0,
        address: "127.0.0.1",
        handler: (asked, response) => {
          seen[asked.url ?? ""] = peerOf(asked).id.uri;
          sessions.add(asked.socket.remotePort);
          response.end();
        },
      });
      let now = first;
      const identity = { x509: { ...first.x509, x509Svid: () => now.x509.x509Svid() } };
      const { sessionManager } = http2Options(identity, { baseUrl: `https://127.0.0.1:${server.port}`, peer: SERVER });
      const ask = async (path: string) => {
        const stream = await sessionManager.request("GET", path, {});
        await new Promise((resolve) => stream.once("close", resolve).resume().end());
      };
      const before = ask("/before");
      if (changed) now = second;
      await Promise.all([before, ask("/after"), ask("/after/it")]);
      const later = changed ? `${CLIENT}2` : CLIENT;
      assert.deepEqual(seen, { "/before": CLIENT, "/after": later, "/after/it": later });
      assert.equal(sessions.size, changed ? 2 : 1);
      await ask("/last");
      assert.equal(sessions.size, changed ? 2 : 1, "the newer session stays");
      sessionManager.close();
      await server.close({ deadlineMs: 0 });
    }
  });

  for (const { way, alpn, send } of WAYS) {
    it(`[S-6] [A-5] ${way}: nothing is sent where the bundle was replaced since the verdict, the twin is talked to`, async () => {
      const peer = await servers.open(show, [alpn]);
      const error = await outcome(send(replacing(1), peer.port), peer);
      assert.equal(isSpiffeError(error) ? error.code : error, "ERR_SPIFFE_PEER_REFUSED");
      assert.equal(peer.bytes, 0);
      assert.equal(await outcome(send(replacing(Infinity), peer.port), peer), "bytes");
    });
  }

  it("[A-5] http2Options: an expected peer that does not agree on HTTP/2 gets no byte, one that does is talked to", async () => {
    const { send } = WAYS.find(({ way }) => way === "http2Options")!;
    for (const [alpn, wanted] of [
      [[], "ERR_SPIFFE_TLS"],
      [["h2"], "bytes"],
    ] as const) {
      const peer = await servers.open(show, alpn);
      const error = await outcome(send(own, peer.port), peer);
      assert.equal(isSpiffeError(error) ? error.code : error, wanted);
      assert.equal(peer.bytes > 0, wanted === "bytes");
    }
  });
});
