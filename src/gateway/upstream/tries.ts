/** The tries of one request at an upstream: which address next, and whether another try may follow (S-24). */
import type { Ticket } from "./breaker.ts";
import type { RetryBudget } from "./budget.ts";
import type { Endpoint } from "./endpoint.ts";

/** Milliseconds before an address is asked again by the same request; twice as long each further round. */
const BACKOFF_MS = 25;

/** Methods whose repetition changes nothing (RFC 9110 §9.2.2). */
const IDEMPOTENT = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"]);

/** Whether a method may be sent again although the upstream may have seen it. */
export function isIdempotent(method: string): boolean {
  return IDEMPOTENT.has(method);
}

/** How a try ended. */
export type TryOutcome = "answered" | "unreachable" | "identity" | "timeout" | "aborted";

/** What is counted of an upstream since the start. */
export interface UpstreamCounters {
  readonly tries: Readonly<Record<TryOutcome, number>>;
  /** Tries after the first of a request. */
  readonly retries: number;
  /** Retries that the budget did not grant. */
  readonly retriesWithheld: number;
  /** Requests refused while the breaker was open. */
  readonly refusedOpen: number;
  /** Requests refused as no address was healthy. */
  readonly refusedUnhealthy: number;
  readonly checks: { readonly passed: number; readonly failed: number };
}

/** The same, while it is counted. */
export type Counting<T = UpstreamCounters> = { -readonly [K in keyof T]: T[K] extends number ? T[K] : Counting<T[K]> };

/** What the tries of one request share with those of others. */
export interface TrySettings {
  readonly max: number;
  readonly budget: RetryBudget;
  readonly counters: Counting;
  readonly random: () => number;
}

/** The tries of one request. */
export class Tries {
  readonly #line: readonly Endpoint[];
  readonly #ticket: Ticket;
  readonly #settings: TrySettings;
  #made = 0;

  /** @param line addresses in the order in which they are asked; not empty */
  constructor(line: readonly Endpoint[], ticket: Ticket, settings: TrySettings) {
    this.#line = line;
    this.#ticket = ticket;
    this.#settings = settings;
    settings.budget.earn();
  }

  /** The address to ask now. */
  get endpoint(): Endpoint {
    return this.#line[this.#made % this.#line.length] as Endpoint;
  }

  /** The upstream's answer began. */
  answered(): void {
    this.#settings.counters.tries.answered++;
    this.endpoint.noteDial(true);
    this.#ticket.answered();
  }

  /** A try failed; another may follow only if the upstream cannot have seen it, or repetition does no harm. */
  note(outcome: Exclude<TryOutcome, "answered">): void {
    this.#settings.counters.tries[outcome]++;
    if (outcome === "unreachable" || outcome === "identity") this.endpoint.noteDial(false);
  }

  /**
   * Goes to the next address: milliseconds to wait before, or undefined when there is no further try.
   *
   * @param stale whether a kept connection turned out to be dead, which says nothing of the address
   */
  again(stale = false): number | undefined {
    const { max, budget, counters, random } = this.#settings;
    if (this.#ticket.probe || this.#made >= max) return undefined;
    if (!budget.take()) {
      counters.retriesWithheld++;
      return undefined;
    }
    counters.retries++;
    if (stale) this.endpoint.dropIdle();
    const rounds = Math.floor(++this.#made / this.#line.length);
    return rounds === 0 || stale ? 0 : BACKOFF_MS * 2 ** (rounds - 1) * (0.5 + random() / 2);
  }

  /** The last try failed. */
  failed(): void {
    this.#ticket.failed();
  }

  /** The request ended for reasons of the caller or of the gateway. */
  left(): void {
    this.#ticket.left();
  }
}
