import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import type { StaticIdentity } from "../authority/static-identity.ts";
import { TestCa } from "../authority/test-ca.ts";
import { isSpiffeError } from "../base/errors.ts";
import { connect } from "./connect.ts";
import { type ListenOptions, listen } from "./listen.ts";
import { identityOf } from "./wire.testing.ts";

const ORDERS = "spiffe://example.org/orders";
const handler = () => {};
const HERE = { address: "127.0.0.1", port: 0 };

/** Options that can not be followed, and what the sentence about them names. */
const WRONG: readonly [name: RegExp, options: object][] = [
  [/handler, fetch and onConnection; got none/, {}],
  [/got several/, { handler, fetch: handler }],
  [/got several/, { handler, onConnection: handler }],
  [/handler/, { handler: "app" }],
  [/authorize/, { handler, authorize: true }],
  [/autorize/, { handler, autorize: () => {} }],
  [/onUpgrade/, { onConnection: handler, onUpgrade: handler }],
  [/onConnect/, { onConnection: handler, onConnect: { http1: handler, http2: handler } }],
  [/onConnect/, { handler, onConnect: { http2: handler } }],
  [/onConnect/, { handler, onConnect: handler }],
  [/path/, { handler, path: "/run/x.sock", port: 1 }],
  [/path/, { handler, path: "" }],
  [/address/, { handler, address: "" }],
  [/sharePort/, { handler, sharePort: "yes" }],
  [/sharePort/, { handler, sharePort: true, path: "/run/x.sock" }],
  [/fd/, { handler, fd: 3, path: "/run/x.sock" }],
  [/fd/, { handler, fd: 3, port: 1 }],
  [/fd/, { handler, fd: 3, address: "127.0.0.1" }],
  [/fd/, { handler, fd: 2 }],
  [/alpn/, { handler, alpn: "postgresql" }],
  [/alpn/, { onConnection: handler, alpn: "postgresql", protocols: ["http/1.1"] }],
  [/alpn/, { onConnection: handler, alpn: "" }],
  [/alpn/, { onConnection: handler, alpn: "a b" }],
  [/proxyProtocol/, { handler, proxyProtocol: { from: ["10.0.0.0/8"] }, path: "/run/x.sock" }],
  [/proxyProtocol/, { handler, proxyProtocol: { from: [] } }],
  [/proxyProtocol/, { handler, proxyProtocol: { from: ["10.0.0.0/33"] } }],
  [/port/, { handler, port: -1 }],
  [/port/, { handler, port: 65_536 }],
  [/port/, { handler, port: 1.5 }],
  [/port/, { handler, port: "8443" }],
  [/port/, { handler, port: Number.NaN }],
  [/protocols/, { handler, protocols: [] }],
  [/protocols/, { handler, protocols: ["h2"] }],
  [/protocols/, { handler, protocols: ["http/1.1", "h3"] }],
  [/protocols/, { handler, protocols: ["http/1.1", "http/1.1"] }],
  [/protocols/, { handler, protocols: "http/1.1" }],
  [/clientCertificate/, { handler, clientCertificate: "sometimes" }],
  [/clientCertificate/, { handler, clientCertificate: true }],
  [/certificate/, { handler, certificate: { certFile: "x" } }],
  [/certificate/, { handler, certificate: {} }],
  [/either certificate/, { handler, certificate: { cert: "", key: "" }, svid: { hint: "x" } }],
  [/svid/, { handler, svid: {} }],
  [/svid/, { handler, svid: { id: ORDERS, hint: "x" } }],
  [/handshakeTimeoutMs/, { handler, handshakeTimeoutMs: 0 }],
  [/handshakeTimeoutMs/, { handler, handshakeTimeoutMs: 10_001 }],
  [/handshakeTimeoutMs/, { handler, handshakeTimeoutMs: "5s" }],
  [/maxConnections/, { handler, maxConnections: 0 }],
  [/maxConnections/, { handler, maxConnections: 1.5 }],
  [/maxHeaderBytes/, { handler, maxHeaderBytes: 1_023 }],
  [/maxConcurrentStreams/, { handler, maxConcurrentStreams: 0 }],
  [/maxConnectionAgeMs/, { handler, maxConnectionAgeMs: -1 }],
  [/throttle/, { handler, throttle: { refused: 1 } }],
  [/throttle.refusals/, { handler, throttle: { refusals: 0 } }],
  [/throttle.penaltyMs/, { handler, throttle: { penaltyMs: Number.NaN } }],
];

let orders: StaticIdentity;

describe("options of listen and connect", () => {
  before(async () => {
    orders = await identityOf(ORDERS, await TestCa.create());
  });

  it("every option that can not be followed is named in one sentence, and nothing is opened", async () => {
    for (const [name, options] of WRONG) {
      await assert.rejects(listen(orders, { ...(options as ListenOptions) }), (error) => {
        assert.ok(isSpiffeError(error, "ERR_SPIFFE_USAGE"), `${name}: ${error}`);
        assert.match(error.message, name);
        assert.ok(error.message.length < 420 && !error.message.includes("\n"), error.message);
        return true;
      });
    }
    const edges = {
      handshakeTimeoutMs: 10_000,
      maxConnections: Infinity,
      maxHeaderBytes: 1_024,
      throttle: { refusals: 1 },
    };
    const proxyProtocol = { from: ["10.0.0.0/8"] };
    for (const options of [
      { handler, ...edges, svid: { id: ORDERS }, proxyProtocol, sharePort: false },
      { onConnection: handler, alpn: "postgresql" },
    ]) {
      const server = await listen(orders, { ...HERE, ...options });
      await server.close();
    }
  });

  it("the same for where to dial", async () => {
    const wrong: object[] = [
      {},
      { host: "127.0.0.1" },
      { host: "", port: 1 },
      { host: "127.0.0.1", port: 0 },
      { host: "127.0.0.1", port: 65_536 },
      { host: "127.0.0.1", port: 1, path: "/x" },
      { path: "" },
      { host: "127.0.0.1", port: 1, timeoutMs: 0 },
      { host: "127.0.0.1", port: 1, maxConnectionAgeMs: Number.NaN },
    ];
    for (const options of wrong) {
      await assert.rejects(
        connect(orders, { peer: ORDERS, ...options }),
        (error) => isSpiffeError(error, "ERR_SPIFFE_USAGE"),
        JSON.stringify(options),
      );
    }
  });
});
