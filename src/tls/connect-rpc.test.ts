import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { connectNodeAdapter, createGrpcTransport } from "@connectrpc/connect-node";
import { skipWhen } from "../../test/support/skip.ts";
import { ManualClock } from "../authority/manual-clock.ts";
import { type StaticIdentity, staticIdentity } from "../authority/static-identity.ts";
import { TestCa } from "../authority/test-ca.ts";
import { accept, refuse } from "../base/verdict.ts";
import { SpiffeWorkloadAPI } from "../gen/workload/workload_pb.js";
import { runtime } from "../runtime/detect.ts";
import type { PeerExpectation } from "./authorizers.ts";
import { http2Options } from "./http2-options.ts";
import { listen, type TlsListener } from "./listen.ts";
import type { PeerSessions } from "./peer-sessions.ts";
import { identityOf, Opened } from "./wire.testing.ts";

const ORDERS = "spiffe://example.org/orders";

let ca: TestCa;
let web: StaticIdentity;
let server: TlsListener;
const opened: PeerSessions[] = [];
/** Closed at the end, also after a failure. */
const servers = new Opened();

function client(peer: PeerExpectation, identity = web, to = server) {
  const options = http2Options(identity, { peer, baseUrl: `https://127.0.0.1:${to.port}` });
  opened.push(options.sessionManager);
  return createClient(SpiffeWorkloadAPI, createGrpcTransport(options));
}

/** @param ports gets the port of every client that makes a call */
async function startServer(ports = new Set<unknown>()): Promise<TlsListener> {
  const handler = connectNodeAdapter({
    routes: (router) =>
      router.service(SpiffeWorkloadAPI, {
        validateJWTSVID: (request) => ({ spiffeId: `seen ${request.audience}` }),
        async *fetchX509Bundles() {
          for (let i = 0; i < 3; i++) yield { bundles: { [`td${i}`]: new Uint8Array(5_000) } };
        },
      }),
  });
  const listener = await listen(await identityOf(ORDERS, ca), {
    port: 0,
    address: "127.0.0.1",
    handler: (request, response) => {
      ports.add(request.socket.remotePort);
      return handler(request, response);
    },
  });
  return servers.add(listener);
}

describe("gRPC over http2Options and listen", () => {
  before(async () => {
    ca = await TestCa.create();
    web = await identityOf("spiffe://example.org/web", ca);
    server = await startServer();
  });
  after(async () => {
    for (const sessions of opened) sessions.close();
    await servers.close();
  });

  it("[S-5] unary calls reach the expected peer", async () => {
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => client(ORDERS).validateJWTSVID({ audience: `a${i}`, svid: "x" })),
    );
    assert.deepEqual(
      answers.map(({ spiffeId }) => spiffeId),
      answers.map((_, i) => `seen a${i}`),
    );
  });

  const streamed = "[S-5] server-streaming calls reach the expected peer";
  const early = "its HTTP/2 client sometimes closes a stream before its end was read, also without TLS";
  it(streamed, skipWhen(streamed, runtime.name === "deno" ? early : undefined), async () => {
    let messages = 0;
    for await (const { bundles } of client(ORDERS).fetchX509Bundles({})) {
      assert.equal(bundles[`td${messages++}`]?.length, 5_000);
    }
    assert.equal(messages, 3);
  });

  it("[S-5] a call to another peer fails and is never seen by the server", async () => {
    const refused = client(`${ORDERS}2`).validateJWTSVID({ audience: "a", svid: "x" });
    await assert.rejects(refused, (error) => error instanceof ConnectError && error.code !== Code.Unimplemented);
  });

  it("[S-6] a session is used again until the own SVID or the bundle changes", async () => {
    const identity = await identityOf("spiffe://example.org/web", ca);
    const ports = new Set<unknown>();
    const own = await startServer(ports);
    const api = client(ORDERS, identity, own);
    const sessions = () => ports.size;
    const call = () => api.validateJWTSVID({ audience: "a", svid: "x" });
    for (let i = 0; i < 5; i++) await call();
    assert.equal(sessions(), 1);
    await identity.update({ bundles: ca.x509Bundle() });
    await call();
    assert.equal(sessions(), 1, "an equal bundle is no change");
    await identity.update({ svid: await ca.issue({ id: "spiffe://example.org/web" }) });
    await call();
    assert.equal(sessions(), 2);
    await identity.update({ bundles: [] });
    await assert.rejects(call());
    await identity.update({ bundles: ca.x509Bundle() });
    await call();
    assert.equal(sessions(), 3);
  });

  it("[S-9] a session near the end of the own certificate takes no more calls, one before that does", async () => {
    const clock = new ManualClock();
    const svid = await ca.issue({ id: "spiffe://example.org/web", notAfter: new Date(clock.now() + 600_000) });
    const identity = await staticIdentity({ svid, bundles: ca.x509Bundle() });
    const ports = new Set<unknown>();
    const { port } = await startServer(ports);
    const options = http2Options(identity, { peer: ORDERS, baseUrl: `https://127.0.0.1:${port}`, clock });
    opened.push(options.sessionManager);
    const call = () =>
      createClient(SpiffeWorkloadAPI, createGrpcTransport(options)).validateJWTSVID({ audience: "a", svid: "x" });
    await call();
    // Drains begin in the last tenth, and have begun when 3 % are left.
    clock.step(530_000);
    await clock.advance(1_000);
    await call();
    assert.equal(ports.size, 1);
    clock.step(58_000);
    await clock.advance(1_000);
    await call();
    assert.equal(ports.size, 2);
  });

  it("[S-6] a function is asked before a session is used again", async () => {
    const ports = new Set<unknown>();
    const own = await startServer(ports);
    let welcome = true;
    const api = client(
      (peer) => (welcome ? accept(peer.id) : refuse("peer.not-authorized", "no more")),
      await identityOf("spiffe://example.org/web", ca),
      own,
    );
    const call = () => api.validateJWTSVID({ audience: "a", svid: "x" });
    await call();
    await call();
    assert.equal(ports.size, 1);
    welcome = false;
    await assert.rejects(call());
    assert.equal(ports.size, 1);
    welcome = true;
    await call();
    assert.equal(ports.size, 2);
  });
});
