/** A fetch whose peer is a SPIFFE ID. */

import { inRange, type OptionNames, onlyKnown } from "../base/check-options.ts";
import { type Clock, systemClock } from "../base/clock.ts";
import { type Authorizer, authorizerFor, expectationOf, type PeerExpectation } from "./authorizers.ts";
import { connectVouched, type VerifiedConnection } from "./connect.ts";
import { identityError } from "./connect-errors.ts";
import { exchange, wasStale } from "./fetch-exchange.ts";
import { type Call, isRepeatable, readCall } from "./fetch-request.ts";
import type { TlsIdentity } from "./identity.ts";
import { type KeptConnections, poolOf } from "./kept-connections.ts";

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

const KNOWN: OptionNames<FetchOptions> = { peer: true, connectTimeoutMs: true, clock: true };

/**
 * Makes a fetch that presents the own X.509-SVID and talks only to the expected peer. The URL's host is where to dial;
 * who answers is decided by `peer`. A connection is used again only for an equal `peer` at the same address, while own
 * SVID and bundle are the ones it was verified with, and for calls that may be repeated should it have ended meanwhile;
 * every other call has one of its own, as has every call with a function for `peer` (S-6).
 *
 * Bodies stream both ways, `signal` aborts, redirects are returned and not followed, bodies are not decompressed.
 * `peerOf(response)` tells who answered.
 *
 * @param identity own SVID and bundles, for example a `Workload`
 * @throws SpiffeError `ERR_SPIFFE_USAGE` without a usable `peer`. A call rejects with `ERR_SPIFFE_PEER_REFUSED` (nothing
 *   was sent), `ERR_SPIFFE_TLS`, `ERR_SPIFFE_TIMEOUT`, `ERR_SPIFFE_ABORTED`, `ERR_SPIFFE_UPSTREAM` when the exchange
 *   breaks, `ERR_SPIFFE_USAGE` for other URLs than `https:`, for a body that is read already, and for `integrity`.
 *   `retryable` is true only where nothing of the call has left, or it may arrive twice
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
  onlyKnown("createFetch", options, KNOWN);
  const authorize: Authorizer = authorizerFor(options.peer);
  const expectation = expectationOf(authorize);
  const clock = options.clock ?? systemClock;
  const { connectTimeoutMs } = options;
  inRange("connectTimeoutMs", connectTimeoutMs, 1, Infinity);
  const dial = (url: URL, signal: AbortSignal | undefined, onDrain?: () => void): Promise<VerifiedConnection> =>
    connectVouched(identity, {
      ...addressOf(url),
      peer: authorize,
      alpn: ["http/1.1"],
      clock,
      ...(connectTimeoutMs === undefined ? {} : { timeoutMs: connectTimeoutMs }),
      ...(signal === undefined ? {} : { signal }),
      ...(onDrain === undefined ? {} : { onDrain }),
    });
  const alone = async (call: Call): Promise<Response> => {
    let connection: VerifiedConnection;
    try {
      connection = await dial(call.url, call.signal);
    } catch (error) {
      // Nobody will read the body; its source must learn that.
      if (call.body !== undefined && "stream" in call.body) call.body.stream.cancel(error).catch(() => {});
      throw error;
    }
    return exchange(call, connection);
  };
  return async (input, init) => {
    const call = readCall(input, init);
    if (expectation === undefined || !isRepeatable(call)) return alone(call);
    const { host, port } = addressOf(call.url);
    let kept: KeptConnections;
    try {
      const key = `${expectation}\n${host}\n${port}\n${connectTimeoutMs}`;
      kept = poolOf(identity, clock).take(key, (signal, onDrain) => dial(call.url, signal, onDrain));
    } catch (error) {
      throw identityError(error);
    }
    try {
      return await exchange(call, { kept });
    } catch (error) {
      // The peer ended the kept connection before it could have answered: a new one, once.
      if (!wasStale(error) || call.signal?.aborted) throw error;
      return alone(call);
    }
  };
}

function addressOf({ hostname, port }: URL): { host: string; port: number } {
  return { host: hostname.replace(/^\[|\]$/g, ""), port: port === "" ? 443 : Number(port) };
}
