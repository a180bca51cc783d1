/** A fetch whose peer is a SPIFFE ID. */
import { type Clock, systemClock } from "../base/clock.ts";
import { type Authorizer, authorizerFor, type PeerExpectation } from "./authorizers.ts";
import { connect, type VerifiedConnection } from "./connect.ts";
import { exchange } from "./fetch-exchange.ts";
import { type Call, readCall } from "./fetch-request.ts";
import type { TlsIdentity } from "./identity.ts";
import { markConnection } from "./peer.ts";

/** Options of {@link createFetch}. */
export interface FetchOptions {
  /** Who must answer. Has no default. */
  peer: PeerExpectation;
  /** Milliseconds to a verified connection, per call. Default 10,000. The whole call is bounded by its `signal`. */
  connectTimeoutMs?: number;
  clock?: Clock;
}

/** Like the platform's fetch, for `https:` URLs. */
export type SpiffeFetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>;

/**
 * Makes a fetch that presents the own X.509-SVID and talks only to the expected peer. The URL's host is where to dial;
 * who answers is decided by `peer`. The newest SVID and bundles are used for each call, and each call has a connection
 * of its own, so that no earlier verdict is reused.
 *
 * Bodies stream both ways, `signal` aborts, redirects are returned and not followed, bodies are not decompressed.
 * `peerOf(response)` tells who answered.
 *
 * @param identity own SVID and bundles, for example a `Workload`
 * @throws SpiffeError `ERR_SPIFFE_USAGE` without a usable `peer`. A call rejects with `ERR_SPIFFE_PEER_REFUSED` (nothing
 *   was sent), `ERR_SPIFFE_TLS`, `ERR_SPIFFE_TIMEOUT`, `ERR_SPIFFE_ABORTED`, `ERR_SPIFFE_UPSTREAM` when the exchange
 *   breaks, `ERR_SPIFFE_USAGE` for other URLs than `https:`
 * @example
 * ```ts
 * import { Authority } from "spiffe-edge/testing";
 * import { createFetch, listen } from "spiffe-edge/tls";
 * import { Workload } from "spiffe-edge/workload";
 *
 * await using authority = await Authority.start({
 *   trustDomain: "example.org",
 *   entries: [{ id: "spiffe://example.org/orders", socket: "orders" }],
 * });
 * await using orders = await Workload.open({ socket: authority.socketFor("orders") });
 * await using server = await listen(orders, { port: 0, address: "127.0.0.1", handler: (_, res) => void res.end("42") });
 * const call = createFetch(orders, { peer: { trustDomain: "example.org" } });
 * const answer = await call(`https://127.0.0.1:${server.port}/`, { signal: AbortSignal.timeout(5_000) });
 * console.assert((await answer.text()) === "42");
 * ```
 */
export function createFetch(identity: TlsIdentity, options: FetchOptions): SpiffeFetch {
  const authorize: Authorizer = authorizerFor(options.peer);
  const clock = options.clock ?? systemClock;
  const open = async (call: Call): Promise<VerifiedConnection> => {
    try {
      return await connect(identity, {
        host: call.url.hostname.replace(/^\[|\]$/g, ""),
        port: call.url.port === "" ? 443 : Number(call.url.port),
        peer: authorize,
        alpn: ["http/1.1"],
        clock,
        ...(options.connectTimeoutMs === undefined ? {} : { timeoutMs: options.connectTimeoutMs }),
        ...(call.signal === undefined ? {} : { signal: call.signal }),
      });
    } catch (error) {
      // Nobody will read the body; its source must learn that.
      if (call.body !== undefined && "stream" in call.body) call.body.stream.cancel(error).catch(() => {});
      throw error;
    }
  };
  return async (input, init) => {
    const call = readCall(input, init);
    const { socket, peer } = await open(call);
    const response = await exchange(call, socket);
    markConnection(response, { accepted: true, peer });
    return response;
  };
}
