/** A stream for drivers that want one at once: it holds back what they write until the peer is verified. */
import { isIP } from "node:net";
import { Duplex } from "node:stream";
import type { TLSSocket } from "node:tls";
import { inRange, type OptionNames, onlyKnown, usage, wholeInRange } from "../base/check-options.ts";
import { type Clock, systemClock } from "../base/clock.ts";
import { authorizerFor, type PeerExpectation } from "./authorizers.ts";
import { connectVouched } from "./connect.ts";
import { timeoutError } from "./connect-errors.ts";
import type { TlsIdentity } from "./identity.ts";
import { markConnection, peerOf } from "./peer.ts";
import { openPlain, type Plain, type StartTls, startTlsOf } from "./start-tls.ts";

/** Options of {@link streamFactory}. */
export interface StreamOptions {
  /** Who must answer. Has no default. */
  peer: PeerExpectation;
  /** The protocol that asks for TLS in the clear first. Default: none, TLS from the first byte. */
  startTls?: StartTls;
  /** Server name to send instead of the dialled host. */
  servername?: string;
  /** Milliseconds to a verified connection. Default 10,000. */
  connectTimeoutMs?: number;
  clock?: Clock;
}

/** Where to dial. Routing only: who answers is decided by `peer`. */
export interface StreamTarget {
  readonly host: string;
  readonly port: number;
}

/** How a {@link VerifiedStream} comes to its connection. */
interface Way {
  readonly identity: TlsIdentity;
  readonly peer: PeerExpectation;
  readonly startTls: StartTls | undefined;
  readonly servername: string | undefined;
  readonly timeoutMs: number;
  readonly clock: Clock | undefined;
}

const KNOWN: OptionNames<StreamOptions> = {
  peer: true,
  startTls: true,
  servername: true,
  connectTimeoutMs: true,
  clock: true,
};

/**
 * Makes streams for drivers that take a function in place of a socket: `stream` of `pg` and `mysql2`, `socketFactory` of
 * `kafkajs`, the connector of `ioredis`. Such a stream can be written to at once; what is written leaves only when TLS is done and the peer verified
 * and expected, with the newest SVID and bundles at that moment. A wrong peer gets no byte of it, and the stream ends
 * with the error of {@link connect}. `peerOf(stream)` tells who answered.
 *
 * The driver's own TLS stays off: it would be a second one inside of this.
 *
 * @param identity own SVID and bundles, for example a `Workload`
 * @returns a function that makes a stream: given host and port it dials at once, else when `stream.connect(port, host)` is
 *   called
 * @throws SpiffeError `ERR_SPIFFE_USAGE` without a usable `peer`, and for an option it does not know
 * @example
 * ```ts
 * import { once } from "node:events";
 * import { Authority } from "spiffe-edge/testing";
 * import { listen, peerOf, streamFactory } from "spiffe-edge/tls";
 * import { Workload } from "spiffe-edge/workload";
 *
 * await using authority = await Authority.start({
 *   trustDomain: "example.org",
 *   entries: [{ id: "spiffe://example.org/echo", socket: "echo" }],
 * });
 * await using echo = await Workload.open({ socket: authority.socketFor("echo") });
 * await using server = await listen(echo, { port: 0, address: "127.0.0.1", onConnection: (socket) => void socket.pipe(socket) });
 * const stream = streamFactory(echo, { peer: "spiffe://example.org/echo" })({ host: "127.0.0.1", port: server.port });
 * stream.write("ping");
 * const [answer] = await once(stream, "data");
 * console.assert(String(answer) === "ping" && peerOf(stream).id.path === "/echo");
 * stream.destroy();
 * ```
 */
export function streamFactory(
  identity: TlsIdentity,
  options: StreamOptions,
): (target?: Partial<StreamTarget>) => VerifiedStream {
  onlyKnown("streamFactory", options, KNOWN);
  const { servername, connectTimeoutMs: timeoutMs = 10_000, clock } = options;
  inRange("connectTimeoutMs", timeoutMs, 1, Infinity);
  const peer = authorizerFor(options.peer);
  const way: Way = { identity, peer, startTls: startTlsOf(options.startTls), servername, timeoutMs, clock };
  return (target) => {
    const stream = new VerifiedStream(way);
    // Some drivers pass something else, and say by connect() where to.
    if (target?.host === undefined || target.port === undefined) return stream;
    return stream.connect(target.port, target.host);
  };
}

function ignore(): void {}

/**
 * A duplex stream with the members of `net.Socket` that drivers use. Emits `connect` and `secureConnect` when the peer is
 * verified, and nothing of what it was given to write has left before.
 */
export class VerifiedStream extends Duplex {
  /** Whether the dial is under way. */
  connecting = false;
  readonly #way: Way;
  readonly #dial = new AbortController();
  readonly #dialled = new AbortController();
  #plain: Plain | undefined;
  #socket: TLSSocket | undefined;
  /** What waits for the connection, in order: the one write that may be under way, and settings. */
  #waiting: ((socket: TLSSocket) => void)[] = [];

  /** Made by {@link streamFactory}. */
  constructor(way: Way) {
    super({ allowHalfOpen: false });
    this.#way = way;
  }

  /** Dials; once per stream. */
  connect(port: number, host = "localhost"): this {
    if (this.connecting || this.destroyed || this.#socket !== undefined)
      throw usage("Expected connect() once per stream; it was called again");
    // Drivers take it from configuration, as text.
    wholeInRange("port", Number(port), 1, 65_535);
    this.connecting = true;
    this.#open(host, Number(port)).then(
      (socket) => this.#take(socket),
      (error: Error) => this.destroy(error),
    );
    return this;
  }

  async #open(host: string, port: number): Promise<TLSSocket> {
    const { identity, peer, startTls, timeoutMs, clock = systemClock } = this.#way;
    const { signal } = this.#dial;
    const servername = this.#way.servername ?? (isIP(host) === 0 ? host.replace(/\.$/, "") : undefined);
    const common = { peer, signal, clock, ...(servername === undefined ? {} : { servername }) };
    if (startTls === undefined) return (await connectVouched(identity, { ...common, host, port, timeoutMs })).socket;
    // One time for all of it; who is waiting then is told by the error.
    const late = () => this.destroy(timeoutError({ host, port }, "handshake", timeoutMs));
    clock.sleep(timeoutMs, this.#dialled.signal).then(late, ignore);
    this.#plain = openPlain(startTls, { host, port, signal });
    if (this.#plain.greeting !== undefined) this.push(await this.#plain.greeting);
    const tcp = await this.#plain.ready;
    try {
      return (await connectVouched(identity, { ...common, socket: tcp, timeoutMs: Infinity })).socket;
    } catch (error) {
      tcp.destroy();
      throw error;
    }
  }

  #take(socket: TLSSocket): void {
    this.#dialled.abort();
    if (this.destroyed) return void socket.destroy();
    this.connecting = false;
    this.#socket = socket;
    markConnection(this, { accepted: true, peer: peerOf(socket) });
    socket.on("data", (chunk: Buffer) => {
      const part = this.#plain?.fromServer?.(chunk) ?? chunk;
      if (part.length > 0 && !this.push(part)) socket.pause();
    });
    let ended = false;
    socket.once("end", () => {
      // Bun reports an end of a socket that this side destroys.
      if (socket.destroyed) return;
      ended = true;
      this.push(null);
    });
    socket.once("error", (error: Error) => this.destroy(error));
    // After an end, what came before it may still be unread.
    socket.once("close", () => {
      if (!ended) this.destroy();
    });
    socket.on("timeout", () => this.emit("timeout"));
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const go of waiting) go(socket);
    this.emit("connect");
    this.emit("secureConnect");
  }

  /** Now, or when there is a connection. */
  #on(go: (socket: TLSSocket) => void): this {
    if (this.#socket === undefined) this.#waiting.push(go);
    else go(this.#socket);
    return this;
  }

  override _read(): void {
    this.#socket?.resume();
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    try {
      // Its first packet may be what the plain beginning waits for: that gets a look, the bytes wait here.
      if (this.#socket === undefined) this.#plain?.written?.(chunk);
    } catch (error) {
      done(error as Error);
      return;
    }
    this.#on((socket) => {
      const part = this.#plain?.fromClient?.(chunk) ?? chunk;
      if (part.length === 0) done();
      else socket.write(part, done);
    });
  }

  override _final(done: (error?: Error | null) => void): void {
    if (!this.connecting && this.#socket === undefined) done();
    else this.#on((socket) => void (socket.destroyed ? done() : socket.end(() => done())));
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.connecting = false;
    this.#waiting = [];
    this.#dial.abort();
    this.#dialled.abort();
    this.#socket?.destroy();
    done(error);
  }

  /** Off on every connection of this package: nothing waits for a fuller packet. */
  setNoDelay(_on?: boolean): this {
    return this;
  }

  setKeepAlive(on?: boolean, initialDelay?: number): this {
    return this.#on((socket) => void socket.setKeepAlive(on, initialDelay));
  }

  setTimeout(ms: number, onTimeout?: () => void): this {
    if (onTimeout !== undefined) this.once("timeout", onTimeout);
    return this.#on((socket) => void socket.setTimeout(ms));
  }

  ref(): this {
    return this.#on((socket) => void socket.ref());
  }

  unref(): this {
    return this.#on((socket) => void socket.unref());
  }
}
