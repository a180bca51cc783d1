import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createServer, connect as dialTls, type TLSSocket } from "node:tls";
import { TestCa } from "../authority/test-ca.ts";
import { systemClock } from "../base/clock.ts";
import { chooseSyncVerifier } from "../crypto/index.ts";
import { capabilities } from "../runtime/capabilities.ts";
import { authorizeAny } from "./authorizers.ts";
import { judgePeer } from "./judge.ts";
import { identityOf, rawOptions, shown } from "./wire.testing.ts";

describe("judgePeer", () => {
  it("[S-4] a session that was resumed where none should be is refused, the whole handshake before it is not", async () => {
    const ca = await TestCa.create();
    const identity = await identityOf("spiffe://example.org/orders", ca);
    const judgement = { identity, authorize: authorizeAny(), clock: systemClock, verifier: chooseSyncVerifier() };
    const show = shown(await ca.issue({ id: "spiffe://example.org/web" }));
    const seen: [resumed: boolean, verdict: string][] = [];
    // A server that gives tickets, which none of this package does.
    const server = createServer({ ...show, requestCert: true, rejectUnauthorized: false, minVersion: "TLSv1.3" });
    server.on("secureConnection", (socket: TLSSocket) => {
      socket.on("error", () => {});
      const verdict = judgePeer(socket, judgement);
      seen.push([socket.isSessionReused(), verdict.ok ? "accepted" : verdict.reason]);
      socket.end("ticket");
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as { port: number };
    let session: Buffer | undefined;
    for (let i = 0; i < 2; i++) {
      const socket = dialTls({ ...rawOptions(port, show, "test", session && { session }), ALPNProtocols: [] });
      socket.on("session", (next: Buffer) => {
        session = next;
      });
      socket.on("error", () => {});
      socket.resume();
      await new Promise((resolve) => socket.once("close", resolve));
    }
    server.close();
    const off = capabilities.resumptionOff.value;
    assert.deepEqual(seen[0], [false, "accepted"]);
    assert.equal(seen[1]?.[1], off ? "peer.session-reused" : "accepted");
    if (off) assert.equal(seen[1]?.[0], true, "nothing was resumed");
  });
});
