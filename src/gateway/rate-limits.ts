/**
 * Requests per second of each identity (S-27). Rows are for verified IDs alone and bounded in number; a row is given up
 * only once it says nothing any more, and who finds no room shares one bucket with the rest of its trust domain.
 */
import type { Clock } from "../base/index.ts";
import type { SpiffeId } from "../id/index.ts";

/** How much one identity may ask for. */
export interface RateConfig {
  /** Requests per second. */
  readonly rate: number;
  /** Requests at once. */
  readonly burst: number;
}

/** IDs that have a bucket of their own, and trust domains that have one. */
export const MAX_ROWS = 10_000;
const MAX_DOMAINS = 1_000;

/** What became of a request, and whether the bucket is one that its trust domain shares. */
export type RateVerdict =
  | { readonly ok: true; readonly shared: boolean }
  | { readonly ok: false; readonly shared: boolean; readonly waitMs: number };

interface Bucket {
  left: number;
  at: number;
}

/** Rows that are looked at for one that says nothing any more, each time that one is wanted. */
const LOOKS = 8;

/** Buckets by name. */
class Buckets {
  readonly #rows = new Map<string, Bucket>();
  /** The names in a ring, in which the search for room goes on where it stopped. */
  readonly #names: string[] = [];
  readonly #max: number;
  readonly #config: RateConfig;
  #hand = 0;

  constructor(max: number, config: RateConfig) {
    this.#max = max;
    this.#config = config;
  }

  get size(): number {
    return this.#rows.size;
  }

  /** The bucket of a name; undefined where there is no room. */
  get(name: string, now: number): Bucket | undefined {
    const known = this.#rows.get(name);
    if (known !== undefined) return known;
    const at = this.#names.length < this.#max ? this.#names.length : this.#room(now);
    if (at === undefined) return undefined;
    const bucket = { left: this.#config.burst, at: now };
    this.#names[at] = name;
    this.#rows.set(name, bucket);
    return bucket;
  }

  /** Gives up a row that is full again, and so no different from a new one. */
  #room(now: number): number | undefined {
    for (let look = 0; look < LOOKS; look++) {
      const at = this.#hand;
      this.#hand = (at + 1) % this.#max;
      const name = this.#names[at] as string;
      if (filled(this.#rows.get(name) as Bucket, now, this.#config) < this.#config.burst) continue;
      this.#rows.delete(name);
      return at;
    }
    return undefined;
  }
}

function filled({ left, at }: Bucket, now: number, { rate, burst }: RateConfig): number {
  return Math.min(burst, left + (Math.max(0, now - at) * rate) / 1_000);
}

/** The limits of one gateway. */
export class RateLimits {
  readonly #config: RateConfig;
  readonly #clock: Clock;
  readonly #ids: Buckets;
  readonly #domains: Buckets;
  /** For trust domains that find no room either. */
  readonly #rest: Bucket;

  constructor(config: RateConfig, clock: Clock, max: number = MAX_ROWS) {
    this.#config = config;
    this.#clock = clock;
    this.#ids = new Buckets(max, config);
    this.#domains = new Buckets(MAX_DOMAINS, config);
    this.#rest = { left: config.burst, at: clock.monotonic() };
  }

  /** IDs with a bucket of their own. */
  get rows(): number {
    return this.#ids.size;
  }

  /** Counts one request of a verified identity. */
  take(id: SpiffeId): RateVerdict {
    const now = this.#clock.monotonic();
    const own = this.#ids.get(id.uri, now);
    const bucket = own ?? this.#domains.get(id.trustDomain.name, now) ?? this.#rest;
    bucket.left = filled(bucket, now, this.#config);
    bucket.at = now;
    if (bucket.left < 1) {
      return { ok: false, shared: own === undefined, waitMs: ((1 - bucket.left) * 1_000) / this.#config.rate };
    }
    bucket.left -= 1;
    return { ok: true, shared: own === undefined };
  }
}
