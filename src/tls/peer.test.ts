import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isSpiffeError } from "../base/errors.ts";
import { SpiffeId } from "../id/index.ts";
import type { X509Peer } from "../id/peer.ts";
import { connectionPeer, markConnection, peerOf } from "./peer.ts";

const peer: X509Peer = {
  via: "x509",
  id: SpiffeId.parse("spiffe://example.org/web"),
  expiresAt: new Date(Date.UTC(2030, 0, 1)),
};

describe("connectionPeer", () => {
  it("[S-1] finds the verdict through HTTP/1.1 sockets and through the proxy of an HTTP/2 session", () => {
    const socket = {};
    markConnection(socket, { accepted: true, peer });
    const proxy = new Proxy(socket, {});
    for (const request of [{ socket }, { socket: {}, stream: { session: { socket: proxy } } }]) {
      assert.deepEqual(connectionPeer(request), { accepted: true, peer });
    }
  });

  it("[S-1] gives nothing for connections that nobody judged, whatever they carry", () => {
    const symbol = Symbol("spiffe-edge.connection");
    const forged = { accepted: true, peer };
    for (const request of [
      undefined,
      null,
      1,
      {},
      { socket: null },
      { socket: { [symbol]: forged, [Symbol.for("spiffe-edge.connection")]: forged, accepted: true } },
      { stream: { session: { socket: undefined } } },
      JSON.parse('{"socket":{"spiffe-edge.connection":{"accepted":true}}}'),
    ]) {
      assert.equal(connectionPeer(request), undefined);
    }
  });

  it("[S-1] gives nothing when the socket of an ended session throws", () => {
    const session = {
      get socket(): never {
        throw new Error("unbound");
      },
    };
    assert.equal(connectionPeer({ stream: { session } }), undefined);
  });

  it("[S-1] a verdict is written once and can not be changed", () => {
    const socket = {};
    const mark = markConnection(socket, { accepted: false });
    assert.throws(() => markConnection(socket, { accepted: true, peer }));
    assert.throws(() => Object.assign(mark, { accepted: true }));
    assert.deepEqual(connectionPeer({ socket }), { accepted: false });
    assert.deepEqual(Object.keys(socket), []);
    assert.equal(JSON.stringify(socket), "{}");
  });
});

describe("peerOf", () => {
  it("gives the peer of a socket, a request and a response", () => {
    const socket = {};
    markConnection(socket, { accepted: true, peer });
    assert.equal(peerOf(socket).id.uri, "spiffe://example.org/web");
    assert.equal(peerOf({ socket }).id.uri, "spiffe://example.org/web");
    assert.equal(peerOf({ env: { incoming: { socket } } }).id.uri, "spiffe://example.org/web");
  });

  it("[S-1] throws for refused, anonymous and unknown connections", () => {
    const refused = {};
    markConnection(refused, { accepted: false, peer });
    const anonymous = {};
    markConnection(anonymous, { accepted: true });
    for (const source of [
      refused,
      anonymous,
      {},
      undefined,
      null,
      "x",
      { socket: refused },
      { env: { incoming: { socket: refused } } },
      { env: { incoming: { socket: {} } } },
      { env: {} },
    ]) {
      assert.throws(
        () => peerOf(source),
        (error) => isSpiffeError(error, "ERR_SPIFFE_NO_PEER"),
      );
    }
  });
});
