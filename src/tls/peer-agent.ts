/** An agent for `node:https` whose every connection is verified before HTTP gets it. */
import { Agent, type AgentOptions, type ClientRequest } from "node:http";
import type { Duplex } from "node:stream";
import { inRange, type OptionNames, onlyKnown, usage, wholeInRange } from "../base/check-options.ts";
import type { Clock } from "../base/clock.ts";
import type { SpiffeError } from "../base/errors.ts";
import { capabilities } from "../runtime/capabilities.ts";
import { authorizerFor, expectationOf, type PeerExpectation } from "./authorizers.ts";
import { connectVouched, type VerifiedConnection } from "./connect.ts";
import { dialError } from "./connect-errors.ts";
import type { TlsIdentity } from "./identity.ts";
import { Places } from "./places.ts";
import { addressOf, type DialTarget } from "./tls-options.ts";

/** Options of {@link createAgent}. */
export interface PeerAgentOptions {
  /** Who must answer. Has no default. */
  peer: PeerExpectation;
  /** Whether connections are used again. Default true; on Deno false, where its agent would send a request twice. */
  keepAlive?: boolean;
  /** Connections per host and port, at most, those that are opened just now included. Default: no limit. */
  maxSockets?: number;
  /**
   * Connections over all hosts, at most, those that are opened just now included. One more waits, and an idle one makes
   * room for it. Default 1,024.
   */
  maxTotalSockets?: number;
  /** Idle connections per host and port, at most. Default 256. */
  maxFreeSockets?: number;
  /** Server name to send instead of the dialled host. */
  servername?: string;
  /** Milliseconds to a verified connection. Default 10,000. */
  connectTimeoutMs?: number;
  clock?: Clock;
}

const KNOWN: OptionNames<PeerAgentOptions> = {
  peer: true,
  keepAlive: true,
  maxSockets: true,
  maxTotalSockets: true,
  maxFreeSockets: true,
  servername: true,
  connectTimeoutMs: true,
  clock: true,
};

/** What a request must not bring along: each would be a second opinion on who is talked to. */
const FOREIGN = [
  "createConnection",
  "rejectUnauthorized",
  "checkServerIdentity",
  "ca",
  "cert",
  "key",
  "pfx",
  "secureContext",
  "session",
  "ALPNProtocols",
];

/**
 * Makes an agent for `https.request`, and for what is built on it, that presents the own X.509-SVID and talks to the
 * expected peer alone. A request gets its socket once TLS is done and the peer verified. An idle connection is used again
 * only while own SVID and the peer's bundle are the ones it was verified with; sessions are never resumed.
 *
 * @param identity own SVID and bundles, for example a `Workload`
 * @returns the agent; `agent.destroy()` closes its connections
 * @throws SpiffeError `ERR_SPIFFE_USAGE` without a usable `peer`, and for an option it does not know. A request that brings
 *   `createConnection`, `rejectUnauthorized`, `ca` or other TLS options along throws `ERR_SPIFFE_USAGE`; the errors of
 *   {@link connect} are its `error` event, and the peer has then received nothing
 * @example
 * ```ts
 * import { get } from "node:https";
 * import { Authority } from "spiffe-edge/testing";
 * import { createAgent, listen } from "spiffe-edge/tls";
 * import { Workload } from "spiffe-edge/workload";
 *
 * await using authority = await Authority.start({
 *   trustDomain: "example.org",
 *   entries: [{ id: "spiffe://example.org/orders", socket: "orders" }],
 * });
 * await using orders = await Workload.open({ socket: authority.socketFor("orders") });
 * await using server = await listen(orders, { port: 0, address: "127.0.0.1", handler: (_, res) => void res.end("42") });
 * const agent = createAgent(orders, { peer: "spiffe://example.org/orders" });
 * const status = await new Promise((resolve, reject) => {
 *   const sent = get(`https://127.0.0.1:${server.port}/`, { agent }, (answer) => {
 *     answer.resume().once("end", () => resolve(answer.statusCode));
 *   });
 *   sent.once("error", reject);
 * });
 * agent.destroy();
 * console.assert(status === 200);
 * ```
 */
export function createAgent(identity: TlsIdentity, options: PeerAgentOptions): Agent {
  onlyKnown("createAgent", options, KNOWN);
  const { keptConnections } = capabilities;
  const { keepAlive = keptConnections.value, maxSockets = Infinity, maxFreeSockets = 256 } = options;
  const { maxTotalSockets = 1_024 } = options;
  if (typeof keepAlive !== "boolean") throw usage(`Expected keepAlive to be true or false; got ${String(keepAlive)}`);
  if (keepAlive && !keptConnections.value) throw usage(`Expected no keepAlive on this runtime: ${keptConnections.why}`);
  wholeInRange("maxSockets", maxSockets, 1, Infinity);
  wholeInRange("maxTotalSockets", maxTotalSockets, 1, Infinity);
  wholeInRange("maxFreeSockets", maxFreeSockets, 1, 65_536);
  const { servername, connectTimeoutMs, clock } = options;
  inRange("connectTimeoutMs", connectTimeoutMs, 1, Infinity);
  const peer = authorizerFor(options.peer);
  const dial: Dial = (target, onDrain) =>
    connectVouched(identity, {
      ...addressOf(target),
      peer,
      alpn: ["http/1.1"],
      onDrain,
      ...(servername === undefined ? {} : { servername }),
      ...(connectTimeoutMs === undefined ? {} : { timeoutMs: connectTimeoutMs }),
      ...(clock === undefined ? {} : { clock }),
    });
  // A function may decide otherwise the next time, so it is asked each time.
  const asks = expectationOf(peer) === undefined;
  return new PeerAgent(dial, asks, new Places(maxTotalSockets), { keepAlive, maxSockets, maxFreeSockets });
}

/** Members that every runtime's agent has and their types leave out. */
interface AgentInside {
  addRequest(request: ClientRequest, options: object): void;
  getName(options: object): string;
}

// The forms of the class itself: what a program puts on one agent changes nothing here.
const inside = Agent.prototype as unknown as AgentInside;

interface Held {
  readonly request: ClientRequest;
  readonly options: object;
}

type Dial = (target: DialTarget, onDrain: () => void) => Promise<VerifiedConnection>;

// Built on the agent of plain HTTP: that one neither does TLS by itself nor remembers sessions.
class PeerAgent extends Agent {
  readonly protocol = "https:";
  readonly defaultPort = 443;
  readonly #dial: Dial;
  /** Whether who may answer is asked anew at each use. */
  readonly #asks: boolean;
  readonly #places: Places;
  readonly #isCurrent = new WeakMap<object, () => boolean>();
  /** Dials under way, by name: the agent counts a connection only once it is there. */
  readonly #dials = new Map<string, number>();
  /**
   * Requests that wait for a connection, by name, in the order in which they came. Not in the agent's own queue: a dial that
   * fails there wakes nobody, and its error may go to a request that another connection carries by then (Node 26.10).
   */
  readonly #held = new Map<string, Held[]>();

  constructor(dial: Dial, asks: boolean, places: Places, options: AgentOptions) {
    super(options);
    this.#dial = dial;
    this.#asks = asks;
    this.#places = places;
    const createConnection = this.createConnection.bind(this);
    Object.defineProperty(this, "createConnection", {
      get: () => createConnection,
      set: () => {
        throw overridden("createConnection");
      },
    });
    // Before the agent's own listener gives it to the next request.
    this.prependListener("free", (socket: Duplex, options: object) => {
      this.#endIfStale(socket);
      if (this.#places.wanted && !this.#held.has(this.#nameOf(options))) socket.destroy();
    });
    this.on("free", (_socket: Duplex, options: object) => this.#goOn(this.#nameOf(options)));
  }

  /** Ends the connection that is idle for longest, of whatever host. */
  #endIdle(): void {
    for (const sockets of Object.values(this.freeSockets)) {
      const idle = sockets?.find(({ destroyed }) => !destroyed);
      if (idle !== undefined) return void idle.destroy();
    }
  }

  /** Every request comes in here. */
  addRequest(request: ClientRequest, options: object): void {
    for (const name of FOREIGN) {
      if ((options as Record<string, unknown>)[name] !== undefined) throw overridden(name);
    }
    const name = this.#nameOf(options);
    if (!this.#overfull(name)) return void inside.addRequest.call(this, request, options);
    const held = this.#held.get(name);
    if (held === undefined) this.#held.set(name, [{ request, options }]);
    else held.push({ request, options });
  }

  /** Lets those on that wait, as far as there is a connection for them or room for one. */
  #goOn(name: string): void {
    for (let held = this.#held.get(name); held !== undefined; held = this.#held.get(name)) {
      if (this.#overfull(name)) return;
      const { request, options } = held.shift()!;
      if (held.length === 0) this.#held.delete(name);
      inside.addRequest.call(this, request, options);
    }
  }

  #nameOf(options: object): string {
    return inside.getName.call(this, options);
  }

  /** Whether there is neither an idle connection of a name that may be used again, nor room for one more. */
  #overfull(name: string): boolean {
    const idle = this.freeSockets[name] ?? [];
    for (const socket of [...idle]) {
      this.#endIfStale(socket);
      // the agent would give out one that has ended, unless it is its first
      if (socket.destroyed && idle.includes(socket)) idle.splice(idle.indexOf(socket), 1);
    }
    if (idle.length > 0) return false;
    return (this.sockets[name]?.length ?? 0) + (this.#dials.get(name) ?? 0) >= this.maxSockets;
  }

  #dialBegins(name: string): void {
    this.#dials.set(name, (this.#dials.get(name) ?? 0) + 1);
  }

  /** A dial is over, by a connection or by an error. */
  #dialIsOver(name: string): void {
    const left = (this.#dials.get(name) ?? 1) - 1;
    if (left > 0) this.#dials.set(name, left);
    else this.#dials.delete(name);
    this.#goOn(name);
  }

  override createConnection(target: object, callback?: (error: Error | null, socket: Duplex) => void): undefined {
    if (callback === undefined)
      throw usage("Expected this agent to be used by https.request; another part wants a socket at once");
    const name = this.#nameOf(target);
    this.#dialBegins(name);
    const placed = this.#places.take();
    if (this.#places.wanted) this.#endIdle();
    void placed.then((leave) =>
      this.#open(target as DialTarget, leave, (error, socket) => {
        try {
          callback(error, socket);
          // each after the agent, which then no longer counts it
          if (error === null) for (const left of ["close", "agentRemove"]) socket.once(left, () => this.#goOn(name));
        } finally {
          this.#dialIsOver(name);
        }
      }),
    );
  }

  #open(target: DialTarget, leave: () => void, callback: (error: Error | null, socket: Duplex) => void): void {
    let drains = false;
    const onDrain = () => {
      drains = true;
    };
    this.#dial(target, onDrain).then(
      ({ socket, isCurrent, rejudge }) => {
        if (socket.destroyed) {
          leave();
          return callback(dialError(new Error("closed"), addressOf(target), "handshake"), undefined as never);
        }
        socket.once("close", leave);
        this.#isCurrent.set(socket, () => !drains && isCurrent() && (!this.#asks || rejudge().ok === true));
        callback(null, socket);
      },
      (error: Error) => {
        leave();
        callback(error, undefined as never);
      },
    );
  }

  #endIfStale(socket: Duplex): void {
    if (attempt(() => this.#isCurrent.get(socket)?.()) !== true) socket.destroy();
  }
}

function attempt<T>(get: () => T): T | undefined {
  try {
    return get();
  } catch {
    return undefined;
  }
}

function overridden(name: string): SpiffeError {
  return usage(
    `Expected the agent to decide who is talked to; a request or program sets ${name}`,
    "Leave TLS options out of the request, and make another agent where another peer is expected",
  );
}
