/** One written address of an upstream and the endpoints it stands for: itself, or what its name leads to now. */
import { isIP } from "node:net";
import type { Clock } from "../../base/index.ts";
import type { Resolve } from "./names.ts";

/** Addresses of one name that are used. */
const MAX_ADDRESSES = 16;
/** Milliseconds that a name is trusted: as long as the DNS says, within these bounds. */
const MIN_TTL_MS = 1_000;
const MAX_TTL_MS = 300_000;
/** Where nobody says how long. */
const UNSAID_TTL_MS = 5_000;
/** Milliseconds that a lookup may take; the next one comes no sooner after a failed one. */
const LOOKUP_TIMEOUT_MS = 5_000;

/** Names that stay on this machine are for the system alone. */
const isName = (host: string | undefined): host is string =>
  host !== undefined && isIP(host) === 0 && host !== "localhost";

/** What a site asks of what it leads to. */
export interface SiteEndpoint {
  /** Where it is dialled: a name or an IP address; undefined for a unix socket. */
  readonly host: string | undefined;
  /** What runs ends in peace, and nothing is kept any more. */
  retire(): void;
  close(): void;
}

/** A written address. */
export class Site<E extends SiteEndpoint> {
  readonly #host: string | undefined;
  readonly #make: (host: string | undefined) => E;
  readonly #clock: Clock;
  readonly #resolve: Resolve;
  #endpoints: readonly E[];
  #freshUntil = Number.NEGATIVE_INFINITY;
  /** Until then the old addresses serve while the next are looked up. */
  #usableUntil = Number.NEGATIVE_INFINITY;
  #lookup: Promise<void> | undefined;
  #retired = false;

  /**
   * @param host as written; undefined for a unix socket
   * @param make gives the endpoint at a host or an address that it leads to
   */
  constructor(host: string | undefined, make: (host: string | undefined) => E, clock: Clock, resolve: Resolve) {
    this.#host = host;
    this.#make = make;
    this.#clock = clock;
    this.#resolve = resolve;
    // also what is dialled while the name leads nowhere: the dial says why
    this.#endpoints = [make(host)];
  }

  get endpoints(): readonly E[] {
    return this.#endpoints;
  }

  /** Looks the name up when its time is over; a promise when it is so long over that requests should wait. Never rejects. */
  ready(): Promise<void> | undefined {
    const host = this.#host;
    if (!isName(host)) return undefined;
    const now = this.#clock.monotonic();
    if (now < this.#freshUntil) return undefined;
    this.#lookup ??= this.#renew(host).finally(() => {
      this.#lookup = undefined;
    });
    return now < this.#usableUntil ? undefined : this.#lookup;
  }

  async #renew(name: string): Promise<void> {
    const clock = this.#clock;
    try {
      const { addresses, ttlMs = UNSAID_TTL_MS } = await within(clock, LOOKUP_TIMEOUT_MS, this.#resolve(name));
      if (addresses.length === 0) throw new Error("The name has no address");
      const ttl = Math.min(MAX_TTL_MS, Math.max(MIN_TTL_MS, ttlMs));
      this.#replace([...new Set(addresses)].slice(0, MAX_ADDRESSES));
      this.#freshUntil = clock.monotonic() + ttl;
      this.#usableUntil = this.#freshUntil + ttl;
    } catch {
      // what was known serves on, and nobody waits for a name that leads nowhere
      this.#freshUntil = clock.monotonic() + LOOKUP_TIMEOUT_MS;
      this.#usableUntil = Number.POSITIVE_INFINITY;
    }
  }

  #replace(addresses: readonly string[]): void {
    const known = new Map(this.#endpoints.map((endpoint) => [endpoint.host, endpoint]));
    this.#endpoints = addresses.map((address) => known.get(address) ?? this.#make(address));
    for (const endpoint of known.values()) if (!this.#endpoints.includes(endpoint)) endpoint.retire();
    if (this.#retired) this.retire();
  }

  /** Running requests end in peace, and no connection is kept any more. */
  retire(): void {
    this.#retired = true;
    for (const endpoint of this.#endpoints) endpoint.retire();
  }

  close(): void {
    for (const endpoint of this.#endpoints) endpoint.close();
  }
}

/** What a promise gives, or an error when it takes too long. */
async function within<T>(clock: Clock, ms: number, promise: Promise<T>): Promise<T> {
  const stop = new AbortController();
  const late = clock.sleep(ms, stop.signal).then(() => Promise.reject(new Error("It took too long")));
  try {
    return await Promise.race([promise, late]);
  } finally {
    late.catch(() => {});
    promise.catch(() => {});
    stop.abort();
  }
}
