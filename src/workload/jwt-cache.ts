/** Fetched JWT-SVIDs, kept as long as they are worth handing out. Bounded, and empty after a redaction (S-20). */
import type { Clock } from "../base/clock.ts";
import { SpiffeError } from "../base/errors.ts";
import type { JwtSvid } from "../jwt/index.ts";

const MAX_TOKENS = 1_000;
/** A token this close to its end is not handed out: it would expire on its way. */
const MARGIN_MS = 5_000;

interface Entry {
  readonly svid: JwtSvid;
  /** Wall time from which a newer one is fetched in the background. */
  readonly refreshAt: number;
}

/**
 * The key of a request: whose token, for which set of audiences. Lengths stand before the parts, so that no choice of
 * names makes two requests look like one.
 */
export function cacheKey(identity: string, audience: readonly string[]): string {
  return [identity, ...[...audience].sort()].map((part) => `${part.length}:${part}`).join("");
}

export class JwtCache {
  readonly #clock: Clock;
  readonly #entries = new Map<string, Entry>();
  readonly #flights = new Map<string, Promise<JwtSvid>>();
  #generation = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * A token from the cache, or a fetched one. Several callers of one key share one fetch, which goes on when a caller
   * gives up.
   *
   * @param usable judges a cached token once more, such as by the current bundle
   * @param fetch asks the agent; also called in the background once half of a token's life has passed
   */
  get(key: string, usable: (svid: JwtSvid) => boolean, fetch: () => Promise<JwtSvid>): Promise<JwtSvid> {
    const entry = this.#entries.get(key);
    const now = this.#clock.now();
    if (entry === undefined || entry.svid.expiresAt.getTime() - now <= MARGIN_MS || !usable(entry.svid)) {
      this.#entries.delete(key);
      return this.fetch(key, fetch);
    }
    // Whoever is used moves to the end, so that the first is the least recently used.
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    if (now >= entry.refreshAt) this.fetch(key, fetch).catch(() => {});
    return Promise.resolve(entry.svid);
  }

  /** Fetches past the cache, joining a fetch that is under way. */
  fetch(key: string, fetch: () => Promise<JwtSvid>): Promise<JwtSvid> {
    const running = this.#flights.get(key);
    if (running !== undefined) return running;
    const flight = this.#fetch(key, fetch).finally(() => {
      if (this.#flights.get(key) === flight) this.#flights.delete(key);
    });
    this.#flights.set(key, flight);
    return flight;
  }

  /** Forgets every token; fetches under way are not handed out either. */
  clear(): void {
    this.#generation++;
    this.#entries.clear();
    this.#flights.clear();
  }

  async #fetch(key: string, fetch: () => Promise<JwtSvid>): Promise<JwtSvid> {
    const generation = this.#generation;
    const startedAt = this.#clock.now();
    const svid = await fetch();
    if (generation !== this.#generation) {
      const sentence = "The agent withdrew this workload's identity while a JWT-SVID was fetched";
      throw new SpiffeError("ERR_SPIFFE_REVOKED", sentence, {
        reason: "workload.revoked",
        phase: "fetch-jwt",
        retryable: true,
      });
    }
    this.#entries.set(key, { svid, refreshAt: startedAt + (svid.expiresAt.getTime() - startedAt) / 2 });
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= MAX_TOKENS) break;
      this.#entries.delete(oldest);
    }
    return svid;
  }
}
