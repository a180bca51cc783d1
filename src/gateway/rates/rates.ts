/**
 * Rate limits of a gateway: buckets of this process, and where a store is named those that all replicas share. A request
 * passes when both let it. So a store that is away, or that lies, makes no limit wider than this process alone has it,
 * and what is over the limit already is not asked about.
 */
import { createHash } from "node:crypto";
import type { SpiffeId } from "../../id/index.ts";
import { type RateConfig, RateLimits, type RateVerdict } from "../rate-limits.ts";
import { sameValue } from "../restart.ts";
import type { RateStoreConfig } from "./config-store.ts";
import { RateStore, type StoreGrounds, type StoreState } from "./store.ts";

/** How much one identity may ask for, and where that is counted. */
export interface RatesConfig extends RateConfig {
  readonly store?: RateStoreConfig | undefined;
}

/** The limits of one configuration. */
export class Rates {
  readonly #config: RatesConfig;
  readonly #limits: RateLimits;
  readonly #store: RateStore | undefined;

  private constructor(config: RatesConfig, limits: RateLimits, store: RateStore | undefined) {
    this.#config = config;
    this.#limits = limits;
    this.#store = store;
  }

  /**
   * Makes the limits of a configuration. Buckets and store go on where they are the same as before.
   *
   * @throws `ERR_SPIFFE_CONFIG` for a password file that cannot be used
   */
  static after(before: Rates | undefined, config: RatesConfig, grounds: StoreGrounds): Rates {
    const { rate, burst, store: place } = config;
    const known = before === undefined ? undefined : before.#config;
    const isSameRate = before !== undefined && sameValue([known?.rate, known?.burst], [rate, burst]);
    const limits = isSameRate ? before.#limits : new RateLimits({ rate, burst }, grounds.clock);
    const isSameStore = before !== undefined && sameValue(known?.store, place);
    return new Rates(config, limits, isSameStore ? before.#store : place && new RateStore(place, grounds));
  }

  /** Counts one request of a verified identity. */
  take(id: SpiffeId): RateVerdict | Promise<RateVerdict> {
    const own = this.#limits.take(id);
    if (!own.ok || this.#store === undefined) return own;
    const { shared } = own;
    return this.#store.ask(keyOf(id, shared), this.#config).then((wait) => {
      if (wait === undefined || wait === 0) return own;
      // no bucket needs longer for one request
      return { ok: false, shared, waitMs: Math.min(wait, Math.ceil(1_000 / this.#config.rate)) };
    });
  }

  /** The state of the store; undefined without one. */
  get store(): StoreState | undefined {
    return this.#store === undefined ? undefined : this.#store.state;
  }

  /** Begins with the store of what comes into force, and lets go of that of what it follows. */
  static async change(before: Rates | undefined, next: Rates | undefined): Promise<void> {
    const [was, is] = [before, next].map((rates) => (rates === undefined ? undefined : rates.#store));
    if (was === is) return;
    is?.open();
    await was?.close();
  }
}

/** A name without the identity in it: who reads the store learns of no one. */
function keyOf(id: SpiffeId, shared: boolean): string {
  const name = shared ? `domain:${id.trustDomain.name}` : id.uri;
  return `rate:${createHash("sha256").update(name).digest("base64url")}`;
}
