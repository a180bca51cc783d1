/** The server behind `listen()`: gates before TLS and before HTTP, and the connections that passed them. */
import type { Http2SecureServer } from "node:http2";
import type { AddressInfo, Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { type Clock, systemClock } from "../base/clock.ts";
import { SpiffeError } from "../base/errors.ts";
import { accept, type Refusal, refuse, type Verdict } from "../base/verdict.ts";
import { chooseSyncVerifier } from "../crypto/index.ts";
import { capabilities } from "../runtime/capabilities.ts";
import { type LogFields, type Logger, silentLogger } from "../telemetry/logger.ts";
import type { VerifiedX509Svid, X509Svid } from "../x509/index.ts";
import { authorizeAny } from "./authorizers.ts";
import { Connection } from "./connections.ts";
import { type ListenerCounters, newCounters } from "./counters.ts";
import { guardEntries, type Handler } from "./entries.ts";
import type { TlsIdentity } from "./identity.ts";
import { internalRefusal, type Judgement, judgePeer, peerFrom, settle } from "./judge.ts";
import { drainPoint, isForsaken, keep } from "./lifetime.ts";
import type { ConnectionHandler, ListenOptions, TlsListener } from "./listen.ts";
import { listening } from "./listening.ts";
import { createServer, type ServerSettings, swapServerContext } from "./options.ts";
import { type ConnectionVerdict, markConnection } from "./peer.ts";
import { followSvid } from "./rotation.ts";
import { DEFAULT_THROTTLE, Throttle } from "./throttle.ts";

const AGE_WITH_RESUMPTION_MS = 30 * 60_000;

function ignore(): void {}

/** A listener; open it once. */
export class Listener implements TlsListener {
  readonly counters: ListenerCounters = newCounters();
  readonly closed: Promise<void>;
  readonly #judgement: Judgement;
  readonly #settings: ServerSettings;
  readonly #options: ListenOptions;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #throttle: Throttle | undefined;
  readonly #maxAgeMs: number;
  readonly #server: Http2SecureServer;
  readonly #firstSvid: X509Svid;
  readonly #connections = new Map<ConnectionVerdict, Connection>();
  readonly #shutOut = new WeakSet<object>();
  /** Sockets before the end of their handshake, by remote port: TLS hands out another object for the same connection. */
  readonly #pending = new Map<string, Socket>();
  readonly #stop = new AbortController();
  #address: AddressInfo | undefined;
  #closing: Promise<{ cut: number }> | undefined;
  #onEmpty: () => void = ignore;

  constructor(identity: TlsIdentity, options: ListenOptions) {
    const timeout = options.handshakeTimeoutMs ?? 5_000;
    if (!(timeout > 0 && timeout <= 10_000)) {
      throw new SpiffeError("ERR_SPIFFE_USAGE", `Expected handshakeTimeoutMs above 0 and up to 10000; got ${timeout}`);
    }
    const clientCertificate = options.clientCertificate ?? "require";
    if (!["require", "optional", "none"].includes(clientCertificate)) {
      throw new SpiffeError(
        "ERR_SPIFFE_USAGE",
        `Expected clientCertificate require, optional or none; got another value`,
      );
    }
    if ((options.handler === undefined) === (options.onConnection === undefined)) {
      throw new SpiffeError(
        "ERR_SPIFFE_USAGE",
        "Expected either a handler of requests or onConnection; got both or none",
      );
    }
    if (!capabilities.tlsServer.value) {
      throw new SpiffeError("ERR_SPIFFE_BACKEND", `This runtime has no TLS server: ${capabilities.tlsServer.why}`);
    }
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#logger = options.logger === undefined ? silentLogger : thatNeverThrows(options.logger);
    const verifier = chooseSyncVerifier();
    this.#judgement = { identity, authorize: options.authorize ?? authorizeAny(), clock: this.#clock, verifier };
    this.#settings = { clientCertificate, handshakeTimeoutMs: timeout };
    this.#maxAgeMs =
      options.maxConnectionAgeMs ?? (capabilities.resumptionOff.value ? Infinity : AGE_WITH_RESUMPTION_MS);
    if (options.throttle !== false) {
      this.#throttle = new Throttle({ ...DEFAULT_THROTTLE, ...options.throttle }, this.#clock);
    }
    this.#firstSvid = identity.x509.x509Svid();
    this.#server = createServer(this.#firstSvid, this.#settings);
    this.closed = new Promise((resolve) => this.#server.once("close", resolve));
    this.#gateConnections();
    this.#gateHandshakes();
    if (options.handler !== undefined) this.#guard(options.handler);
  }

  get address(): string {
    return this.#address?.address ?? "";
  }

  get port(): number {
    return this.#address?.port ?? 0;
  }

  async open(port: number, address: string): Promise<void> {
    this.#address = await listening(this.#server, { address, port, name: "the TLS listener" });
    this.#server.on("error", (error) => this.#logger.error("listener error", { error: error.message }));
    if (!capabilities.resumptionOff.value) {
      this.#logger.warn("TLS sessions can be resumed on this runtime; each resumed connection is verified anew", {
        why: capabilities.resumptionOff.why,
        maxConnectionAgeMs: this.#maxAgeMs,
      });
    }
    if (!capabilities.readBackpressure.value) {
      this.#logger.warn("request bodies that nobody reads fill the memory on this runtime; limit them", {
        why: capabilities.readBackpressure.why,
      });
    }
    void followSvid(
      this.#judgement.identity,
      this.#firstSvid,
      this.#stop.signal,
      (svid) => this.#install(svid),
      (error) => this.#logger.error("the identity gives no more updates", { error: String(error) }),
    );
  }

  #install(svid: X509Svid): void {
    try {
      swapServerContext(this.#server, svid, this.#settings);
      this.counters.rotations++;
      this.#logger.info("serving with a new SVID", { id: svid.id.uri, expiresAt: svid.expiresAt.toISOString() });
    } catch (error) {
      this.counters.rotationsRefused++;
      this.#logger.error("a new SVID can not be served; the old one stays", { error: (error as Error).message });
    }
  }

  /** Before TLS: addresses that were refused too often get no handshake (S-7). */
  #gateConnections(): void {
    const own = takeListeners(this.#server, "connection");
    this.#server.on("connection", (socket: Socket) => {
      if (this.#throttle?.isShut(socket.remoteAddress ?? "") === true) {
        this.counters.throttled++;
        this.#shutOut.add(socket);
        socket.on("error", ignore);
        const { remoteAddress, remotePort } = socket;
        socket.destroy();
        const refusal = refuse("peer.throttled", "Too many refused handshakes from this address");
        this.#report(refusal, remoteAddress, remotePort);
        return;
      }
      const name = nameOf(socket);
      this.#pending.set(name, socket);
      socket.once("close", () => {
        if (this.#pending.get(name) === socket) this.#pending.delete(name);
      });
      for (const listener of own) Reflect.apply(listener, this.#server, [socket]);
    });
    this.#server.on("tlsClientError", (error: Error & { code?: string }, socket?: object) => {
      // A connection shut out above breaks in TLS as well on one runtime; it is counted once.
      if (socket !== undefined && this.#shutOut.has(socket)) return;
      if (error.code === "ERR_TLS_HANDSHAKE_TIMEOUT" || error.message === "TLS handshake timeout")
        this.counters.timedOut++;
      else this.counters.failed++;
    });
  }

  /** After TLS, before HTTP: the server's own listeners see a socket only when its peer is welcome (S-1). */
  #gateHandshakes(): void {
    const own = takeListeners(this.#server, "secureConnection");
    this.#server.on("secureConnection", (socket: TLSSocket) => {
      try {
        socket.on("error", ignore);
        const { remoteAddress, remotePort } = socket;
        this.#pending.delete(nameOf(socket));
        if (socket.destroyed) return;
        if (this.#closing !== undefined) return void socket.destroy();
        const verdict = this.#admit(socket);
        const { onConnection } = this.#options;
        if (verdict.ok === true && onConnection !== undefined) return this.#handOver(verdict.value, onConnection);
        if (verdict.ok === true) {
          for (const listener of own) Reflect.apply(listener, this.#server, [socket]);
          return;
        }
        socket.destroy();
        this.#refused(verdict, remoteAddress, remotePort);
      } catch (error) {
        // Without the mark of an acceptance no entry lets anything in.
        socket.destroy();
        this.#refused(internalRefusal(error), undefined, undefined);
      }
    });
  }

  #admit(socket: TLSSocket): Verdict<Connection> {
    const verdict = this.#judge(socket);
    if (verdict.ok !== true) {
      markConnection(socket, { accepted: false });
      return verdict;
    }
    const { peer, own } = verdict.value;
    const mark = markConnection(socket, { accepted: true, ...(peer === undefined ? {} : { peer: peerFrom(peer) }) });
    const connection = new Connection(socket);
    const now = this.#clock.now();
    const endAt = Math.min(own.expiresAt.getTime(), peer?.expiresAt.getTime() ?? Infinity);
    const drainAt = Math.min(drainPoint(now, endAt), now + this.#maxAgeMs);
    const release = keep(this.#clock, {
      drainAt,
      endAt,
      isForsaken: () => isForsaken(this.#judgement.identity, peer?.id),
      drain: () => connection.drain(),
      end: () => connection.destroy(),
    });
    this.#connections.set(mark, connection);
    this.counters.accepted++;
    this.counters.open++;
    socket.once("close", () => {
      release();
      this.counters.open--;
      this.#connections.delete(mark);
      if (this.#connections.size === 0) this.#onEmpty();
    });
    return accept(connection);
  }

  #judge(socket: TLSSocket): Verdict<{ peer?: VerifiedX509Svid; own: X509Svid }> {
    let own: X509Svid;
    try {
      own = this.#judgement.identity.x509.x509Svid();
    } catch (error) {
      return refuse("peer.own-identity-lost", `This side has no valid SVID: ${(error as Error).message}`);
    }
    const { clientCertificate } = this.#settings;
    if (clientCertificate === "none") return accept({ own });
    const verdict = judgePeer(socket, this.#judgement);
    if (verdict.ok === true) return accept({ own, peer: verdict.value });
    if (verdict.reason === "peer.no-certificate" && clientCertificate === "optional") return accept({ own });
    return verdict;
  }

  #refused(refusal: Refusal, address: string | undefined, port: number | undefined): void {
    this.counters.refused++;
    this.counters.reasons[refusal.reason] = (this.counters.reasons[refusal.reason] ?? 0) + 1;
    this.#throttle?.refused(address ?? "");
    this.#report(refusal, address, port);
  }

  #report(refusal: Refusal, address: string | undefined, port: number | undefined): void {
    try {
      const { reason, message } = refusal;
      this.#logger.info("connection refused", { reason, detail: message, address });
      settle(this.#options.onRefused?.({ reason, message, address, port }));
    } catch {
      // An observer that throws changes nothing.
    }
  }

  /** Gives an accepted connection to its protocol; HTTP never sees it. */
  #handOver(connection: Connection, take: ConnectionHandler): void {
    connection.upgraded = true;
    const broken = (error: unknown) => {
      this.#handlerFailed(error);
      connection.destroy();
    };
    try {
      void take(connection.socket)?.then(undefined, broken);
    } catch (error) {
      broken(error);
    }
  }

  #handlerFailed(error: unknown): void {
    this.counters.handlerErrors++;
    this.#logger.error("the handler failed", { error: error instanceof Error ? error.message : String(error) });
  }

  #guard(handler: Handler): void {
    guardEntries(this.#server, {
      handler,
      onUpgrade: this.#options.onUpgrade,
      begin: (verdict, response) => this.#connections.get(verdict)?.begin(response),
      upgraded: (verdict) => {
        const connection = this.#connections.get(verdict);
        if (connection !== undefined) connection.upgraded = true;
      },
      session: (verdict, session) => {
        const connection = this.#connections.get(verdict);
        if (connection !== undefined) connection.session = session;
        session.on("error", ignore);
      },
      stray: () => {
        this.counters.stray++;
        this.#logger.error("a request came over a connection that was not accepted; it was cut");
      },
      failed: (error) => this.#handlerFailed(error),
    });
  }

  close(options: { deadlineMs?: number } = {}): Promise<{ cut: number }> {
    return (this.#closing ??= this.#close(options.deadlineMs ?? 30_000));
  }

  async #close(deadlineMs: number): Promise<{ cut: number }> {
    this.#stop.abort();
    const empty = new Promise<void>((resolve) => {
      this.#onEmpty = resolve;
    });
    this.#server.close();
    for (const socket of this.#pending.values()) socket.destroy();
    for (const connection of [...this.#connections.values()]) connection.drain();
    const timer = new AbortController();
    if (this.#connections.size > 0) {
      await Promise.race([empty, this.#clock.sleep(deadlineMs, timer.signal).catch(ignore)]);
    }
    timer.abort();
    const left = [...this.#connections.values()];
    for (const connection of left) connection.destroy();
    await this.closed;
    return { cut: left.length };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** A logger whose failures stay its own (S-8). */
function thatNeverThrows(logger: Logger): Logger {
  const guarded = (level: keyof Logger) => (message: string, fields?: LogFields) => {
    try {
      logger[level](message, fields);
    } catch {
      // There is nowhere left to say it.
    }
  };
  return { debug: guarded("debug"), info: guarded("info"), warn: guarded("warn"), error: guarded("error") };
}

type AnyListener = (...args: unknown[]) => void;

function nameOf(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort}`;
}

function takeListeners(server: Http2SecureServer, event: string): AnyListener[] {
  const own = server.listeners(event) as AnyListener[];
  server.removeAllListeners(event);
  return own;
}
