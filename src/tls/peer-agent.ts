/** An agent for `node:https` whose every connection is verified before HTTP gets it. */
import { Agent, type AgentOptions, type ClientRequest } from "node:http";
import type { Duplex } from "node:stream";
import type { Clock } from "../base/clock.ts";
import type { SpiffeError } from "../base/errors.ts";
import { capabilities } from "../runtime/capabilities.ts";
import { authorizerFor, expectationOf, type PeerExpectation } from "./authorizers.ts";
import { inRange, onlyKnown, usage, wholeInRange } from "./check-options.ts";
import { connect, type VerifiedConnection } from "./connect.ts";
import { bundleOf, type TlsIdentity } from "./identity.ts";
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

const KNOWN = [
  "peer",
  "keepAlive",
  "maxSockets",
  "maxTotalSockets",
  "maxFreeSockets",
  "servername",
  "connectTimeoutMs",
  "clock",
];

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
    connect(identity, {
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
  return new PeerAgent(identity, dial, asks, new Places(maxTotalSockets), { keepAlive, maxSockets, maxFreeSockets });
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
  readonly #identity: TlsIdentity;
  readonly #dial: Dial;
  /** Whether who may answer is asked anew at each use. */
  readonly #asks: boolean;
  readonly #places: Places;
  readonly #isCurrent = new WeakMap<object, () => boolean>();
  /** Dials under way, by name: the agent counts a connection only once it is there. */
  readonly #dials = new Map<string, number>();
  /** Requests that wait for a dial to be over, by name. */
  readonly #held = new Map<string, Held[]>();

  constructor(identity: TlsIdentity, dial: Dial, asks: boolean, places: Places, options: AgentOptions) {
    super(options);
    this.#identity = identity;
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
      if (this.#places.wanted && !this.#isAskedFor(options)) socket.destroy();
    });
  }

  /** Whether a request waits for a connection with these options to be free. */
  #isAskedFor(options: object): boolean {
    const name = this.#nameOf(options);
    return (this.requests[name]?.length ?? 0) > 0 || this.#held.has(name);
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
    for (const socket of [...(this.freeSockets[name] ?? [])]) this.#endIfStale(socket);
    if (!this.#overfull(name)) return void inside.addRequest.call(this, request, options);
    const held = this.#held.get(name);
    if (held === undefined) this.#held.set(name, [{ request, options }]);
    else held.push({ request, options });
  }

  #nameOf(options: object): string {
    return inside.getName.call(this, options);
  }

  /** Whether the dials under way will make as many connections of a name as there may be. */
  #overfull(name: string): boolean {
    const dials = this.#dials.get(name) ?? 0;
    if (dials === 0 || (this.freeSockets[name]?.length ?? 0) > 0) return false;
    return (this.sockets[name]?.length ?? 0) + dials >= this.maxSockets;
  }

  #dialBegins(name: string): void {
    this.#dials.set(name, (this.#dials.get(name) ?? 0) + 1);
  }

  /** Lets those on that waited for it: to its connection, or to a dial in its place. */
  #dialIsOver(name: string): void {
    const left = (this.#dials.get(name) ?? 1) - 1;
    if (left > 0) this.#dials.set(name, left);
    else this.#dials.delete(name);
    const held = this.#held.get(name);
    this.#held.delete(name);
    for (const { request, options } of held ?? []) this.addRequest(request, options);
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
        } finally {
          this.#dialIsOver(name);
        }
      }),
    );
  }

  #open(target: DialTarget, leave: () => void, callback: (error: Error | null, socket: Duplex) => void): void {
    const { x509 } = this.#identity;
    // What is there when the dial begins decides; what comes meanwhile makes the connection one that is not used twice.
    const own = attempt(() => x509.x509Svid());
    let drains = false;
    const onDrain = () => {
      drains = true;
    };
    this.#dial(target, onDrain).then(
      ({ socket, peer, rejudge }) => {
        socket.once("close", leave);
        if (socket.destroyed) leave();
        const { trustDomain } = peer.id;
        const bundle = bundleOf(this.#identity, trustDomain);
        this.#isCurrent.set(socket, () => {
          const now = bundleOf(this.#identity, trustDomain);
          if (drains || x509.x509Svid() !== own || bundle === undefined || now?.equals(bundle) !== true) return false;
          return !this.#asks || rejudge().ok === true;
        });
        // The bundle that was noted has to be one that vouches: it may have changed since the verdict.
        if (rejudge().ok !== true) socket.destroy();
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
