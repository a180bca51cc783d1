/** The server behind `listen()`: gates before TLS and before HTTP, and the connections that passed them. */
import type { Http2SecureServer } from "node:http2";
import type { TLSSocket } from "node:tls";
import { inRange, onlyKnown } from "../base/check-options.ts";
import { type Clock, systemClock, timeOf } from "../base/clock.ts";
import type { Reason } from "../base/codes.ts";
import { SpiffeError } from "../base/errors.ts";
import { accept, type Refusal, refuse, type Verdict } from "../base/verdict.ts";
import { chooseSyncVerifier } from "../crypto/index.ts";
import type { X509Peer } from "../id/peer.ts";
import { capabilities } from "../runtime/capabilities.ts";
import { type Logger, silentLogger } from "../telemetry/logger.ts";
import { thatNeverThrows } from "../telemetry/quiet-logger.ts";
import { authorizeAny } from "./authorizers.ts";
import { ConnectionGate } from "./connection-gate.ts";
import { Connection, type LifeLog } from "./connections.ts";
import { type ListenerCounters, newCounters } from "./counters.ts";
import { attend, guardEntries, type Handler } from "./entries.ts";
import type { FetchHandler } from "./fetch-handler.ts";
import type { TlsIdentity } from "./identity.ts";
import { internalRefusal, type JudgedPeer, type Judgement, judgePeer, peerFrom, settle } from "./judge.ts";
import { type Ground, keep } from "./lifetime.ts";
import type { ConnectionHandler, ListenOptions, TlsListener } from "./listen.ts";
import type { ListenSettings } from "./listen-options.ts";
import { type Bound, type ListenPlace, listening } from "./listening.ts";
import { createServer, swapServerContext } from "./options.ts";
import { ownIdentityLost } from "./own-identity.ts";
import { type ConnectionVerdict, markConnection } from "./peer.ts";
import { tellAddress } from "./proxy-gate.ts";
import type { CertificateSource, ServerCertificate } from "./server-certificate.ts";
import { takeListeners } from "./taken-listeners.ts";

/** Refusals that say nothing about the client. */
const OWN_FAULTS: ReadonlySet<Reason> = new Set<Reason>(["peer.own-identity-lost", "peer.own-expired"]);
/** For how long a listener that closes lets handshakes end and first requests come: they may be on their way. */
const FIRST_WITHIN_MS = 1_000;
/** Connections that one slice of {@link Listener.rejudge} takes. */
const REJUDGED_AT_ONCE = 64;

function ignore(): void {}

/** A listener; open it once. */
export class Listener implements TlsListener {
  readonly counters: ListenerCounters = newCounters();
  readonly closed: Promise<void>;
  readonly #judgement: Judgement;
  readonly #ground: Ground;
  readonly #certificate: CertificateSource;
  readonly #settings: ListenSettings;
  readonly #options: ListenOptions;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #server: Http2SecureServer;
  readonly #gate: ConnectionGate;
  /** What the handshakes that begin now are done with. */
  #served: ServerCertificate;
  readonly #connections = new Map<ConnectionVerdict, Connection>();
  readonly #stop = new AbortController();
  /** Counts and tells why connections drain and end. */
  readonly #lifeLog: LifeLog = {
    drains: (reason, peer) => {
      this.counters.drained[reason] = (this.counters.drained[reason] ?? 0) + 1;
      this.#logger.info("connection drains", { reason, peer: peer?.id.uri });
    },
    ends: ({ reason, message }, peer) => {
      this.counters.ended[reason] = (this.counters.ended[reason] ?? 0) + 1;
      this.#logger.info("connection ended", { reason, detail: message, peer: peer?.id.uri });
    },
  };
  #bound: Bound | undefined;
  #closing: Promise<{ cut: number }> | undefined;
  #onEmpty: () => void = ignore;

  constructor(
    identity: TlsIdentity,
    certificate: CertificateSource,
    settings: ListenSettings,
    options: ListenOptions,
    bridge: ((answer: FetchHandler, failed: (error: unknown) => void) => Handler) | undefined,
  ) {
    if (!capabilities.tlsServer.value) {
      throw new SpiffeError("ERR_SPIFFE_BACKEND", `This runtime has no TLS server: ${capabilities.tlsServer.why}`);
    }
    this.#options = options;
    this.#settings = settings;
    this.#clock = options.clock ?? systemClock;
    this.#logger = options.logger === undefined ? silentLogger : thatNeverThrows(options.logger);
    const verifier = chooseSyncVerifier();
    this.#judgement = { identity, authorize: options.authorize ?? authorizeAny(), clock: this.#clock, verifier };
    this.#certificate = certificate;
    this.#ground = { identity, clock: this.#clock, lost: () => this.#ownLoss() };
    this.#served = certificate.current();
    this.#server = createServer(this.#served.material(), settings.server);
    this.#gate = new ConnectionGate(this.#server, {
      counters: this.counters,
      clock: this.#clock,
      logger: this.#logger,
      throttle: settings.throttle,
      proxyProtocol: options.proxyProtocol,
      maxConnections: settings.maxConnections,
      handshakeTimeoutMs: settings.server.handshakeTimeoutMs,
      served: () => this.#served,
      gone: () => this.#noteGone(),
      report: (refusal, address, port, isNews) => this.#report(refusal, address, port, isNews),
    });
    this.closed = new Promise((resolve) => this.#gate.door.once("close", resolve));
    this.#gateHandshakes();
    const failed = (error: unknown) => this.#handlerFailed(error);
    const handler = options.fetch === undefined ? options.handler : bridge?.(options.fetch, failed);
    if (handler !== undefined) this.#guard(handler);
  }

  get address(): string {
    return this.#bound?.address ?? "";
  }

  get port(): number {
    return this.#bound?.port ?? 0;
  }

  async open(to: ListenPlace): Promise<void> {
    this.#bound = await listening(this.#gate.door, { ...to, name: "the TLS listener" });
    this.#gate.door.on("error", (error) => this.#logger.error("listener error", { error: error.message }));
    if (!capabilities.resumptionOff.value) {
      this.#logger.warn("TLS sessions can be resumed on this runtime; each resumed connection is verified anew", {
        why: capabilities.resumptionOff.why,
        maxConnectionAgeMs: this.#settings.maxAgeMs,
      });
    }
    if (!capabilities.readBackpressure.value) {
      this.#logger.warn("request bodies that nobody reads fill the memory on this runtime; limit them", {
        why: capabilities.readBackpressure.why,
      });
    }
    void this.#certificate.follow(
      this.#stop.signal,
      (next) => this.#install(next),
      (error) => this.#notInstalled(error),
    );
  }

  #install(next: ServerCertificate): void {
    if (next === this.#served) return;
    try {
      swapServerContext(this.#server, next.material(), this.#settings.server);
      this.#served = next;
      this.counters.rotations++;
      const expiresAt = new Date(next.endsAt).toISOString();
      this.#logger.info("serving with a new certificate", { certificate: next.name, expiresAt });
    } catch (error) {
      this.#notInstalled(error);
    }
  }

  #notInstalled(error: unknown): void {
    if (this.#stop.signal.aborted) return;
    this.counters.rotationsRefused++;
    const why = error instanceof Error ? error.message : String(error);
    this.#logger.error("a new certificate can not be served; the old one stays", { error: why });
  }

  /** After TLS, before HTTP: the server's own listeners see a socket only when its peer is welcome (S-1). */
  #gateHandshakes(): void {
    const own = takeListeners(this.#server, "secureConnection");
    this.#server.on("secureConnection", (socket: TLSSocket) => {
      try {
        socket.on("error", ignore);
        const { caller, shown = this.#served } = this.#gate.passed(socket);
        if (caller !== undefined) tellAddress(socket, caller);
        const { remoteAddress, remotePort } = socket;
        if (socket.destroyed) return;
        const { onConnection } = this.#options;
        if (this.#closing !== undefined && onConnection !== undefined) return void socket.destroy();
        const verdict = this.#admit(socket, shown);
        if (verdict.ok === true && onConnection !== undefined) return this.#handOver(verdict.value, onConnection);
        if (verdict.ok === true) {
          for (const listener of own) Reflect.apply(listener, this.#server, [socket]);
          if (this.#closing !== undefined) verdict.value.drain();
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

  #admit(socket: TLSSocket, own: ServerCertificate): Verdict<Connection> {
    const verdict = this.#judge(socket, own);
    if (verdict.ok !== true) {
      markConnection(socket, { accepted: false });
      return verdict;
    }
    const peer = verdict.value;
    const shown = peer === undefined ? undefined : peerFrom(peer);
    const connection = new Connection(socket, shown, this.#lifeLog);
    connection.life = keep(connection, this.#ground, {
      judgement: this.#judgement,
      peer,
      ownEnd: own.endsAt,
      maxAgeMs: this.#settings.maxAgeMs,
    });
    // After all that could throw: nothing takes the mark of an acceptance back.
    const mark = markConnection(socket, { accepted: true, ...(shown === undefined ? {} : { peer: shown }) });
    this.#connections.set(mark, connection);
    this.counters.accepted++;
    this.counters.open++;
    // not once(): its wrapper would stay as long as the connection
    socket.on("close", () => {
      if (!this.#connections.delete(mark)) return;
      connection.life?.release();
      this.counters.open--;
      this.#noteGone();
    });
    return accept(connection);
  }

  #noteGone(): void {
    if (this.#isEmpty()) this.#onEmpty();
  }

  #isEmpty(): boolean {
    return this.#connections.size === 0 && this.#gate.pending === 0;
  }

  #judge(socket: TLSSocket, own: ServerCertificate): Verdict<JudgedPeer | undefined> {
    const lost = this.#ownLoss();
    if (lost !== undefined) return lost;
    if (!(timeOf(this.#clock) < own.endsAt)) return refuse("peer.own-expired", "The certificate shown to it has ended");
    const { clientCertificate } = this.#settings.server;
    if (clientCertificate === "none") return accept(undefined);
    const verdict = judgePeer(socket, this.#judgement);
    const without = clientCertificate === "optional" && verdict.ok !== true && verdict.reason === "peer.no-certificate";
    return without ? accept(undefined) : verdict;
  }

  #ownLoss(): Refusal | undefined {
    try {
      this.#certificate.current();
      return undefined;
    } catch (error) {
      return ownIdentityLost(error);
    }
  }

  #refused(refusal: Refusal, address: string | undefined, port: number | undefined): void {
    this.counters.refused++;
    this.counters.reasons[refusal.reason] = (this.counters.reasons[refusal.reason] ?? 0) + 1;
    // Nobody is shut out for what this side lacks.
    if (address !== undefined && !OWN_FAULTS.has(refusal.reason)) this.#gate.refused(address);
    this.#report(refusal, address, port);
  }

  #report(refusal: Refusal, address: string | undefined, port: number | undefined, isNews = true): void {
    try {
      const { reason, message } = refusal;
      if (isNews) this.#logger.info("connection refused", { reason, detail: message, address });
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
      attend(take(connection.socket), broken);
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
      onExpect: this.#options.onExpect,
      onUpgrade: this.#options.onUpgrade,
      onConnect: this.#options.onConnect,
      maxHeaderBytes: this.#settings.server.maxHeaderBytes,
      countsHttp1: !capabilities.headerLimit.value,
      begin: (verdict, response) => this.#connections.get(verdict)?.begin(response) ?? false,
      goesOn: (verdict, response) => this.#connections.get(verdict)?.announce(response),
      upgraded: (verdict) => this.#connections.get(verdict)?.upgrade() ?? false,
      session: (verdict, session) => {
        const connection = this.#connections.get(verdict);
        if (connection !== undefined) connection.session = session;
        session.on("error", ignore);
      },
      streamClosed: (verdict, reset) => this.#connections.get(verdict)?.streamClosed(reset),
      stray: () => {
        this.counters.stray++;
        this.#logger.error("a request came over a connection that was not accepted; it was cut");
      },
      failed: (error) => this.#handlerFailed(error),
    });
  }

  async rejudge(decide?: (peer: X509Peer | undefined) => Verdict<unknown>): Promise<{ ended: number }> {
    let ended = 0;
    let judged = 0;
    for (const connection of [...this.#connections.values()]) {
      const why = connection.life?.judgeAgain(decide === undefined ? undefined : () => decide(connection.peer));
      if (why !== undefined) {
        connection.end(why);
        ended++;
      }
      // Others are served between the slices.
      if (++judged % REJUDGED_AT_ONCE === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    return { ended };
  }

  close(options: { deadlineMs?: number } = {}): Promise<{ cut: number }> {
    onlyKnown("close", options, { deadlineMs: true });
    inRange("deadlineMs", options.deadlineMs, 0, Infinity);
    return (this.#closing ??= this.#close(options.deadlineMs ?? 30_000));
  }

  async #close(deadlineMs: number): Promise<{ cut: number }> {
    this.#stop.abort();
    const empty = new Promise<void>((resolve) => {
      this.#onEmpty = resolve;
    });
    const timer = new AbortController();
    const emptyWithin = async (ms: number) => {
      if (!this.#isEmpty()) await Promise.race([empty, this.#clock.sleep(ms, timer.signal).catch(ignore)]);
    };
    this.#gate.door.close();
    for (const connection of [...this.#connections.values()]) connection.drain();
    const firstMs = this.#options.onConnection === undefined ? Math.min(FIRST_WITHIN_MS, deadlineMs) : 0;
    await emptyWithin(firstMs);
    this.#gate.endPending();
    for (const connection of [...this.#connections.values()]) connection.endUnasked();
    await emptyWithin(deadlineMs - firstMs);
    timer.abort();
    const left = [...this.#connections.values()];
    const late = "The listener closes, and the connection was busy at the deadline";
    for (const connection of left) connection.destroy(new SpiffeError("ERR_SPIFFE_CLOSED", late, { phase: "drain" }));
    await this.closed;
    return { cut: left.length };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
