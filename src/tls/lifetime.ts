/**
 * The end of connections (S-9): each drains near the end of its certificates' life and is ended at it, and at once when
 * what it rests on is taken away. One timer serves all connections of a clock, and sleeps while there is none.
 */
import { type Clock, systemClock, timeOf } from "../base/clock.ts";
import type { Reason } from "../base/codes.ts";
import { type Refusal, refuse, type Verdict } from "../base/verdict.ts";
import type { TrustDomain } from "../id/index.ts";
import type { Certificate, X509Bundle } from "../x509/index.ts";
import { bundleOf, type TlsIdentity } from "./identity.ts";
import { internalRefusal, type JudgedPeer, type Judgement, judgeChain, settle } from "./judge.ts";
import { ownIdentityLost, ownSvid } from "./own-identity.ts";
import { rest } from "./rest.ts";

/** What is kept: a connection that can stop taking work, and end. */
export interface Mortal {
  /** Finishes what runs, takes nothing new. Called once at most. */
  drain(reason: Reason): void;
  /** Ends everything at once. */
  end(why: Refusal): void;
}

/** What connections rest on. One object for all of a listener, and one for all that an identity dials. */
export interface Ground {
  readonly identity: TlsIdentity;
  readonly clock: Clock;
  /** Why this side has no identity at the moment, if so (S-10). */
  lost(): Refusal | undefined;
}

/** What a connection was let in by, and how long it may live. */
export interface Terms {
  readonly judgement: Judgement;
  /** Absent where no certificate was asked for or shown. */
  readonly peer: JudgedPeer | undefined;
  /** Wall time in milliseconds at which the own certificate of the connection ends. */
  readonly ownEnd: number;
  readonly maxAgeMs: number;
}

/** Milliseconds between looks; also how late an end may come, and how soon a step of the wall clock is seen. */
const TICK_MS = 500;
/** Connections that are judged or ended before others get their turn. */
const AT_ONCE = 64;
/** The last part of a life, in which a connection drains, and what of it is left to every connection for that. */
const LAST_PART = 0.1;
const LEAST_PART = 0.03;

/** The bundle of one trust domain as it was at the last look. */
interface Trust {
  readonly trustDomain: TrustDomain;
  bundle: X509Bundle | undefined;
  changed: boolean;
  lives: number;
}

/** One kept connection. */
export class Life {
  readonly mortal: Mortal;
  readonly ground: Ground;
  readonly trust: Trust | undefined;
  readonly #judgement: Judgement;
  readonly #presented: readonly Uint8Array[] | undefined;
  readonly #ownEnd: number;
  /** Monotonic. */
  readonly #oldAt: number;
  readonly #oldDrainAt: number;
  #anchor: Certificate | undefined;
  #peerEnd: number;
  #drainAt: number;
  #draining = false;
  readonly #keeper: Keeper;

  constructor(keeper: Keeper, mortal: Mortal, ground: Ground, trust: Trust | undefined, terms: Terms) {
    const { clock } = ground;
    const { judgement, peer, ownEnd, maxAgeMs } = terms;
    this.#judgement = judgement;
    this.#keeper = keeper;
    this.mortal = mortal;
    this.ground = ground;
    this.trust = trust;
    this.#presented = peer?.presented;
    this.#anchor = peer?.verified.chain.at(-1);
    this.#ownEnd = ownEnd;
    this.#peerEnd = peer?.verified.expiresAt.getTime() ?? Infinity;
    this.#drainAt = drainPoint(timeOf(clock), Math.min(this.#ownEnd, this.#peerEnd));
    const born = clock.monotonic();
    this.#oldAt = born + maxAgeMs;
    this.#oldDrainAt = drainPoint(born, this.#oldAt);
  }

  /** Why it ends now, if so. */
  verdict(now: number, monotonic: number): Refusal | undefined {
    if (!(now < this.#peerEnd)) return refuse("x509.expired", "The certificate of the peer ended");
    if (!(now < this.#ownEnd)) return refuse("peer.own-expired", "The own certificate of this connection ended");
    if (!(monotonic < this.#oldAt)) return refuse("peer.max-age", "The connection reached its greatest age");
    if (this.trust?.changed !== true || this.trust.bundle?.has(this.#anchor!) === true) return undefined;
    return this.judgeAgain();
  }

  /** Judges the peer by what it showed at first; a refusal if it would not be let in now. */
  judgeAgain(decide?: () => Verdict<unknown>): Refusal | undefined {
    if (this.#presented !== undefined) {
      const verdict = judgeChain(this.#presented, this.#judgement);
      if (verdict.ok !== true) return verdict;
      this.#anchor = verdict.value.chain.at(-1);
      this.#peerEnd = verdict.value.expiresAt.getTime();
    }
    if (decide === undefined) return undefined;
    try {
      const decided = decide();
      if (decided?.ok === true) return undefined;
      settle(decided);
      return decided?.ok === false ? decided : refuse("peer.internal", "The decision gave no verdict");
    } catch (error) {
      return internalRefusal(error);
    }
  }

  drainIfDue(now: number, monotonic: number): void {
    if (this.#draining) return;
    const old = this.#oldDrainAt <= monotonic;
    if (!old && !(this.#drainAt <= now)) return;
    this.#draining = true;
    this.mortal.drain(old ? "peer.max-age" : this.#ownEnd < this.#peerEnd ? "peer.own-expired" : "x509.expired");
  }

  /** The wall time before which nothing is due, and the monotonic one. */
  get nextAt(): number {
    return Math.min(this.#peerEnd, this.#ownEnd, this.#draining ? Infinity : this.#drainAt);
  }

  get nextOldAt(): number {
    return this.#draining ? this.#oldAt : this.#oldDrainAt;
  }

  /** Has to be called when the connection is gone. */
  release(): void {
    this.#keeper.release(this);
  }
}

/** The connections of one ground, and when the first of them is due. */
interface Group {
  readonly lives: Set<Life>;
  readonly trusts: Map<string, Trust>;
  nextAt: number;
  nextOldAt: number;
}

class Keeper {
  readonly #clock: Clock;
  readonly #groups = new Map<Ground, Group>();
  #stop: AbortController | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  add(mortal: Mortal, ground: Ground, terms: Terms): Life {
    let group = this.#groups.get(ground);
    if (group === undefined) {
      group = { lives: new Set(), trusts: new Map(), nextAt: Infinity, nextOldAt: Infinity };
      this.#groups.set(ground, group);
    }
    const life = new Life(this, mortal, ground, terms.peer && trustOf(group, ground, terms.peer), terms);
    group.lives.add(life);
    dueFrom(group, life);
    if (this.#stop === undefined) {
      this.#stop = new AbortController();
      void this.#run(this.#stop.signal);
    }
    return life;
  }

  release(life: Life): void {
    const group = this.#groups.get(life.ground);
    if (group?.lives.delete(life) !== true) return;
    if (life.trust !== undefined && --life.trust.lives === 0) group.trusts.delete(life.trust.trustDomain.name);
    if (group.lives.size === 0) this.#groups.delete(life.ground);
    if (this.#groups.size > 0) return;
    this.#stop?.abort();
    this.#stop = undefined;
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await rest(this.#clock, TICK_MS, signal);
      } catch {
        // A clock that can not wait must not keep connections alive.
        await rest(systemClock, TICK_MS, signal).catch(() => {});
      }
      if (signal.aborted) return;
      for (const [ground, group] of [...this.#groups]) await this.#look(ground, group);
    }
  }

  async #look(ground: Ground, group: Group): Promise<void> {
    const now = timeOf(this.#clock);
    const monotonic = monotonicOf(this.#clock);
    const lost = lossOf(ground);
    let changed = false;
    for (const trust of group.trusts.values()) {
      const bundle = bundleOf(ground.identity, trust.trustDomain);
      trust.changed = bundle !== trust.bundle;
      trust.bundle = bundle;
      changed ||= trust.changed;
    }
    // A time that is no number is later than everything: doubt keeps nothing alive.
    if (lost === undefined && !changed && now < group.nextAt && monotonic < group.nextOldAt) return;
    group.nextAt = Infinity;
    group.nextOldAt = Infinity;
    let costly = 0;
    for (const life of [...group.lives]) {
      // Those that ended in the turns of others.
      if (!group.lives.has(life)) continue;
      const why = lost ?? life.verdict(now, monotonic);
      if (why !== undefined) life.release();
      try {
        if (why === undefined) life.drainIfDue(now, monotonic);
        else life.mortal.end(why);
      } catch {
        // What one connection's owner throws must not keep the others alive.
      }
      if (why === undefined) dueFrom(group, life);
      if ((why !== undefined || life.trust?.changed === true) && ++costly % AT_ONCE === 0) await turnOfOthers();
    }
  }
}

function turnOfOthers(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** No number where the clock throws. */
function monotonicOf(clock: Clock): number {
  try {
    return clock.monotonic();
  } catch {
    return Number.NaN;
  }
}

function dueFrom(group: Group, life: Life): void {
  group.nextAt = Math.min(group.nextAt, life.nextAt);
  group.nextOldAt = Math.min(group.nextOldAt, life.nextOldAt);
}

function trustOf(group: Group, ground: Ground, { verified }: JudgedPeer): Trust {
  const { trustDomain } = verified.id;
  let trust = group.trusts.get(trustDomain.name);
  if (trust === undefined) {
    trust = { trustDomain, bundle: bundleOf(ground.identity, trustDomain), changed: false, lives: 0 };
    group.trusts.set(trustDomain.name, trust);
  }
  trust.lives++;
  return trust;
}

function lossOf(ground: Ground): Refusal | undefined {
  try {
    return ground.lost();
  } catch (error) {
    return internalRefusal(error);
  }
}

const grounds = new WeakMap<TlsIdentity, Map<Clock, Ground>>();

/** What all connections rest on that an identity dials. */
export function groundOf(identity: TlsIdentity, clock: Clock): Ground {
  let ofClock = grounds.get(identity);
  if (ofClock === undefined) {
    ofClock = new Map();
    grounds.set(identity, ofClock);
  }
  let ground = ofClock.get(clock);
  if (ground === undefined) {
    ground = { identity, clock, lost: () => ownLoss(identity, clock) };
    ofClock.set(clock, ground);
  }
  return ground;
}

/** Why this side has no SVID, if so. */
export function ownLoss(identity: TlsIdentity, clock: Clock): Refusal | undefined {
  try {
    ownSvid(identity, clock);
    return undefined;
  } catch (error) {
    return ownIdentityLost(error);
  }
}

const keepers = new WeakMap<Clock, Keeper>();

/** Watches a connection until its life is released. */
export function keep(mortal: Mortal, ground: Ground, terms: Terms): Life {
  const { clock } = ground;
  let keeper = keepers.get(clock);
  if (keeper === undefined) {
    keeper = new Keeper(clock);
    keepers.set(clock, keeper);
  }
  return keeper.add(mortal, ground, terms);
}

/** A point in the last tenth of the time from `now` to `endAt`, spread so that connections do not drain together. */
export function drainPoint(now: number, endAt: number): number {
  if (endAt === Infinity) return Infinity;
  return endAt - (endAt - now) * (LEAST_PART + (LAST_PART - LEAST_PART) * Math.random());
}
