/** Connections kept for the next request, each used again only where a new one would be verified by the very same things (S-6). */
import type { Duplex } from "node:stream";
import type { Clock } from "../base/clock.ts";
import type { X509Svid } from "../x509/index.ts";
import type { VerifiedConnection } from "./connect.ts";
import type { CallEvents, UpstreamRequest } from "./http1/call.ts";
import type { Http1Call } from "./http1/connection.ts";
import { Http1Pool } from "./http1/pool.ts";
import type { TlsIdentity } from "./identity.ts";
import { ownSvid } from "./own-identity.ts";
import { rest } from "./rest.ts";
import { isOwn } from "./snapshot.ts";

/** Keys of a pool at most; the one that was used longest ago goes first. */
const MAX_KEYS = 128;
/** Idle connections of one key. */
const MAX_IDLE = 8;
/** Connections of a key that no request used for so long, or up to twice as long, are closed. */
const IDLE_MS = 30_000;

/** Opens a verified connection; `onDrain` hears when it should be used no more. */
export type Dial = (signal: AbortSignal | undefined, onDrain: () => void) => Promise<VerifiedConnection>;

/** Connections to one address, for one expectation, verified with one state of own SVID and bundles. */
export class KeptConnections {
  readonly #identity: TlsIdentity;
  readonly #own: X509Svid;
  readonly #dial: Dial;
  readonly #clock: Clock;
  readonly #pool: Http1Pool;
  /** Of the trust domains of the peers so far: whether its bundle is still what the first connection was verified with. */
  readonly #same = new Map<string, () => boolean>();
  #retired = false;
  used = true;

  constructor(identity: TlsIdentity, own: X509Svid, dial: Dial, clock: Clock) {
    this.#identity = identity;
    this.#own = own;
    this.#dial = dial;
    this.#clock = clock;
    this.#pool = new Http1Pool((signal) => this.#open(signal), clock, MAX_IDLE);
  }

  /** Begins a call on an idle connection, or on a new one. Throws for a request that cannot be written. */
  begin(request: UpstreamRequest, events: CallEvents, signal: AbortSignal | undefined): Http1Call {
    return this.#pool.begin(request, events, signal);
  }

  async #open(signal: AbortSignal | undefined): Promise<Duplex> {
    const { socket, peer, isCurrent } = await this.#dial(signal, () => this.retire());
    const { name } = peer.id.trustDomain;
    if (!this.#same.has(name)) this.#same.set(name, isCurrent);
    if (!this.isCurrent) this.retire();
    return socket;
  }

  /** Whether a connection made now would be judged by the same SVID and bundles. */
  get isCurrent(): boolean {
    if (this.#retired || !isOwn(this.#own, this.#identity, this.#clock)) return false;
    for (const isSame of this.#same.values()) if (!isSame()) return false;
    return true;
  }

  /** Ends what is idle; what is busy ends after its answer. */
  retire(): void {
    this.#retired = true;
    this.#pool.retire();
  }
}

/** The kept connections of one identity, bounded. */
export class Pool {
  readonly #identity: TlsIdentity;
  readonly #clock: Clock;
  readonly #kept = new Map<string, KeptConnections>();
  #stop: AbortController | undefined;

  constructor(identity: TlsIdentity, clock: Clock) {
    this.#identity = identity;
    this.#clock = clock;
  }

  /** Keys that hold connections. */
  get size(): number {
    return this.#kept.size;
  }

  /** The connections of a key that fit the newest snapshot; throws what the identity throws while it has no SVID. */
  take(key: string, dial: Dial): KeptConnections {
    let kept = this.#kept.get(key);
    if (kept?.isCurrent !== true) {
      kept?.retire();
      kept = new KeptConnections(this.#identity, ownSvid(this.#identity, this.#clock), dial, this.#clock);
    }
    kept.used = true;
    // Map order is age: the key moves to the young end.
    this.#kept.delete(key);
    this.#kept.set(key, kept);
    if (this.#kept.size > MAX_KEYS) this.#drop(this.#kept.keys().next().value!);
    if (this.#stop === undefined) {
      this.#stop = new AbortController();
      void this.#sweep(this.#stop.signal);
    }
    return kept;
  }

  async #sweep(signal: AbortSignal): Promise<void> {
    while (this.#kept.size > 0) {
      await rest(this.#clock, IDLE_MS, signal).catch(() => {});
      for (const [key, kept] of [...this.#kept]) {
        if (!kept.used) this.#drop(key);
        kept.used = false;
      }
    }
    this.#stop = undefined;
  }

  #drop(key: string): void {
    this.#kept.get(key)?.retire();
    this.#kept.delete(key);
  }
}

const pools = new WeakMap<TlsIdentity, Map<Clock, Pool>>();

/** The pool of all that dial with an identity. */
export function poolOf(identity: TlsIdentity, clock: Clock): Pool {
  let ofClock = pools.get(identity);
  if (ofClock === undefined) {
    ofClock = new Map();
    pools.set(identity, ofClock);
  }
  let pool = ofClock.get(clock);
  if (pool === undefined) {
    pool = new Pool(identity, clock);
    ofClock.set(clock, pool);
  }
  return pool;
}
