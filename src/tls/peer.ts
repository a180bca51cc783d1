/**
 * Who is at the other end of a connection: the one place that reads and writes the verdict of a handshake.
 *
 * Imports nothing of a runtime, so that middleware which uses it loads anywhere.
 */
import { SpiffeError } from "../base/errors.ts";
import type { X509Peer } from "../id/peer.ts";

/** The outcome of a connection's handshake check. `peer` is absent where no certificate was asked for or shown. */
export interface ConnectionVerdict {
  readonly accepted: boolean;
  readonly peer?: X509Peer;
}

// A property, not a WeakMap: HTTP/2 hands out a Proxy of the socket, which a map would miss and a property read passes.
const VERDICT: unique symbol = Symbol("spiffe-edge.connection");

/** Writes the verdict on a socket, once; a second attempt throws. */
export function markConnection(socket: object, verdict: ConnectionVerdict): ConnectionVerdict {
  Object.defineProperty(socket, VERDICT, { value: Object.freeze({ ...verdict }) });
  return read(socket)!;
}

function read(holder: unknown): ConnectionVerdict | undefined {
  return (holder as { [VERDICT]?: ConnectionVerdict } | null | undefined)?.[VERDICT];
}

/**
 * Returns the verdict of the connection that a request came over, or `undefined` when no listener of this package
 * judged it (S-1). Only `accepted === true` lets a request in.
 *
 * @param request an `IncomingMessage`, `Http2ServerRequest`, or anything with such a `stream` or `socket`
 */
export function connectionPeer(request: unknown): ConnectionVerdict | undefined {
  const req = request as { stream?: { session?: { socket?: unknown } }; socket?: unknown } | null | undefined;
  try {
    return read(req?.stream?.session?.socket ?? req?.socket);
  } catch {
    // The socket of an ended HTTP/2 session throws on every read.
    return undefined;
  }
}

/**
 * Returns the verified peer of a connection.
 *
 * @param source a socket of {@link listen} or {@link connect}, a stream of {@link streamFactory}, a request that came over
 *   one (`IncomingMessage`, `Http2ServerRequest`, Express's), the context of a Hono app behind `@hono/node-server`, or a
 *   `Response` of {@link createFetch}
 * @throws SpiffeError `ERR_SPIFFE_NO_PEER` when the connection was not judged by this package, was refused, or its peer
 *   showed no certificate
 * @example
 * ```ts
 * import { isSpiffeError } from "spiffe-edge";
 * import { peerOf } from "spiffe-edge/tls";
 * try {
 *   peerOf({ socket: {} });
 * } catch (error) {
 *   console.assert(isSpiffeError(error, "ERR_SPIFFE_NO_PEER"));
 * }
 * ```
 */
export function peerOf(source: unknown): X509Peer {
  let verdict: ConnectionVerdict | undefined;
  try {
    verdict = read(source) ?? connectionPeer(source) ?? connectionPeer(incomingOf(source));
  } catch {
    verdict = undefined;
  }
  if (verdict?.accepted === true && verdict.peer !== undefined) return verdict.peer;
  throw new SpiffeError("ERR_SPIFFE_NO_PEER", "Expected a connection with a verified peer; this one has none", {
    reason: "peer.no-certificate",
    hint: "Take requests from listen(), sockets from connect(), and use clientCertificate: require",
  });
}

/** The request below a Hono context. Its server puts it there; nothing in a request can. */
function incomingOf(context: unknown): unknown {
  return (context as { env?: { incoming?: unknown } } | null | undefined)?.env?.incoming;
}
