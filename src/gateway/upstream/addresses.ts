/** The addresses of an upstream: which of them are asked, in which order, and when none is. */
import type { Clock } from "../../base/index.ts";
import type { Problem } from "../middleware/problem.ts";
import { breakerOpen, unhealthy } from "../upstream-problem.ts";
import { Breaker, type Ticket } from "./breaker.ts";
import { type HealthCheck, watchHealth } from "./health.ts";
import type { Site, SiteEndpoint } from "./site.ts";
import type { Standing } from "./standing.ts";
import type { Counting, UpstreamCounters } from "./tries.ts";

/** One address as status shows it. */
export interface AddressState {
  readonly address: string;
  readonly healthy: boolean;
  readonly resting: boolean;
}

/** Addresses in the order in which they are asked, not empty; what became of it is told to the ticket. */
export interface Line<E> {
  readonly line: readonly E[];
  readonly ticket: Ticket;
}

/** How often addresses are checked, and how. */
export interface Checking<E> {
  readonly everyMs: number;
  readonly check: HealthCheck<E>;
}

type Address = Standing & SiteEndpoint & { readonly address: string };

/** The addresses of one upstream. */
export class Addresses<E extends Address> {
  readonly #sites: readonly Site<E>[];
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #counters: Counting;
  readonly #breaker: Breaker;
  #turn = 0;

  /** @param random a number from 0 to 1 */
  constructor(sites: readonly Site<E>[], clock: Clock, random: () => number, counters: Counting) {
    this.#sites = sites;
    this.#clock = clock;
    this.#random = random;
    this.#counters = counters;
    this.#breaker = new Breaker(clock, random);
  }

  get all(): readonly E[] {
    const [only, another] = this.#sites;
    if (only !== undefined && another === undefined) return only.endpoints;
    return this.#sites.flatMap((site) => site.endpoints);
  }

  get breaker(): Breaker["state"] {
    return this.#breaker.state;
  }

  get states(): AddressState[] {
    return this.all.map(({ address, healthy, resting }) => ({ address, healthy, resting }));
  }

  /** Looks up names whose time is over; a promise when whoever enters should wait for it. Never rejects. */
  ready(): Promise<unknown> | undefined {
    let waiting: Promise<void>[] | undefined;
    for (const site of this.#sites) {
      const promise = site.ready();
      if (promise !== undefined) (waiting ??= []).push(promise);
    }
    return waiting && Promise.all(waiting);
  }

  /** Lets one in, beginning with the address whose turn it is, or says why it gets none. */
  enter(): Line<E> | Problem {
    const { all } = this;
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
    if (resting.length === 0) return { line: healthy, ticket };
    return { line: [...healthy.filter((one) => !resting.includes(one)), ...resting], ticket };
  }

  /** Checks every address now and then, until the signal aborts. */
  watch({ everyMs, check }: Checking<E>, signal: AbortSignal): Promise<void> {
    return watchHealth({
      everyMs,
      check,
      endpoints: async () => {
        await this.ready();
        return this.all;
      },
      clock: this.#clock,
      random: this.#random,
      signal,
      checked: (passed) => {
        this.#counters.checks[passed ? "passed" : "failed"]++;
      },
    });
  }

  retire(): void {
    for (const site of this.#sites) site.retire();
  }

  close(): void {
    for (const site of this.#sites) site.close();
  }
}

/** Counters of an upstream that nobody has asked. */
export function noneCounted(): Counting {
  return {
    tries: { answered: 0, unreachable: 0, identity: 0, timeout: 0, aborted: 0 },
    retries: 0,
    retriesWithheld: 0,
    refusedOpen: 0,
    refusedUnhealthy: 0,
    checks: { passed: 0, failed: 0 },
  };
}

/** A copy that no longer changes. */
export function copied({ tries, checks, ...rest }: Counting): UpstreamCounters {
  return { ...rest, tries: { ...tries }, checks: { ...checks } };
}
