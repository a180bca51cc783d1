/** Before TLS: how many connections there may be, who may shake hands, and for whom a load balancer speaks. */
import type { Http2SecureServer } from "node:http2";
import { createServer as createPlainServer, type Server, type Socket } from "node:net";
import type { Clock } from "../base/clock.ts";
import { type Refusal, refuse } from "../base/verdict.ts";
import type { ProxiedAddress } from "../encoding/proxy-protocol.ts";
import { capabilities } from "../runtime/capabilities.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { ListenerCounters } from "./counters.ts";
import { HandshakeDeadlines } from "./handshake-deadlines.ts";
import { Handshakes, MAX_HANDSHAKES } from "./handshakes.ts";
import { ProxyList, type ProxyProtocolOptions, readHeaderOf } from "./proxy-gate.ts";
import type { ServerCertificate } from "./server-certificate.ts";
import { takeListeners } from "./taken-listeners.ts";
import { Throttle, type ThrottleLimits } from "./throttle.ts";

/** What a gate is made with. */
export interface GateRooms {
  readonly counters: ListenerCounters;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly throttle: ThrottleLimits | undefined;
  readonly proxyProtocol: ProxyProtocolOptions | undefined;
  readonly maxConnections: number;
  readonly handshakeTimeoutMs: number;
  /** What the handshakes that begin now are done with. */
  served(): ServerCertificate;
  /** Hears that a connection is gone that had not finished its handshake. */
  gone(): void;
  /** Hears of each connection that is refused here; what is no news is not logged. */
  report(refusal: Refusal, address: string | undefined, port: number | undefined, isNews: boolean): void;
}

/** How TLS stacks say that a handshake message is larger than they take. */
const TOO_LARGE = /EXCESSIVE_MESSAGE_SIZE|HandshakePayloadTooLarge/;

function ignore(): void {}

/** The gate of a TLS server; put up before anything else listens for its handshakes. */
export class ConnectionGate {
  /** What listens: the TLS server itself, or a plain server before it. */
  readonly door: Server;
  readonly #rooms: GateRooms;
  readonly #throttle: Throttle | undefined;
  readonly #proxies: ProxyList | undefined;
  /** Addresses of callers behind load balancers, by TCP socket. */
  readonly #behind = new WeakMap<object, ProxiedAddress>();
  readonly #shutOut = new WeakSet<object>();
  /** TCP sockets before the end of their handshake, with the certificate it is done with. */
  readonly #pending = new Map<object, ServerCertificate>();
  /** How many of them there may be, and whose. */
  readonly #handshakes = new Handshakes<Socket>();
  /** TLS has a time of its own, but it begins when TLS does. */
  readonly #deadlines: HandshakeDeadlines<Socket>;
  #full = false;

  constructor(server: Http2SecureServer, rooms: GateRooms) {
    this.#rooms = rooms;
    const { throttle, proxyProtocol, clock, handshakeTimeoutMs } = rooms;
    if (throttle !== undefined) this.#throttle = new Throttle(throttle, clock);
    this.#deadlines = new HandshakeDeadlines(clock, handshakeTimeoutMs, (socket) => {
      rooms.counters.timedOut++;
      this.#shut(socket);
    });
    this.#proxies = proxyProtocol === undefined ? undefined : new ProxyList(proxyProtocol.from);
    const inFront = this.#proxies !== undefined && capabilities.beforeTls.value === "front-server";
    this.door = inFront ? createPlainServer({ allowHalfOpen: true, noDelay: true }) : server;
    this.#watch(server);
  }

  /**
   * A handshake is over: the certificate it was done with, and the caller where the socket itself does not tell it: who is
   * behind a load balancer, and who has reset the connection by now.
   */
  passed(socket: object): { shown: ServerCertificate | undefined; caller: ProxiedAddress | undefined } {
    const tcp = tcpOf(socket) as Socket;
    const shown = this.#pending.get(tcp);
    this.#settled(tcp);
    // of a connection that was reset the system tells no address, and the socket below only what it was asked for before
    const { remoteAddress: address, remotePort: port } = tcp;
    const isLost = (socket as Socket).remoteAddress === undefined && address !== undefined && port !== undefined;
    return { shown, caller: this.#behind.get(tcp) ?? (isLost ? { address, port } : undefined) };
  }

  /** Counts a refused handshake against its address; one too many ends those that it has begun meanwhile, too. */
  refused(address: string): void {
    const throttle = this.#throttle;
    throttle?.refused(address);
    if (throttle?.isShut(address) !== true) return;
    for (const tcp of [...this.#pending.keys()]) {
      const caller = this.#callerOf(tcp as Socket);
      if (this.#isShut(tcp as Socket, caller?.address, caller?.port)) this.#settled(tcp);
    }
  }

  /** Who a connection comes from: nobody yet, while a load balancer has not said for whom. */
  #callerOf(tcp: Socket): { address: string | undefined; port: number | undefined } | undefined {
    const { remoteAddress: address, remotePort: port } = tcp;
    return this.#behind.get(tcp) ?? (this.#proxies?.has(address) === true ? undefined : { address, port });
  }

  /** Connections that have not finished their handshake. */
  get pending(): number {
    return this.#pending.size;
  }

  /** Ends what has not finished its handshake. */
  endPending(): void {
    for (const socket of [...this.#pending.keys()]) (socket as Socket).destroy();
    this.#deadlines.stop();
  }

  /** Addresses that were refused too often get no handshake (S-7). */
  #watch(server: Http2SecureServer): void {
    const { counters } = this.#rooms;
    const own = takeListeners(server, "connection");
    const start = (socket: Socket) => {
      for (const listener of own) Reflect.apply(listener, server, [socket]);
    };
    const waits = capabilities.tlsInput.value === "by-first-bytes";
    const begin = waits ? (socket: Socket) => this.#startWithBytes(socket, start) : start;
    this.door.on("connection", (socket: Socket) => {
      if (this.#isFull()) {
        counters.overLimit++;
        this.#shut(socket);
        return;
      }
      const { remoteAddress, remotePort } = socket;
      if (this.#proxies?.has(remoteAddress) === true) return void this.#admitProxied(socket, begin);
      if (this.#isShut(socket, remoteAddress, remotePort)) return;
      if (!this.#await(socket, remoteAddress)) return;
      begin(socket);
    });
    server.on("tlsClientError", (error: Error & { code?: string }, socket?: object) => {
      // A connection shut out above breaks in TLS as well on one runtime; it is counted once.
      if (socket !== undefined && (this.#shutOut.has(socket) || this.#shutOut.has(tcpOf(socket)))) return;
      if (socket !== undefined) this.#settled(tcpOf(socket));
      if (error.code === "ERR_TLS_HANDSHAKE_TIMEOUT" || error.message === "TLS handshake timeout") counters.timedOut++;
      else counters.failed++;
      // A chain above the stack's own bounds is refused like one above ours.
      if (socket === undefined || !TOO_LARGE.test(`${error.code} ${error.message}`)) return;
      const caller = this.#callerOf(tcpOf(socket) as Socket);
      if (caller?.address !== undefined) this.refused(caller.address);
    });
  }

  /** Whether an address is shut out; its connection is closed then. */
  #isShut(socket: Socket, address: string | undefined, port: number | undefined): boolean {
    if (address === undefined || this.#throttle?.isShut(address) !== true) return false;
    this.#rooms.counters.throttled++;
    this.#shut(socket);
    const refusal = refuse("peer.throttled", "Too many refused handshakes from this address");
    // a line for each would let a stranger fill the log
    this.#rooms.report(refusal, address, port, this.#throttle.isNews(address));
    return true;
  }

  /** Notes a connection whose handshake is to come; false when there is no place for it, and it is closed. */
  #await(socket: Socket, address: string | undefined): boolean {
    const leaving = this.#handshakes.add(socket, address);
    if (leaving !== undefined) {
      this.#rooms.counters.overLimit++;
      this.#warnFull("as many handshakes as there may be at a time; more are closed", { handshakes: MAX_HANDSHAKES });
      this.#shut(leaving);
      if (leaving === socket) return false;
    }
    this.#pending.set(socket, this.#rooms.served());
    this.#deadlines.add(socket);
    // not once(): its wrapper would stay as long as the connection
    socket.on("close", () => {
      this.#settled(socket);
      this.#rooms.gone();
    });
    return true;
  }

  /** A handshake is over, or its connection. */
  #settled(tcp: object): void {
    this.#pending.delete(tcp);
    this.#handshakes.over(tcp);
    this.#deadlines.over(tcp);
  }

  /** Starts TLS once bytes are there, which then makes its buffer no larger than they are. */
  #startWithBytes(socket: Socket, start: (socket: Socket) => void): void {
    const { counters, served } = this.#rooms;
    const lost = () => void (this.#shutOut.has(socket) || counters.failed++);
    const come = () => {
      // what ended without a byte is readable, too
      if (socket.destroyed || socket.readableLength === 0) return void socket.destroy();
      socket.off("close", lost);
      // it may have waited through a rotation
      this.#pending.set(socket, served());
      start(socket);
    };
    if (socket.readableLength > 0) come();
    else socket.on("error", ignore).once("close", lost).once("readable", come);
  }

  /** A connection of a load balancer: its header first, and then the caller behind it as if it had come by itself. */
  async #admitProxied(socket: Socket, begin: (socket: Socket) => void): Promise<void> {
    const { counters, report, served } = this.#rooms;
    const { remoteAddress, remotePort } = socket;
    socket.on("error", ignore);
    if (!this.#await(socket, remoteAddress)) return;
    const header = await readHeaderOf(socket);
    if (socket.destroyed) return;
    if (header.ok !== true) {
      // counted as a refusal, and not against the load balancer: all of its callers would be shut out
      counters.refused++;
      counters.reasons[header.reason] = (counters.reasons[header.reason] ?? 0) + 1;
      this.#shut(socket);
      return report(header, remoteAddress, remotePort, true);
    }
    const { source } = header.value;
    if (source !== undefined) {
      if (this.#isShut(socket, source.address, source.port)) return;
      this.#behind.set(socket, source);
      // one caller of a load balancer takes no places from its others
      this.#handshakes.move(socket, source.address);
    }
    // it may have begun before a rotation
    this.#pending.set(socket, served());
    begin(socket);
  }

  /** Whether there is room for one more; says so once each time there is none. */
  #isFull(): boolean {
    const { counters, maxConnections } = this.#rooms;
    const full = this.#pending.size + counters.open >= maxConnections;
    if (full) this.#warnFull("as many connections as are allowed; more are closed before TLS", { maxConnections });
    else if (this.#handshakes.size < MAX_HANDSHAKES) this.#full = false;
    return full;
  }

  /** Says so once, until there is room again. */
  #warnFull(what: string, most: Readonly<Record<string, number>>): void {
    if (!this.#full) this.#rooms.logger.warn(what, most);
    this.#full = true;
  }

  #shut(socket: Socket): void {
    this.#shutOut.add(socket);
    socket.on("error", ignore);
    socket.destroy();
  }
}

/** The TCP socket below: itself on one runtime, its `_parent` on the others. */
function tcpOf(socket: object): object {
  return (socket as { _parent?: object | null })._parent ?? socket;
}
