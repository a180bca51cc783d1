/** HTTP/2 to a peer for Connect transports. */

import { inRange, type OptionNames, onlyKnown } from "../base/check-options.ts";
import type { Clock } from "../base/clock.ts";
import { SpiffeError } from "../base/errors.ts";
import { authorizerFor, type PeerExpectation } from "./authorizers.ts";
import type { TlsIdentity } from "./identity.ts";
import { PeerSessions } from "./peer-sessions.ts";

/** Options of {@link http2Options}. */
export interface Http2Options {
  /** `https:` URL whose host is dialled. It is routing only: who answers is decided by `peer`. */
  baseUrl: string;
  /** Who must answer. Has no default. */
  peer: PeerExpectation;
  /** Milliseconds to a verified connection. Default 10,000. */
  connectTimeoutMs?: number;
  /** Milliseconds without a stream after which a session is closed. Default 10,000. */
  idleTimeoutMs?: number;
  clock?: Clock;
}

/** Transport options for `createGrpcTransport` and `createConnectTransport` of `@connectrpc/connect-node`. */
export interface PeerTransportOptions {
  readonly baseUrl: string;
  readonly httpVersion: "2";
  readonly sessionManager: PeerSessions;
}

const KNOWN: OptionNames<Http2Options> = {
  baseUrl: true,
  peer: true,
  connectTimeoutMs: true,
  idleTimeoutMs: true,
  clock: true,
};

/**
 * Makes the options of a Connect transport whose every session goes to the expected peer: `createGrpcTransport({
 * ...http2Options(workload, { baseUrl, peer }), interceptors })`. A session gets its socket only once the peer is
 * verified. Sessions are used again while own SVID and bundle are the ones they were verified with.
 *
 * The transport ignores `nodeOptions` beside these, so nothing can put another connection underneath.
 *
 * @param identity own SVID and bundles, for example a `Workload`
 * @throws SpiffeError `ERR_SPIFFE_USAGE` without a usable `peer` or for other URLs than `https:`. A call fails with the
 *   errors of {@link connect}, wrapped by the transport, and the peer has received nothing
 * @example
 * ```ts
 * import { Authority } from "spiffe-edge/testing";
 * import { http2Options, listen } from "spiffe-edge/tls";
 * import { Workload } from "spiffe-edge/workload";
 *
 * await using authority = await Authority.start({
 *   trustDomain: "example.org",
 *   entries: [{ id: "spiffe://example.org/orders", socket: "orders" }],
 * });
 * await using orders = await Workload.open({ socket: authority.socketFor("orders") });
 * await using server = await listen(orders, { port: 0, address: "127.0.0.1", handler: (_, res) => void res.end() });
 * const { sessionManager } = http2Options(orders, {
 *   baseUrl: `https://127.0.0.1:${server.port}`,
 *   peer: "spiffe://example.org/orders",
 * });
 * const stream = await sessionManager.request("GET", "/", {});
 * await new Promise((resolve) => stream.once("close", resolve).resume().end());
 * sessionManager.close();
 * ```
 */
export function http2Options(identity: TlsIdentity, options: Http2Options): PeerTransportOptions {
  onlyKnown("http2Options", options, KNOWN);
  inRange("connectTimeoutMs", options.connectTimeoutMs, 1, Infinity);
  inRange("idleTimeoutMs", options.idleTimeoutMs, 1, Infinity);
  const authorize = authorizerFor(options.peer);
  const url = URL.parse(options.baseUrl);
  if (url === null || url.protocol !== "https:") {
    throw new SpiffeError("ERR_SPIFFE_USAGE", `Expected baseUrl to be an https: URL; got ${url?.protocol ?? "none"}`);
  }
  const { connectTimeoutMs, idleTimeoutMs = 10_000, clock } = options;
  const sessionManager = new PeerSessions(identity, { url, authorize, connectTimeoutMs, idleTimeoutMs, clock });
  return Object.freeze({ baseUrl: options.baseUrl, httpVersion: "2", sessionManager });
}
