/** The mTLS listener: HTTP/1.1 and HTTP/2 on one port, each peer verified once per connection before anything is read. */
import type { TLSSocket } from "node:tls";
import type { Clock } from "../base/clock.ts";
import type { Reason } from "../base/codes.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { Authorizer } from "./authorizers.ts";
import type { ListenerCounters } from "./counters.ts";
import type { Handler, UpgradeHandler } from "./entries.ts";
import type { TlsIdentity } from "./identity.ts";
import { Listener } from "./listener.ts";
import type { ClientCertificate } from "./options.ts";
import type { ThrottleLimits } from "./throttle.ts";

/** A connection that was refused, as `onRefused` gets it. */
export interface RefusedConnection {
  readonly reason: Reason;
  readonly message: string;
  /** Address and port of the client, where the runtime still knows them. */
  readonly address: string | undefined;
  readonly port: number | undefined;
}

/**
 * Takes the socket of an accepted connection; `peerOf(socket)` tells whose it is. What it throws ends the connection. A
 * socket closes only once its input is read to the end, or thrown away by `resume()`.
 */
export type ConnectionHandler = (socket: TLSSocket) => void | Promise<void>;

/** Options of {@link listen}: either `handler` or `onConnection`. */
export interface ListenOptions {
  /** Answers requests of accepted connections. */
  handler?: Handler;
  /** Takes accepted connections for a protocol that is not HTTP. */
  onConnection?: ConnectionHandler;
  /** TCP port; 0 takes a free one. Default 8443. */
  port?: number;
  /** Address to bind. Default `0.0.0.0`. */
  address?: string;
  /** Default `require`. A certificate that is presented and does not verify is refused in every mode. */
  clientCertificate?: ClientCertificate;
  /** Which verified peers may connect. Default: all that a trusted bundle vouches for. */
  authorize?: Authorizer;
  /** Milliseconds from TCP accept to the end of the handshake, at most 10,000. Default 5,000. */
  handshakeTimeoutMs?: number;
  /** Milliseconds after which a connection drains. Default: none, but 30 minutes where resumption can not be switched off. */
  maxConnectionAgeMs?: number;
  /** Takes `Upgrade` requests of HTTP/1.1; without it the header is ignored. */
  onUpgrade?: UpgradeHandler;
  /** When an address with many refusals is shut out; false: never. */
  throttle?: Partial<ThrottleLimits> | false;
  clock?: Clock;
  logger?: Logger;
  /** Called for every refused connection, after it was destroyed. */
  onRefused?: (refused: RefusedConnection) => void;
}

/** A running listener. */
export interface TlsListener extends AsyncDisposable {
  readonly address: string;
  readonly port: number;
  readonly counters: Readonly<ListenerCounters>;
  /** Settles when the port and every connection are closed. */
  readonly closed: Promise<void>;
  /**
   * Stops accepting, lets running requests finish (GOAWAY, `Connection: close`), ends the rest at the deadline.
   *
   * @param options.deadlineMs milliseconds, default 30,000
   * @returns how many connections were still busy at the deadline and had to be cut
   */
  close(options?: { deadlineMs?: number }): Promise<{ cut: number }>;
}

/**
 * Listens for HTTP/1.1 and HTTP/2 over TLS 1.3 with the own X.509-SVID, and verifies each client's SVID once per
 * connection, before the first byte of a request is read (S-1). Follows rotations of the identity without a restart.
 *
 * @param identity own SVID and bundles, for example a `Workload`
 * @returns the listener, once its port is open
 * @throws SpiffeError `ERR_SPIFFE_USAGE` for options out of range, `ERR_SPIFFE_BACKEND` without a synchronous verifier,
 *   `ERR_SPIFFE_PORT_IN_USE`, `ERR_SPIFFE_PERMISSION`, `ERR_SPIFFE_CONFIG` for an address that is none of this machine, and whatever
 *   the identity throws while it has no SVID
 * @example
 * ```ts
 * import { Authority } from "spiffe-edge/testing";
 * import { createFetch, listen, peerOf } from "spiffe-edge/tls";
 * import { Workload } from "spiffe-edge/workload";
 *
 * await using authority = await Authority.start({
 *   trustDomain: "example.org",
 *   entries: [{ id: "spiffe://example.org/orders", socket: "orders" }],
 * });
 * await using orders = await Workload.open({ socket: authority.socketFor("orders") });
 * await using server = await listen(orders, {
 *   port: 0,
 *   address: "127.0.0.1",
 *   handler: (request, response) => void response.end(`hello ${peerOf(request).id}`),
 * });
 * const call = createFetch(orders, { peer: "spiffe://example.org/orders" });
 * const answer = await call(`https://127.0.0.1:${server.port}/`);
 * console.assert((await answer.text()) === "hello spiffe://example.org/orders");
 * ```
 */
export async function listen(identity: TlsIdentity, options: ListenOptions): Promise<TlsListener> {
  const listener = new Listener(identity, options);
  await listener.open(options.port ?? 8443, options.address ?? "0.0.0.0");
  return listener;
}
