/** Options for code that dials by `createConnection`: what it gets is verified already, and nothing else can be dialled with them. */
import type { TLSSocket } from "node:tls";
import { type OptionNames, onlyKnown } from "../base/check-options.ts";
import type { Clock } from "../base/clock.ts";
import { SpiffeError } from "../base/errors.ts";
import { authorizerFor, type PeerExpectation } from "./authorizers.ts";
import { connectVouched } from "./connect.ts";
import type { TlsIdentity } from "./identity.ts";

/** Options of {@link tlsOptions}. */
export interface TlsPeerOptions {
  /** Who must answer. Has no default. */
  peer: PeerExpectation;
  /** ALPN protocols to offer, in order of preference. Default `["http/1.1"]`; `[]` offers none. */
  alpn?: readonly string[];
  /** Server name to send instead of the dialled host. */
  servername?: string;
  /** Milliseconds to a verified connection. Default 10,000. */
  connectTimeoutMs?: number;
  clock?: Clock;
}

/** Where to dial, as `node:http`, agents and dispatchers say it. Routing only: who answers is decided by `peer`. */
export interface DialTarget {
  readonly hostname?: string | null | undefined;
  readonly host?: string | null | undefined;
  readonly port?: number | string | null | undefined;
  /** Path of a unix socket, in place of host and port. */
  readonly socketPath?: string | null | undefined;
  readonly signal?: AbortSignal | null | undefined;
}

/** Takes the outcome of a dial: an error, or the socket of a verified connection. Called once, never before the verdict. */
export type OnConnection = (...outcome: [error: null, socket: TLSSocket] | [error: Error, socket: never]) => void;

/** What {@link tlsOptions} gives. Frozen. */
export interface VerifiedTlsOptions {
  /** Dials, verifies, and then calls back. Throws `ERR_SPIFFE_USAGE` without a callback: no socket exists before the verdict. */
  readonly createConnection: (target: DialTarget, callback?: OnConnection) => undefined;
  /** Throws `ERR_SPIFFE_USAGE` in any TLS stack that would use these options by itself. */
  readonly secureContext: object;
  // Should a stack not look at it, these let it accept nobody.
  readonly rejectUnauthorized: true;
  readonly ca: never[];
  readonly checkServerIdentity: () => Error;
  readonly maxCachedSessions: 0;
}

const KNOWN: OptionNames<TlsPeerOptions> = {
  peer: true,
  alpn: true,
  servername: true,
  connectTimeoutMs: true,
  clock: true,
};

/**
 * Makes options for `https.request` and whatever else dials by a `createConnection(target, callback)`. The callback gets
 * a socket only once TLS is done and the peer verified and expected, with the newest SVID and bundles at that moment;
 * `peerOf(socket)` tells who it is. Each call dials anew and nothing is kept.
 *
 * The options hold no key and no certificate. A caller that replaces `createConnection`, sets an `agent`, or gives them to
 * `tls.connect`, gets `ERR_SPIFFE_USAGE` thrown instead of a connection that nobody verified (S-5). Only a caller that sets
 * `rejectUnauthorized: false` beside them in a stack that reads no `secureContext`, as Bun's `fetch`, gets what it asked for.
 *
 * @param identity own SVID and bundles, for example a `Workload`
 * @throws SpiffeError `ERR_SPIFFE_USAGE` without a usable `peer`, and for an option it does not know, such as
 *   `rejectUnauthorized`. The callback gets the errors of {@link connect}, and the peer has then received nothing
 * @example
 * ```ts
 * import { request } from "node:https";
 * import { Authority } from "spiffe-edge/testing";
 * import { listen, tlsOptions } from "spiffe-edge/tls";
 * import { Workload } from "spiffe-edge/workload";
 *
 * await using authority = await Authority.start({
 *   trustDomain: "example.org",
 *   entries: [{ id: "spiffe://example.org/orders", socket: "orders" }],
 * });
 * await using orders = await Workload.open({ socket: authority.socketFor("orders") });
 * await using server = await listen(orders, { port: 0, address: "127.0.0.1", handler: (_, res) => void res.end("42") });
 * const options = tlsOptions(orders, { peer: "spiffe://example.org/orders" });
 * const status = await new Promise((resolve, reject) => {
 *   const sent = request({ ...options, host: "127.0.0.1", port: server.port }, (answer) => {
 *     answer.resume().once("end", () => resolve(answer.statusCode));
 *   });
 *   sent.once("error", reject).end();
 * });
 * console.assert(status === 200);
 * ```
 */
export function tlsOptions(identity: TlsIdentity, options: TlsPeerOptions): VerifiedTlsOptions {
  onlyKnown("tlsOptions", options, KNOWN);
  const { alpn = ["http/1.1"], servername, connectTimeoutMs, clock } = options;
  const peer = authorizerFor(options.peer);
  const createConnection = (target: DialTarget, callback?: OnConnection): undefined => {
    if (typeof callback !== "function") {
      const expected = "Expected a callback: a socket is handed over once its peer is verified";
      throw new SpiffeError("ERR_SPIFFE_USAGE", `${expected}; this caller wants one at once`);
    }
    const { signal } = target;
    connectVouched(identity, {
      ...addressOf(target),
      peer,
      alpn,
      ...(servername === undefined ? {} : { servername }),
      ...(connectTimeoutMs === undefined ? {} : { timeoutMs: connectTimeoutMs }),
      ...(signal instanceof AbortSignal ? { signal } : {}),
      ...(clock === undefined ? {} : { clock }),
    }).then(
      ({ socket }) => callback(null, socket),
      (error: Error) => callback(error, undefined as never),
    );
  };
  return Object.freeze({
    createConnection,
    secureContext: REFUSES,
    rejectUnauthorized: true,
    ca: Object.freeze([]) as never,
    checkServerIdentity: misuse,
    maxCachedSessions: 0,
  });
}

/** The address in what such code passes. */
export function addressOf({
  hostname,
  host,
  port,
  socketPath,
}: DialTarget): { path: string } | { host: string; port: number } {
  if (typeof socketPath === "string" && socketPath !== "") return { path: socketPath };
  // With both, `host` may hold the port as well.
  const name = hostname || host || "localhost";
  return {
    host: name.replace(/^\[|\]$/g, ""),
    port: port === undefined || port === null || port === "" ? 443 : Number(port),
  };
}

function misuse(): SpiffeError {
  return new SpiffeError(
    "ERR_SPIFFE_USAGE",
    "Expected these options to dial by their own createConnection; another part dials",
    {
      phase: "connect",
      hint: "Leave createConnection as it is and set no agent, or use connect(), createFetch() or http2Options()",
    },
  );
}

/** Stands where a TLS stack looks for its keys; not enumerable, so that logging it throws nothing. */
const REFUSES: object = Object.freeze(
  Object.defineProperty({}, "context", {
    get() {
      throw misuse();
    },
  }),
);
