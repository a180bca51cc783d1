/** HTTP/2 for clients that open their own sessions, such as Connect transports. */
import type { Duplex } from "node:stream";
import type { Clock } from "../base/clock.ts";
import { SpiffeError } from "../base/errors.ts";
import { type Authorizer, authorizerFor, type PeerExpectation } from "./authorizers.ts";
import { connect } from "./connect.ts";
import type { TlsIdentity } from "./identity.ts";
import { LateSocket } from "./late-socket.ts";

/** Options of {@link http2Options}. */
export interface Http2Options {
  /** Who must answer. Has no default. */
  peer: PeerExpectation;
  /** Milliseconds to a verified connection. Default 10,000. */
  connectTimeoutMs?: number;
  clock?: Clock;
}

/**
 * Makes options for `http2.connect()`, or `nodeOptions` of a Connect transport, whose every session goes to the expected
 * peer. Nothing of a session leaves this process before the peer is verified. The options hold no key and switch no
 * check off: a caller who replaces `createConnection` gets the runtime's own TLS with its own checks.
 *
 * @param identity own SVID and bundles, for example a `Workload`
 * @throws SpiffeError `ERR_SPIFFE_USAGE` without a usable `peer`. A session fails with the errors of {@link connect}
 * @example
 * ```ts
 * import { connect } from "node:http2";
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
 * const session = connect(`https://127.0.0.1:${server.port}`, http2Options(orders, { peer: "spiffe://example.org/orders" }));
 * await new Promise((resolve) => session.once("connect", resolve));
 * session.destroy();
 * ```
 */
export function http2Options(
  identity: TlsIdentity,
  options: Http2Options,
): { readonly createConnection: (authority: URL) => Duplex } {
  const authorize = authorizerFor(options.peer);
  return Object.freeze({
    createConnection: (authority: URL): Duplex => new LateSocket(open(identity, options, authorize, authority)),
  });
}

async function open(identity: TlsIdentity, options: Http2Options, authorize: Authorizer, authority: URL) {
  if (authority.protocol !== "https:") {
    throw new SpiffeError("ERR_SPIFFE_USAGE", `Expected an https: URL; got ${authority.protocol}`, { phase: "connect" });
  }
  const { socket } = await connect(identity, {
    host: authority.hostname.replace(/^\[|\]$/g, ""),
    port: authority.port === "" ? 443 : Number(authority.port),
    peer: authorize,
    alpn: ["h2"],
    ...(options.clock === undefined ? {} : { clock: options.clock }),
    ...(options.connectTimeoutMs === undefined ? {} : { timeoutMs: options.connectTimeoutMs }),
  });
  if (socket.alpnProtocol !== "h2") {
    socket.destroy();
    throw new SpiffeError("ERR_SPIFFE_TLS", `Expected ${authority.host} to speak HTTP/2; it chose another protocol`, {
      phase: "handshake",
    });
  }
  return socket;
}
