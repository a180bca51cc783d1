/** Fetched JWT-SVIDs, kept as long as they are worth handing out. Bounded, and empty after a redaction (S-20). */
import type { Clock } from "../base/clock.ts";
import { SpiffeError } from "../base/errors.ts";
import type { JwtSvid } from "../jwt/index.ts";

const MAX_TOKENS = 1_000;
/** A token this close to its end is not handed out: it would expire on its way. */
const MARGIN_MS = 5_000;
/** A renewal that failed is tried again after this time, doubled each time. */
const RETRY_START_MS = 1_000;
const RETRY_CAP_MS = 30_000;
/** The longest time between two looks at what is held. */
const LOOK_MS = 60_000;

/** A held token. Its times are of the monotonic clock, which neither the agent nor a correction of the wall clock moves. */
interface Entry {
  readonly svid: JwtSvid;
  readonly ask: () => Promise<JwtSvid>;
  /** What was left of its life when it was asked for. */
  readonly lifeMs: number;
  readonly endsAt: number;
  renewAt: number;
  /** As of the last look at all; those who are served only count, as reading a clock costs more than the rest. */
  usedAt: number;
  /** Number of the last use among all uses. */
  use: number;
  failures: number;
}

/** A fetch under way. */
interface Flight {
  readonly svid: Promise<JwtSvid>;
  usedAt: number;
}

/**
 * The key of a request: whose token, for which set of audiences. Lengths stand before the parts, so that no choice of
 * names makes two requests look like one.
 */
export function cacheKey(identity: string, audience: readonly string[]): string {
  let key = `${identity.length}:${identity}`;
  for (const name of audience.length > 1 ? [...audience].sort() : audience) key += `${name.length}:${name}`;
  return key;
}

/**
 * Tokens by key. While a key is used, its token is renewed in the background from half of its life on; one that nobody
 * asked for during a whole life is dropped. One timer serves all keys, and none runs while nothing is held.
 */
export class JwtCache {
  readonly #clock: Clock;
  readonly #usable: (svid: JwtSvid) => boolean;
  readonly #entries = new Map<string, Entry>();
  /** As many as callers wait for, each of whom holds more memory than a flight does. */
  readonly #flights = new Map<string, Flight>();
  #uses = 0;
  #usesSeen = 0;
  #generation = 0;
  #keeping = false;
  #look = new AbortController();

  /** @param usable judges a held token once more, such as by the current bundle */
  constructor(clock: Clock, usable: (svid: JwtSvid) => boolean) {
    this.#clock = clock;
    this.#usable = usable;
  }

  /** The token of a key, unless there is none that is worth handing out. */
  held(key: string): JwtSvid | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    if (!this.#isWorth(entry)) {
      this.#entries.delete(key);
      return undefined;
    }
    entry.use = ++this.#uses;
    return entry.svid;
  }

  /**
   * Fetches past what is held. Several callers of one key share one fetch, which goes on when a caller gives up.
   *
   * @param ask asks the agent, now and for each renewal
   */
  fetch(key: string, ask: () => Promise<JwtSvid>): Promise<JwtSvid> {
    return this.#fly(key, ask, this.#clock.monotonic());
  }

  /** Forgets every token; fetches under way are not handed out either. */
  clear(): void {
    this.#generation++;
    this.#entries.clear();
    this.#flights.clear();
    this.#look.abort();
  }

  #isWorth({ svid }: Entry): boolean {
    return svid.expiresAt.getTime() - this.#clock.now() > MARGIN_MS && this.#usable(svid);
  }

  #fly(key: string, ask: () => Promise<JwtSvid>, usedAt: number): Promise<JwtSvid> {
    const running = this.#flights.get(key);
    if (running !== undefined) {
      running.usedAt = Math.max(running.usedAt, usedAt);
      return running.svid;
    }
    const svid = this.#bring(key, ask).finally(() => {
      if (this.#flights.get(key) === flight) this.#flights.delete(key);
    });
    const flight = { svid, usedAt };
    this.#flights.set(key, flight);
    return svid;
  }

  async #bring(key: string, ask: () => Promise<JwtSvid>): Promise<JwtSvid> {
    const [wallAt, startedAt] = [this.#clock.now(), this.#clock.monotonic()];
    const generation = this.#generation;
    const svid = await ask();
    if (generation !== this.#generation) throw withdrawnMeanwhile();
    const lifeMs = svid.expiresAt.getTime() - wallAt;
    const times = { lifeMs, endsAt: startedAt + lifeMs, renewAt: startedAt + lifeMs / 2 };
    // The token held until now may have been used while this one was fetched.
    const before = this.#entries.get(key);
    const usedAt = Math.max(this.#flights.get(key)?.usedAt ?? startedAt, before?.usedAt ?? 0);
    // A token of so short a life serves those who asked for it, and nobody after them.
    if (lifeMs <= MARGIN_MS) this.#entries.delete(key);
    else this.#keep(key, { svid, ask, ...times, usedAt, use: before?.use ?? ++this.#uses, failures: 0 });
    return svid;
  }

  #keep(key: string, entry: Entry): void {
    this.#entries.set(key, entry);
    if (this.#entries.size > MAX_TOKENS) this.#entries.delete(this.#leastRecentlyUsed());
    if (this.#keeping) this.#look.abort();
    else void this.#keepTime();
  }

  #leastRecentlyUsed(): string {
    let oldest = { key: "", use: Number.POSITIVE_INFINITY };
    for (const [key, { use }] of this.#entries) if (use < oldest.use) oldest = { key, use };
    return oldest.key;
  }

  async #keepTime(): Promise<void> {
    this.#keeping = true;
    while (this.#entries.size > 0) {
      const due = this.#lookAtAll();
      this.#look = new AbortController();
      const wait = Math.min(LOOK_MS, Math.max(1, due - this.#clock.monotonic()));
      await this.#clock.sleep(wait, this.#look.signal).catch(() => {});
    }
    this.#keeping = false;
  }

  /** Drops what is of no more use, renews what is due, and returns when the next thing is. */
  #lookAtAll(): number {
    const now = this.#clock.monotonic();
    let next = Number.POSITIVE_INFINITY;
    for (const [key, entry] of this.#entries) {
      if (entry.use > this.#usesSeen) entry.usedAt = now;
      // By this clock too: a wall clock that was set back makes no token live longer.
      const endsAt = Math.min(entry.endsAt - MARGIN_MS, entry.usedAt + entry.lifeMs);
      if (now >= endsAt || !this.#isWorth(entry)) {
        this.#entries.delete(key);
        continue;
      }
      if (now >= entry.renewAt) this.#renew(key, entry, now);
      next = Math.min(next, entry.renewAt, endsAt);
    }
    this.#usesSeen = this.#uses;
    return next;
  }

  #renew(key: string, entry: Entry, now: number): void {
    // Until the renewal has come, the next try is planned as if it failed.
    entry.renewAt = now + Math.min(RETRY_CAP_MS, RETRY_START_MS * 2 ** Math.min(entry.failures++, 10));
    this.#fly(key, entry.ask, entry.usedAt).catch(() => {});
  }
}

function withdrawnMeanwhile(): SpiffeError {
  const sentence = "The agent withdrew this workload's identity while a JWT-SVID was fetched";
  return new SpiffeError("ERR_SPIFFE_REVOKED", sentence, {
    reason: "workload.revoked",
    phase: "fetch-jwt",
    retryable: true,
  });
}
