/** Dialling: handshake and verdict are over before anyone gets the socket (S-5). */
import { connect as dialTls, type TLSSocket } from "node:tls";
import { type Clock, systemClock } from "../base/clock.ts";
import { isSpiffeError, SpiffeError } from "../base/errors.ts";
import { type Refusal, refuse } from "../base/verdict.ts";
import { chooseSyncVerifier } from "../crypto/index.ts";
import type { X509Peer } from "../id/peer.ts";
import { denoNetFlag, isDenoRefusal } from "../runtime/deno-permission.ts";
import { authorizerFor, type PeerExpectation } from "./authorizers.ts";
import type { TlsIdentity } from "./identity.ts";
import { judgePeer, peerFrom } from "./judge.ts";
import { isForsaken, keep } from "./lifetime.ts";
import { clientOptions, hideKeyOf } from "./options.ts";
import { markConnection } from "./peer.ts";

/** Options of {@link connect}. */
export interface ConnectOptions {
  /** Name or address to dial. It is routing only: who answers is decided by `peer`. */
  host: string;
  port: number;
  /** Who must answer. Has no default. */
  peer: PeerExpectation;
  /** ALPN protocols to offer, in order of preference. Default: none. */
  alpn?: readonly string[];
  /** Server name to send instead of `host`. */
  servername?: string;
  /** Milliseconds for name lookup, TCP and TLS together. Default 10,000. */
  timeoutMs?: number;
  signal?: AbortSignal;
  clock?: Clock;
  /** Told, for timings, when the name has been looked up (if it is one), TCP has connected and TLS is done. Must not throw. */
  onStep?: (step: "lookup" | "tcp" | "handshake") => void;
}

/** A connection whose peer has been verified and authorized. */
export interface VerifiedConnection {
  readonly socket: TLSSocket;
  readonly peer: X509Peer;
}

const DEFAULT_TIMEOUT_MS = 10_000;

function ignore(): void {}

/**
 * Opens a TLS 1.3 connection with the own X.509-SVID and hands it out once the peer's SVID is verified and expected.
 * A wrong peer is cut without having received one application byte. The connection is destroyed when a certificate of
 * either side expires, and when the own identity or the bundle of the peer's trust domain is withdrawn.
 *
 * @param identity own SVID and bundles, for example a `Workload`
 * @returns the socket, paused, and the peer
 * @throws SpiffeError `ERR_SPIFFE_PEER_REFUSED` with the reason when the peer is not who was expected, `ERR_SPIFFE_TLS`
 *   when the connection or handshake fails, `ERR_SPIFFE_TIMEOUT`, `ERR_SPIFFE_ABORTED`, `ERR_SPIFFE_USAGE` without a
 *   usable `peer`, and whatever the identity throws while it has no SVID
 * @example
 * ```ts
 * import { Authority } from "spiffe-edge/testing";
 * import { connect, listen } from "spiffe-edge/tls";
 * import { Workload } from "spiffe-edge/workload";
 *
 * await using authority = await Authority.start({
 *   trustDomain: "example.org",
 *   entries: [{ id: "spiffe://example.org/orders", socket: "orders" }],
 * });
 * await using orders = await Workload.open({ socket: authority.socketFor("orders") });
 * await using server = await listen(orders, { port: 0, address: "127.0.0.1", handler: (_, res) => void res.end() });
 * const { socket, peer } = await connect(orders, {
 *   host: "127.0.0.1",
 *   port: server.port,
 *   peer: "spiffe://example.org/orders",
 * });
 * console.assert(peer.id.path === "/orders");
 * socket.destroy();
 * ```
 */
export async function connect(identity: TlsIdentity, options: ConnectOptions): Promise<VerifiedConnection> {
  const authorize = authorizerFor(options.peer);
  const clock = options.clock ?? systemClock;
  const verifier = chooseSyncVerifier();
  const own = identity.x509.x509Svid();
  const at = `${options.host}:${options.port}`;
  const { signal } = options;
  if (signal?.aborted) throw abortError(signal, at, "connect");

  const socket = dial(own, options);
  // Stays for good: a reset by the peer after this function returned must not end the process.
  socket.on("error", ignore);
  socket.setNoDelay(true);
  const timer = new AbortController();
  let phase = "connect";
  let cleanup: () => void = ignore;
  try {
    return await new Promise<VerifiedConnection>((resolve, reject) => {
      const onLookup = () => options.onStep?.("lookup");
      const onConnect = () => {
        phase = "handshake";
        options.onStep?.("tcp");
      };
      const onError = (error: Error) => reject(tlsError(error, options, phase));
      const onClose = () => reject(tlsError(new Error("closed by the peer"), options, phase));
      const onAbort = () => reject(abortError(signal!, at, phase));
      const onSecure = () => {
        options.onStep?.("handshake");
        const verdict = judgePeer(socket, { identity, authorize, clock, verifier });
        if (verdict.ok !== true) return reject(refusedError(verdict, at));
        try {
          const peer = peerFrom(verdict.value);
          markConnection(socket, { accepted: true, peer });
          const endAt = Math.min(own.expiresAt.getTime(), peer.expiresAt.getTime());
          const end = () => void socket.destroy();
          const life = { drainAt: endAt, endAt, isForsaken: () => isForsaken(identity, peer.id), drain: end, end };
          socket.once("close", keep(clock, life));
          resolve({ socket, peer });
        } catch (error) {
          reject(refusedError(refuse("peer.internal", String(error)), at));
        }
      };
      socket.once("lookup", onLookup);
      socket.once("connect", onConnect);
      socket.once("secureConnect", onSecure);
      socket.once("error", onError);
      socket.once("close", onClose);
      signal?.addEventListener("abort", onAbort, { once: true });
      cleanup = () => {
        timer.abort();
        socket
          .off("lookup", onLookup)
          .off("connect", onConnect)
          .off("secureConnect", onSecure)
          .off("error", onError)
          .off("close", onClose);
        signal?.removeEventListener("abort", onAbort);
      };
      const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
      clock.sleep(timeoutMs, timer.signal).then(() => reject(timeoutError(at, phase, timeoutMs)), ignore);
    });
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    cleanup();
  }
}

function dial(own: Parameters<typeof clientOptions>[0], options: ConnectOptions): TLSSocket {
  const { host, port, alpn = [], servername } = options;
  try {
    const socket = dialTls(clientOptions(own, { host, port, alpn, servername }));
    hideKeyOf(socket);
    return socket;
  } catch (error) {
    // A runtime that lacks the permission to dial, or a port out of range, throws here instead of emitting.
    if (isSpiffeError(error)) throw error;
    throw tlsError(error as Error, options, "connect");
  }
}

function tlsError(cause: Error & { code?: unknown }, { host, port }: ConnectOptions, phase: string): SpiffeError {
  const at = `${host}:${port}`;
  if (isDenoRefusal(cause)) {
    const message = `Deno does not let this program dial ${at}. Run it with ${denoNetFlag(host, port)}`;
    return new SpiffeError("ERR_SPIFFE_PERMISSION", message, { phase, cause });
  }
  return new SpiffeError(
    "ERR_SPIFFE_TLS",
    phase === "connect"
      ? `Expected to reach ${at}: ${cause.message}`
      : `Expected a TLS 1.3 handshake with ${at}: ${cause.message}`,
    {
      phase,
      cause,
      retryable: true,
      hint: phase === "connect" ? "Check the address and that the peer listens" : "Check that the peer speaks TLS 1.3",
    },
  );
}

function refusedError(refusal: Refusal, at: string): SpiffeError {
  return new SpiffeError("ERR_SPIFFE_PEER_REFUSED", `The peer at ${at} is not who was expected: ${refusal.message}`, {
    reason: refusal.reason,
    phase: "verify",
    retryable: false,
    hint: "Compare its SPIFFE ID with `peer`, and its trust domain with the bundles of this workload",
  });
}

function timeoutError(at: string, phase: string, timeoutMs: number): SpiffeError {
  return new SpiffeError("ERR_SPIFFE_TIMEOUT", `No verified connection to ${at} within ${timeoutMs} ms`, {
    phase,
    retryable: true,
  });
}

/** The error for an aborted call; a signal that timed out is told apart from one that was aborted. */
export function abortError(signal: AbortSignal, at: string, phase: string): SpiffeError {
  const timedOut = (signal.reason as { name?: unknown } | undefined)?.name === "TimeoutError";
  return new SpiffeError(
    timedOut ? "ERR_SPIFFE_TIMEOUT" : "ERR_SPIFFE_ABORTED",
    timedOut ? `The signal's time for ${at} ran out` : `The call to ${at} was aborted`,
    { phase, cause: signal.reason, retryable: timedOut },
  );
}
