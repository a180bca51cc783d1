/** The mTLS listener: HTTP/1.1 and HTTP/2 on one port, each peer verified once per connection before anything is read. */
import type { TLSSocket } from "node:tls";
import { type Clock, systemClock } from "../base/clock.ts";
import type { Reason } from "../base/codes.ts";
import type { Verdict } from "../base/verdict.ts";
import type { X509Peer } from "../id/peer.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { Authorizer } from "./authorizers.ts";
import type { ListenerCounters } from "./counters.ts";
import type { ConnectHandlers, Handler, UpgradeHandler } from "./entries.ts";
import type { FetchHandler } from "./fetch-handler.ts";
import type { TlsIdentity } from "./identity.ts";
import { listenSettings } from "./listen-options.ts";
import { Listener } from "./listener.ts";
import type { ClientCertificate, HttpProtocol } from "./options.ts";
import { type SvidChoice, withChosenSvid } from "./own-identity.ts";
import type { ProxyProtocolOptions } from "./proxy-gate.ts";
import { svidCertificate, type WebCertificate, webCertificate } from "./server-certificate.ts";
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

/** Options of {@link listen}: one of `handler`, `fetch` and `onConnection`, and what differs from the defaults. */
export interface ListenOptions {
  /** Answers requests of accepted connections, in the form of `node:http`. */
  handler?: Handler;
  /** Answers requests in the form of `fetch`, for example a Hono app's. */
  fetch?: FetchHandler;
  /** Takes accepted connections for a protocol that is not HTTP. */
  onConnection?: ConnectionHandler;
  /**
   * Takes requests with `Expect` in place of the handler: one that waits to send its body is told to by
   * `response.writeContinue()`, or refused without it. Default: `100-continue` is said when the body is first read, other
   * expectations get 417.
   */
  onExpect?: Handler;
  /** Takes `Upgrade` requests of HTTP/1.1; without it the header is ignored. */
  onUpgrade?: UpgradeHandler;
  /**
   * Takes `CONNECT`, which the handler never sees: `http1` like `onUpgrade`, `http2` like the handler. Default: a bare 400. What
   * is malformed, as with `:protocol`, is refused by the runtime.
   */
  onConnect?: ConnectHandlers;
  /** TCP port; 0 takes a free one. Default 8443. */
  port?: number;
  /** Address to bind. Default `0.0.0.0`. */
  address?: string;
  /** Path of a unix socket, in place of port and address. */
  path?: string;
  /** Lets other processes of this user listen on the same port; the system gives each connection to one of them (Linux). */
  sharePort?: boolean;
  /** Descriptor of a listening socket that was opened and passed on, in place of port, address and path. */
  fd?: number;
  /**
   * Protocols to agree on by ALPN: `["http/1.1"]` takes HTTP/2 away, and a client that offers only that gets no handshake.
   * Default both; HTTP/1.1 is always among them.
   */
  protocols?: readonly HttpProtocol[];
  /**
   * With `onConnection`: the one name to agree on by ALPN, such as `postgresql`, in place of HTTP's. A client that offers only
   * others gets no handshake, one that offers none is served.
   */
  alpn?: string;
  /** Default `require`. A certificate that is presented and does not verify is refused in every mode. */
  clientCertificate?: ClientCertificate;
  /** A certificate of the Web PKI to show in place of the SVID: `{ certFile, keyFile }`, followed, or `{ cert, key }` in PEM. */
  certificate?: WebCertificate;
  /** Which of several own SVIDs to show: `{ id }` or `{ hint }`. Default: the identity's own choice. */
  svid?: SvidChoice;
  /** Which verified peers may connect. Default: all that a trusted bundle vouches for. */
  authorize?: Authorizer;
  /** Milliseconds from TCP accept to the end of the handshake, at most 10,000. Default 5,000. */
  handshakeTimeoutMs?: number;
  /** Connections at a time, handshakes included; one more is closed before TLS. Default 10,000; `Infinity` has to be written. */
  maxConnections?: number;
  /** Bytes of a request's head, 1,024 to 1,048,576. Default 65,536. */
  maxHeaderBytes?: number;
  /** Streams of one HTTP/2 connection at a time. Default 128. */
  maxConcurrentStreams?: number;
  /** Milliseconds that a connection lives at most; it drains in the last tenth. Default: none, but 30 minutes where resumption can not be switched off. */
  maxConnectionAgeMs?: number;
  /** Load balancers that tell the caller's address by a PROXY header of version 2 before TLS. Default: nobody. */
  proxyProtocol?: ProxyProtocolOptions;
  /**
   * When a caller with many refusals is shut out; false: never. A caller is an IPv4 address, also where it comes in IPv6
   * form, or an IPv6 /64.
   */
  throttle?: Partial<ThrottleLimits> | false;
  clock?: Clock;
  logger?: Logger;
  /** Called for every refused connection, after it was destroyed. */
  onRefused?: (refused: RefusedConnection) => void;
}

/** A running listener. */
export interface TlsListener extends AsyncDisposable {
  /** The bound address, or the path of the unix socket. */
  readonly address: string;
  /** The bound port; 0 for a unix socket. */
  readonly port: number;
  readonly counters: Readonly<ListenerCounters>;
  /** Settles when the port and every connection are closed. */
  readonly closed: Promise<void>;
  /**
   * Judges every open connection again, by the bundles of now, `authorize` and then `decide`, and ends those that would
   * not be let in: for a policy that changed (S-9). Certificates that end and bundles that change need no call.
   *
   * @param decide gets the peer, absent where none showed a certificate; a refusal ends the connection
   * @returns how many connections were ended
   */
  rejudge(decide?: (peer: X509Peer | undefined) => Verdict<unknown>): Promise<{ ended: number }>;
  /**
   * Stops accepting, lets running requests finish (GOAWAY, `Connection: close`), ends the rest at the deadline. What is in
   * its handshake, or was asked nothing yet, has a second for its first request.
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
 * A connection drains near the end of the certificates on both sides and is ended at it; at once when the own identity is
 * lost or the authority leaves that vouched for the peer, each counted by reason (S-9, S-10).
 *
 * @param identity own SVID and bundles, for example a `Workload`
 * @returns the listener, once its port is open
 * @throws SpiffeError `ERR_SPIFFE_USAGE` for options out of range, `ERR_SPIFFE_BACKEND` without a synchronous verifier,
 *   `ERR_SPIFFE_PORT_IN_USE`, `ERR_SPIFFE_PERMISSION`, `ERR_SPIFFE_CONFIG` for an address that is none of this machine, and whatever
 *   the identity throws while it has no SVID; `ERR_SPIFFE_KEY` for a `certificate` that is none or whose key does not fit
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
  const settings = listenSettings(options);
  const { certificate, svid, fetch, path, fd, sharePort = false, clock = systemClock } = options;
  const own = svid === undefined ? identity : withChosenSvid(identity, svid);
  const source = certificate === undefined ? svidCertificate(own, clock) : await webCertificate(certificate, clock);
  // Its bridge is loaded only where it is wanted.
  const bridge = fetch === undefined ? undefined : (await import("./fetch-handler.ts")).fetchHandler;
  const listener = new Listener(own, source, settings, options, bridge);
  const place = fd !== undefined ? { fd } : path !== undefined ? { path } : undefined;
  await listener.open(place ?? { port: options.port ?? 8443, address: options.address ?? "0.0.0.0", sharePort });
  return listener;
}
