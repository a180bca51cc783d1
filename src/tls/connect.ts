/** Dialling: handshake and verdict are over before anyone gets the socket (S-5). */
import { isIP } from "node:net";
import type { Duplex } from "node:stream";
import { connect as dialTls, type TLSSocket } from "node:tls";
import { inRange, type OptionNames, onlyKnown, usage, wholeInRange } from "../base/check-options.ts";
import { type Clock, systemClock } from "../base/clock.ts";
import type { Reason } from "../base/codes.ts";
import { accept, type Refusal, refuse, type Verdict } from "../base/verdict.ts";
import { chooseSyncVerifier } from "../crypto/index.ts";
import type { X509Peer } from "../id/peer.ts";
import type { X509Svid } from "../x509/index.ts";
import { authorizerFor, type PeerExpectation } from "./authorizers.ts";
import {
  abortError,
  type DialAddress,
  type DialPhase,
  dialError,
  endedError,
  identityError,
  nameOf,
  refusedError,
  timeoutError,
} from "./connect-errors.ts";
import { bundleOf, type TlsIdentity } from "./identity.ts";
import { judgePeer, peerFrom } from "./judge.ts";
import { groundOf, keep, type Mortal } from "./lifetime.ts";
import { clientOptions, hideKeyOf } from "./options.ts";
import { endOf, ownSvid } from "./own-identity.ts";
import { markConnection } from "./peer.ts";
import { isCurrent } from "./snapshot.ts";

/** Options of {@link connect}. */
export interface ConnectOptions {
  /** Name or address to dial. It is routing only: who answers is decided by `peer`. */
  host?: string;
  port?: number;
  /** Path of a unix socket, in place of `host` and `port`. */
  path?: string;
  /** An open stream to do TLS on, in place of dialling: for protocols that begin in plain text, such as PostgreSQL's. */
  socket?: Duplex;
  /** Who must answer. Has no default. */
  peer: PeerExpectation;
  /** ALPN protocols to offer, in order of preference. Default: none. */
  alpn?: readonly string[];
  /** Server name to send instead of `host`. */
  servername?: string;
  /** Milliseconds for name lookup, TCP and TLS together. Default 10,000. */
  timeoutMs?: number;
  signal?: AbortSignal;
  /** Milliseconds after which the connection ends. Default: none. */
  maxConnectionAgeMs?: number;
  /** Told once, in the last tenth of the connection's life, to take nothing new. Must not throw. */
  onDrain?: (reason: Reason) => void;
  clock?: Clock;
  /** Told, for timings, when the name has been looked up (if it is one), TCP has connected and TLS is done. Must not throw. */
  onStep?: (step: "lookup" | "tcp" | "handshake") => void;
}

/** A connection whose peer has been verified and authorized. */
export interface VerifiedConnection {
  readonly socket: TLSSocket;
  readonly peer: X509Peer;
  /**
   * Whether own SVID and bundle are still those that the peer was verified with, so that the verdict stands, unless a
   * function was its `peer`: for who keeps connections (S-6).
   */
  isCurrent(): boolean;
  /** Judges the peer again by the bundles of now and `peer`: where they are no more the same. Ends nothing by itself. */
  rejudge(): Verdict<X509Peer>;
}

/**
 * Why a connection that was just dialled is not to be used after all: what vouched for it may have changed since the verdict,
 * and it is judged again then.
 */
export function fallenSince({
  isCurrent,
  rejudge,
}: Pick<VerifiedConnection, "isCurrent" | "rejudge">): Refusal | undefined {
  if (isCurrent()) return undefined;
  const still = rejudge();
  return still.ok === true ? undefined : still;
}

const DEFAULT_TIMEOUT_MS = 10_000;

const KNOWN: OptionNames<ConnectOptions> = {
  host: true,
  port: true,
  path: true,
  socket: true,
  peer: true,
  alpn: true,
  servername: true,
  timeoutMs: true,
  signal: true,
  maxConnectionAgeMs: true,
  onDrain: true,
  clock: true,
  onStep: true,
};

function ignore(): void {}

/**
 * Opens a TLS 1.3 connection with the own X.509-SVID and hands it out once the peer's SVID is verified and expected.
 * A wrong peer is cut without having received one application byte.
 *
 * The connection is destroyed, at most a second late, when a certificate of either side ends, the own identity is lost,
 * the authority that vouched for the peer leaves its bundle, or `maxConnectionAgeMs` is over; the socket's `error` then
 * says which (S-9).
 *
 * @param identity own SVID and bundles, for example a `Workload`
 * @returns the socket, paused, and the peer
 * @throws SpiffeError `ERR_SPIFFE_PEER_REFUSED` with the reason when the peer is not who was expected, `ERR_SPIFFE_TLS`
 *   when the connection or handshake fails, `ERR_SPIFFE_TIMEOUT`, `ERR_SPIFFE_ABORTED`, `ERR_SPIFFE_PERMISSION`
 *   (Deno), `ERR_SPIFFE_USAGE` without a usable `peer` or address, and the code of what the identity throws while it has
 *   no SVID. Each has a `phase`: `identity`, `lookup`, `connect`, `handshake` or `verify`
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
  onlyKnown("connect", options, KNOWN);
  const authorize = authorizerFor(options.peer);
  const address = addressOf(options);
  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  inRange("timeoutMs", timeoutMs, 1, Infinity);
  const maxAgeMs = options.maxConnectionAgeMs ?? Infinity;
  inRange("maxConnectionAgeMs", maxAgeMs, 1, Infinity);
  const clock = options.clock ?? systemClock;
  checkNames(options);
  const verifier = chooseSyncVerifier();
  let own: X509Svid;
  try {
    own = ownSvid(identity, clock);
  } catch (error) {
    throw identityError(error);
  }
  const at = nameOf(address);
  const { signal } = options;
  if (signal?.aborted) throw abortError(signal, at, "connect");
  // it would tell of nothing any more
  if (options.socket?.destroyed) throw dialError(new Error("it is closed"), address, "handshake");

  const socket = dial(own, address, options);
  // Stays for good: a reset by the peer after this function returned must not end the process.
  socket.on("error", ignore);
  socket.setNoDelay(true);
  const timer = new AbortController();
  let phase: DialPhase = "socket" in address ? "handshake" : "connect";
  let cleanup: () => void = ignore;
  try {
    return await new Promise<VerifiedConnection>((resolve, reject) => {
      const onLookup = () => options.onStep?.("lookup");
      const onConnect = () => {
        phase = "handshake";
        options.onStep?.("tcp");
      };
      const onError = (error: Error) => reject(dialError(error, address, phase));
      const onClose = () => reject(dialError(new Error("closed by the peer"), address, phase));
      const onAbort = () => reject(abortError(signal!, at, phase));
      const onSecure = () => {
        options.onStep?.("handshake");
        const judgement = { identity, authorize, clock, verifier };
        const verdict = judgePeer(socket, judgement);
        if (verdict.ok !== true) return reject(refusedError(verdict, address));
        try {
          // Who was taken the identity from meanwhile sends nothing in its name.
          ownSvid(identity, clock);
        } catch (error) {
          return reject(identityError(error));
        }
        try {
          const peer = peerFrom(verdict.value);
          markConnection(socket, { accepted: true, peer });
          const terms = { judgement, peer: verdict.value, ownEnd: endOf(own), maxAgeMs };
          const life = keep(new Dialled(socket, address, options.onDrain), groundOf(identity, clock), terms);
          socket.once("close", () => life.release());
          const { trustDomain } = peer.id;
          const bundle = bundleOf(identity, trustDomain);
          // a source that answers otherwise by now: what it says does not vouch for this verdict
          const vouches = bundle?.has(verdict.value.verified.chain.at(-1)!) === true;
          resolve({
            socket,
            peer,
            isCurrent: () => vouches && isCurrent({ own, trustDomain, bundle }, identity, clock),
            rejudge: () => life.judgeAgain() ?? accept(peer),
          });
        } catch (error) {
          reject(refusedError(refuse("peer.internal", String(error)), address));
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
      clock.sleep(timeoutMs, timer.signal).then(() => reject(timeoutError(address, phase, timeoutMs)), ignore);
    });
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    cleanup();
  }
}

/**
 * {@link connect} for what sends at once, and keeps what it got: what vouched for the peer may have changed since the verdict,
 * and it is judged again then.
 *
 * @throws as {@link connect}
 */
export async function connectVouched(identity: TlsIdentity, options: ConnectOptions): Promise<VerifiedConnection> {
  const connection = await connect(identity, options);
  const fallen = fallenSince(connection);
  if (fallen === undefined) return connection;
  connection.socket.destroy();
  throw refusedError(fallen, addressOf(options));
}

/** A dialled connection: what runs on it hears by `onDrain` that it should finish, and by an error that it is over. */
class Dialled implements Mortal {
  readonly #socket: TLSSocket;
  readonly #address: DialAddress;
  readonly #onDrain: ((reason: Reason) => void) | undefined;

  constructor(socket: TLSSocket, address: DialAddress, onDrain: ((reason: Reason) => void) | undefined) {
    this.#socket = socket;
    this.#address = address;
    this.#onDrain = onDrain;
  }

  drain(reason: Reason): void {
    this.#onDrain?.(reason);
  }

  end(why: Refusal): void {
    this.#socket.destroy(endedError(why, this.#address));
  }
}

function dial(own: X509Svid, address: DialAddress, { alpn = [], servername }: ConnectOptions): TLSSocket {
  try {
    const socket = dialTls(clientOptions(own, { address, alpn, servername }));
    hideKeyOf(socket);
    return socket;
  } catch (error) {
    // A runtime that lacks the permission to dial throws here instead of emitting.
    throw dialError(error as Error, address, "connect");
  }
}

/** What the runtimes would call a failure of the network, or leave out, though it is one of the program. */
function checkNames({ alpn = [], servername }: ConnectOptions): void {
  const isName = (name: unknown) => typeof name === "string" && name.length > 0 && name.length < 256;
  if (!Array.isArray(alpn) || !alpn.every(isName))
    throw usage("Expected alpn to hold names of 1 to 255 characters; got another");
  if (servername !== undefined && (typeof servername !== "string" || isIP(servername) !== 0))
    throw usage("Expected servername to be a host name; got an address or something else");
}

/** Exactly one way to the peer. */
function addressOf({ host, port, path, socket }: ConnectOptions): DialAddress {
  const ways = [host ?? port, path, socket].filter((way) => way !== undefined).length;
  if (ways !== 1) throw usage(`Expected host and port, or path, or socket; got ${ways === 0 ? "none" : "several"}`);
  if (socket !== undefined) return { socket };
  if (path !== undefined) {
    if (typeof path !== "string" || path === "") throw usage("Expected path to name a unix socket; got nothing");
    return { path };
  }
  if (typeof host !== "string" || host === "") throw usage("Expected host to be a name or an address; got none");
  if (port === undefined) throw usage("Expected port beside host; got none");
  wholeInRange("port", port, 1, 65_535);
  return { host, port };
}
