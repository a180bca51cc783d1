/** An upstream: its addresses, which of them a request asks, and when it is left alone. */
import type { Clock } from "../base/index.ts";
import { SpiffeId } from "../id/index.ts";
import type { TlsIdentity } from "../tls/index.ts";
import type { UpstreamConfig } from "./config-types.ts";
import { Deadlines } from "./deadlines.ts";
import type { Problem } from "./middleware/problem.ts";
import { Breaker } from "./upstream/breaker.ts";
import { RetryBudget } from "./upstream/budget.ts";
import type { DialSettings, Endpoint } from "./upstream/endpoint.ts";
import { watchHealth } from "./upstream/health.ts";
import { type Resolve, resolveName } from "./upstream/names.ts";
import { Site } from "./upstream/site.ts";
import { type Counting, Tries, type UpstreamCounters } from "./upstream/tries.ts";
import { breakerOpen, unhealthy } from "./upstream-problem.ts";

/** What an upstream takes from outside; the machine's own by default. */
export interface UpstreamParts {
  readonly resolve?: Resolve | undefined;
  /** A number from 0 to 1. */
  readonly random?: (() => number) | undefined;
}

/** How an upstream is, for status and metrics. */
export interface UpstreamState {
  readonly breaker: "closed" | "open" | "half-open";
  /** Retries that would be granted now. */
  readonly budget: number;
  readonly addresses: readonly { readonly address: string; readonly healthy: boolean; readonly resting: boolean }[];
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
  readonly #sites: readonly Site[];
  readonly #breaker: Breaker;
  readonly #budget: RetryBudget;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #counters: Counting = {
    tries: { answered: 0, unreachable: 0, identity: 0, timeout: 0, aborted: 0 },
    retries: 0,
    retriesWithheld: 0,
    refusedOpen: 0,
    refusedUnhealthy: 0,
    checks: { passed: 0, failed: 0 },
  };
  #turn = 0;
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
    this.#sites = config.targets.map((target) => new Site(target, dial, resolve));
    this.#breaker = new Breaker(clock, random);
    this.#budget = new RetryBudget(config.retries.budget, clock);
  }

  /** Looks up names whose time is over; a promise when a request should wait for it. Never rejects. */
  ready(): Promise<unknown> | undefined {
    let waiting: Promise<void>[] | undefined;
    for (const site of this.#sites) {
      const promise = site.ready();
      if (promise !== undefined) (waiting ??= []).push(promise);
    }
    return waiting && Promise.all(waiting);
  }

  /** Lets one request in: its tries, beginning with the address whose turn it is, or why it gets none. */
  enter(): Tries | Problem {
    const all = this.#endpoints();
    const first = this.#turn++ % all.length;
    const turned = first === 0 ? all : [...all.slice(first), ...all.slice(0, first)];
    const healthy = turned.filter((endpoint) => endpoint.healthy);
    if (healthy.length === 0) {
      this.#counters.refusedUnhealthy++;
      return unhealthy();
    }
    const ticket = this.#breaker.enter();
    if (ticket === undefined) {
      this.#counters.refusedOpen++;
      return breakerOpen();
    }
    const resting = healthy.filter((endpoint) => endpoint.resting);
    const line = resting.length === 0 ? healthy : [...healthy.filter((one) => !resting.includes(one)), ...resting];
    const { max } = this.config.retries;
    return new Tries(line, ticket, { max, budget: this.#budget, counters: this.#counters, random: this.#random });
  }

  /**
   * Reviews connections after each change of the identity and checks health, until the signal aborts or the identity is
   * closed; then closes.
   */
  async follow(identity: TlsIdentity, signal?: AbortSignal): Promise<void> {
    const checks = this.#watchHealth(this.#checking.signal);
    try {
      for await (const _ of identity.x509.updates(signal)) for (const endpoint of this.#endpoints()) endpoint.review();
    } finally {
      this.#checking.abort();
      this.close();
      await checks;
    }
  }

  /** How it is now; a copy. */
  state(): UpstreamState {
    const { tries, checks, ...rest } = this.#counters;
    return {
      breaker: this.#breaker.state,
      budget: this.#budget.left,
      addresses: this.#endpoints().map(({ address, healthy, resting }) => ({ address, healthy, resting })),
      counters: { ...rest, tries: { ...tries }, checks: { ...checks } },
    };
  }

  /** The configuration no longer has it: it is checked no more, requests that run end in peace, nothing is kept. */
  retire(): void {
    this.#checking.abort();
    for (const site of this.#sites) site.retire();
  }

  close(): void {
    for (const site of this.#sites) site.close();
  }

  #endpoints(): Endpoint[] {
    return this.#sites.flatMap((site) => site.endpoints);
  }

  async #watchHealth(signal: AbortSignal): Promise<void> {
    const { health } = this.config;
    if (health === undefined) return;
    await watchHealth({
      ...health,
      endpoints: async () => {
        await this.ready();
        return this.#endpoints();
      },
      clock: this.#clock,
      random: this.#random,
      signal,
      checked: (passed) => {
        this.#counters.checks[passed ? "passed" : "failed"]++;
      },
    });
  }
}
