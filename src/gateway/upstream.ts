/** An upstream: its addresses, which of them a request asks, and when it is left alone. */
import type { Clock } from "../base/index.ts";
import { SpiffeId } from "../id/index.ts";
import type { TlsIdentity } from "../tls/index.ts";
import type { UpstreamConfig } from "./config-types.ts";
import { Deadlines } from "./deadlines.ts";
import type { Problem } from "./middleware/problem.ts";
import { Addresses, type AddressState, copied, noneCounted } from "./upstream/addresses.ts";
import type { Breaker } from "./upstream/breaker.ts";
import { RetryBudget } from "./upstream/budget.ts";
import { type DialSettings, Endpoint } from "./upstream/endpoint.ts";
import { answersAt } from "./upstream/health.ts";
import { type Resolve, resolveName } from "./upstream/names.ts";
import { Site } from "./upstream/site.ts";
import { type Counting, Tries, type UpstreamCounters } from "./upstream/tries.ts";

/** What an upstream takes from outside; the machine's own by default. */
export interface UpstreamParts {
  readonly resolve?: Resolve | undefined;
  /** A number from 0 to 1. */
  readonly random?: (() => number) | undefined;
}

/** How an upstream is, for status and metrics. */
export interface UpstreamState {
  readonly breaker: Breaker["state"];
  /** Retries that would be granted now; absent where none is bounded. */
  readonly budget?: number;
  readonly addresses: readonly AddressState[];
  readonly counters: UpstreamCounters;
}

/** An upstream. */
export class Upstream {
  readonly name: string;
  /** Milliseconds of one try; undefined when only the request's own time counts. */
  readonly tryTimeoutMs: number | undefined;
  readonly config: UpstreamConfig;
  /** Whether it can say of a request that it did nothing with it, after the body (S-24). */
  readonly mayRefuse: boolean;
  /** Times of the requests that are on their way. */
  readonly deadlines: Deadlines;
  readonly #addresses: Addresses<Endpoint>;
  readonly #budget: RetryBudget;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #counters: Counting = noneCounted();
  readonly #checking = new AbortController();

  constructor(config: UpstreamConfig, identity: TlsIdentity, clock: Clock, parts: UpstreamParts = {}) {
    const { resolve = resolveName, random = Math.random } = parts;
    this.name = config.name;
    this.tryTimeoutMs = config.tryTimeoutMs;
    this.config = config;
    this.mayRefuse = config.protocol === "h2";
    this.deadlines = new Deadlines(clock);
    this.#clock = clock;
    this.#random = random;
    const id = config.id === undefined ? undefined : SpiffeId.parse(config.id);
    const dial: DialSettings = { id, protocol: config.protocol, identity, clock };
    const siteOf = (target: UpstreamConfig["targets"][number]) =>
      new Site(target.hostname, (host) => new Endpoint(target, host, dial), clock, resolve);
    this.#addresses = new Addresses(config.targets.map(siteOf), clock, random, this.#counters);
    this.#budget = new RetryBudget(config.retries.budget, clock);
  }

  /** Looks up names whose time is over; a promise when a request should wait for it. Never rejects. */
  ready(): Promise<unknown> | undefined {
    return this.#addresses.ready();
  }

  /** Lets one request in: its tries, beginning with the address whose turn it is, or why it gets none. */
  enter(): Tries | Problem {
    const entered = this.#addresses.enter();
    if ("status" in entered) return entered;
    const { max } = this.config.retries;
    return new Tries(entered.line, entered.ticket, {
      max,
      budget: this.#budget,
      counters: this.#counters,
      random: this.#random,
    });
  }

  /**
   * Reviews connections after each change of the identity and checks health, until the signal aborts or the identity is
   * closed; then closes.
   */
  async follow(identity: TlsIdentity, signal?: AbortSignal): Promise<void> {
    const checks = this.#watchHealth(this.#checking.signal);
    try {
      for await (const _ of identity.x509.updates(signal))
        for (const endpoint of this.#addresses.all) endpoint.review();
    } finally {
      this.#checking.abort();
      this.close();
      await checks;
    }
  }

  /** How it is now; a copy. */
  state(): UpstreamState {
    const { breaker, states: addresses } = this.#addresses;
    return { breaker, budget: this.#budget.left, addresses, counters: copied(this.#counters) };
  }

  /** The configuration no longer has it: it is checked no more, requests that run end in peace, nothing is kept. */
  retire(): void {
    this.#checking.abort();
    this.#addresses.retire();
  }

  close(): void {
    this.#addresses.close();
  }

  async #watchHealth(signal: AbortSignal): Promise<void> {
    const { health } = this.config;
    if (health === undefined) return;
    const { path, everyMs } = health;
    await this.#addresses.watch({ everyMs, check: answersAt(path, this.#clock) }, signal);
  }
}
