import assert from "node:assert/strict";
import { createServer as tcpServer } from "node:net";
import { after, before, describe, it } from "node:test";
import { eventually } from "../../test/support/eventually.ts";
import { ManualClock } from "../authority/manual-clock.ts";
import type { StaticIdentity } from "../authority/static-identity.ts";
import type { Reason } from "../base/codes.ts";
import { isSpiffeError, type SpiffeError } from "../base/errors.ts";
import { connect } from "./connect.ts";
import { CountingServers } from "./counting.testing.ts";
import { createFetch } from "./fetch.ts";
import { http2Options } from "./http2-options.ts";
import { listen, type TlsListener } from "./listen.ts";
import { peerOf } from "./peer.ts";
import { bundlesOf, identityOf, many, type Shown, shown } from "./wire.testing.ts";
import { HOME, makeWorld, WEB, type World } from "./wrong-peers.testing.ts";

// with three ways to dial 51 of each class (G-2)
const PER_CLASS = 17;

let world: World;
let own: StaticIdentity;
const servers = new CountingServers();
const counting: CountingServers["open"] = (...options) => servers.open(...options);

const TOKEN = { authorization: "Bearer secret" };

/** The three ways to dial; each wants to send a token and a body. */
const WAYS: readonly {
  way: string;
  alpn: string;
  go(port: number, identity: StaticIdentity, peer: string): Promise<unknown>;
}[] = [
  {
    way: "connect",
    alpn: "http/1.1",
    go: async (port, identity, peer) => {
      const { socket } = await connect(identity, { host: "127.0.0.1", port, peer, alpn: ["http/1.1"] });
      socket.end("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    },
  },
  {
    way: "createFetch",
    alpn: "http/1.1",
    go: (port, identity, peer) =>
      createFetch(identity, { peer })(`https://127.0.0.1:${port}/`, {
        method: "POST",
        headers: TOKEN,
        body: "body",
        signal: AbortSignal.timeout(60_000),
      }),
  },
  {
    way: "http2Options",
    alpn: "h2",
    go: (port, identity, peer) => openStream(port, identity, peer),
  },
];

/** Sends a token and a body over HTTP/2 and gives the headers of the answer. */
async function openStream(port: number, identity: StaticIdentity, peer: string): Promise<unknown> {
  const { sessionManager } = http2Options(identity, { baseUrl: `https://127.0.0.1:${port}`, peer });
  const stream = await sessionManager.request("POST", "/", TOKEN);
  return new Promise((resolve, reject) => {
    stream.once("error", reject);
    stream.once("close", reject);
    stream.once("response", (headers) => {
      resolve(headers);
      sessionManager.close();
    });
    stream.resume().end("body");
  });
}

/** The refusal that a rejection has to be. */
function refusal(error: unknown): SpiffeError {
  assert.ok(isSpiffeError(error, "ERR_SPIFFE_PEER_REFUSED"), String(error));
  return error;
}

describe("dialling", () => {
  let server: TlsListener;
  before(async () => {
    world = await makeWorld("serverAuth");
    own = await identityOf(`spiffe://${HOME}/client`, world.home, world.partner);
    const web = await identityOf(WEB, world.home, world.partner);
    server = await listen(web, {
      port: 0,
      address: "127.0.0.1",
      handler: (request, response) => void response.end(`hello ${peerOf(request).id}`),
    });
  });
  after(async () => {
    servers.close();
    await server.close();
  });

  for (const { way, alpn, go } of WAYS) {
    it(`[S-5] [A-5] [G-2] ${way}: no wrong peer receives one application byte, the expected one is talked to`, async () => {
      const classes: { name: string; reason: Reason; show: NonNullable<Shown>; peer: string }[] = [];
      for (const { name, reason, show } of world.wrong) {
        if (show !== undefined) classes.push({ name, reason, show, peer: WEB });
      }
      assert.ok(classes.length >= 16);
      const good = { cert: world.good.certPem, key: world.good.keyPem };
      classes.push({ name: "another ID than expected", reason: "peer.not-authorized", show: good, peer: `${WEB}2` });
      for (const { name, reason, show, peer } of classes) {
        const wrong = await counting(show, [alpn]);
        await many(PER_CLASS, 4, async () => {
          const error = await go(wrong.port, own, peer).then(
            () => assert.fail(`${name} was accepted`),
            (e) => e,
          );
          assert.equal(refusal(error).reason, reason, name);
        });
        assert.ok(wrong.connections >= PER_CLASS);
        await eventually(() => wrong.open === 0);
        assert.equal(wrong.bytes, 0, `${name} got bytes`);
      }
      const right = await counting(good, [alpn]);
      if (way === "connect") await go(right.port, own, WEB);
      else void go(right.port, own, WEB).catch(() => {});
      await eventually(() => right.bytes > 0);
      if (way !== "connect") await go(server.port, own, WEB);
    });
  }

  it("[S-2] a peer that speaks TLS 1.2 only is refused, one with TLS 1.3 is talked to", async () => {
    const show = { cert: world.good.certPem, key: world.good.keyPem };
    const old = await counting(show, ["http/1.1"], { maxVersion: "TLSv1.2" });
    const dial = (port: number) => connect(own, { host: "127.0.0.1", port, peer: WEB });
    await assert.rejects(
      dial(old.port),
      (error) => isSpiffeError(error, "ERR_SPIFFE_TLS") && error.phase === "handshake",
    );
    const { socket } = await dial((await counting(show, ["http/1.1"])).port);
    assert.equal(peerOf(socket).id.uri, WEB);
    socket.destroy();
  });

  it("[S-6] bundles and the expectation of the moment decide on each call", async () => {
    const identity = await identityOf(`spiffe://${HOME}/client`, world.home);
    const call = createFetch(identity, { peer: WEB });
    const url = `https://127.0.0.1:${server.port}/`;
    assert.equal((await call(url)).status, 200);
    await identity.update({ bundles: bundlesOf() });
    await assert.rejects(
      call(url),
      (error) => isSpiffeError(error, "ERR_SPIFFE_NO_IDENTITY") && error.reason === "x509.no-bundle",
    );
    await identity.update({ bundles: world.home.x509Bundle() });
    assert.equal((await call(url)).status, 200);
    await assert.rejects(
      createFetch(identity, { peer: `${WEB}2` })(url),
      (error) => refusal(error).reason === "peer.not-authorized",
    );
  });

  it("names phase and cause: nobody listens, no handshake in time, aborted, no own SVID", async () => {
    const empty = tcpServer((socket) => void socket.resume());
    await new Promise<void>((resolve) => empty.listen(0, "127.0.0.1", resolve));
    const { port } = empty.address() as { port: number };
    const clock = new ManualClock();
    const late = connect(own, { host: "127.0.0.1", port, peer: WEB, clock, timeoutMs: 1_000 });
    late.catch(() => {});
    await clock.advance(1_001);
    await assert.rejects(late, (error) => isSpiffeError(error, "ERR_SPIFFE_TIMEOUT") && error.retryable);
    const abort = new AbortController();
    const aborted = connect(own, { host: "127.0.0.1", port, peer: WEB, signal: abort.signal });
    abort.abort(new Error("enough"));
    await assert.rejects(aborted, (error) => isSpiffeError(error, "ERR_SPIFFE_ABORTED"));
    await assert.rejects(connect(own, { host: "127.0.0.1", port, peer: WEB, signal: abort.signal }), (error) =>
      isSpiffeError(error, "ERR_SPIFFE_ABORTED"),
    );
    await new Promise((resolve) => empty.close(resolve));
    await assert.rejects(
      connect(own, { host: "127.0.0.1", port, peer: WEB }),
      (error) => isSpiffeError(error, "ERR_SPIFFE_TLS") && error.phase === "connect" && error.retryable,
    );
    const lost = await identityOf(`spiffe://${HOME}/client`, world.home);
    await lost.update({ svid: null });
    await assert.rejects(connect(lost, { host: "127.0.0.1", port: server.port, peer: WEB }), (error) =>
      isSpiffeError(error, "ERR_SPIFFE_REVOKED"),
    );
    const { socket } = await connect(own, { host: "127.0.0.1", port: server.port, peer: WEB });
    socket.destroy();
  });

  it("needs to be told who shall answer", async () => {
    const usage = (error: unknown) => isSpiffeError(error, "ERR_SPIFFE_USAGE");
    for (const peer of [undefined, null, 7, [], {}]) {
      assert.throws(() => createFetch(own, { peer: peer as never }), usage);
      assert.throws(() => http2Options(own, { baseUrl: "https://x", peer: peer as never }), usage);
      await assert.rejects(connect(own, { host: "127.0.0.1", port: 1, peer: peer as never }), usage);
    }
    assert.throws(
      () => createFetch(own, { peer: "https://home.example/web" }),
      (error) => isSpiffeError(error, "ERR_SPIFFE_ID"),
    );
    for (const peer of [WEB, [WEB, `${WEB}2`], { trustDomain: HOME }]) {
      assert.equal((await createFetch(own, { peer })(`https://127.0.0.1:${server.port}/`)).status, 200);
    }
  });

  it("[S-9] a dialled connection is destroyed when the peer's certificate ends, and not before", async () => {
    const clock = new ManualClock();
    const notAfter = new Date(clock.now() + 60_000);
    const short = await world.home.issue({ id: WEB, notAfter });
    const peer = await counting({ cert: short.certPem, key: short.keyPem }, ["http/1.1"]);
    const { socket } = await connect(own, { host: "127.0.0.1", port: peer.port, peer: WEB, clock });
    await clock.advance(50_000);
    assert.equal(socket.destroyed, false);
    await clock.advance(11_000);
    assert.equal(socket.destroyed, true);
  });

  it("tells the steps of a dial in their order, the lookup for a name alone, and the handshake also of a wrong peer", async () => {
    const server = await counting(shown(world.good), ["http/1.1"]);
    const dial = async (host: string, peer: string) => {
      const steps: string[] = [];
      const onStep = (step: string) => void steps.push(step);
      const dialled = await connect(own, { host, port: server.port, peer, onStep }).catch(() => undefined);
      dialled?.socket.destroy();
      return { taken: dialled !== undefined, steps: steps.join() };
    };
    assert.deepEqual(await dial("127.0.0.1", WEB), { taken: true, steps: "tcp,handshake" });
    assert.deepEqual(await dial("localhost", WEB), { taken: true, steps: "lookup,tcp,handshake" });
    assert.deepEqual(await dial("127.0.0.1", `${WEB}2`), { taken: false, steps: "tcp,handshake" });
  });
});
