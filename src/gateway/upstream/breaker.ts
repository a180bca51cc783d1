/** Leaves an upstream alone that does not answer, and asks it again with one request at a time. */
import type { Clock } from "../../base/index.ts";

/** Requests in a row without an answer that open it. */
const FAILURES = 5;
/** Milliseconds it stays open the first time; twice as long after each failed probe. */
const OPEN_MS = 1_000;
const MAX_OPEN_MS = 30_000;

/** What a request tells of its end; the first word counts. */
export interface Ticket {
  /** Whether it is the one request that finds out. */
  readonly probe: boolean;
  answered(): void;
  failed(): void;
  /** Over for reasons of the caller or of the gateway; says nothing of the upstream. */
  left(): void;
}

/** A circuit breaker. */
export class Breaker {
  readonly #clock: Clock;
  readonly #random: () => number;
  #failures = 0;
  #openings = 0;
  #openUntil: number | undefined;
  #probing = false;
  /** How often it has opened or closed; tickets of an earlier time have no say. */
  #epoch = 0;

  /** @param random a number from 0 to 1 */
  constructor(clock: Clock, random: () => number) {
    this.#clock = clock;
    this.#random = random;
  }

  get state(): "closed" | "open" | "half-open" {
    if (this.#openUntil === undefined) return "closed";
    return this.#clock.monotonic() < this.#openUntil ? "open" : "half-open";
  }

  /** Lets one request through; undefined while the upstream is left alone or another request finds out. */
  enter(): Ticket | undefined {
    const { state } = this;
    if (state === "open" || (state === "half-open" && this.#probing)) return undefined;
    const probe = state === "half-open";
    if (probe) this.#probing = true;
    const epoch = this.#epoch;
    let told = false;
    const tell = (act: () => void) => () => {
      if (told) return;
      told = true;
      if (epoch !== this.#epoch) return;
      this.#probing = false;
      act();
    };
    return {
      probe,
      answered: tell(() => this.#close()),
      failed: tell(() => {
        this.#failures++;
        if (probe || this.#failures >= FAILURES) this.#open();
      }),
      left: tell(() => {}),
    };
  }

  #open(): void {
    const length = Math.min(MAX_OPEN_MS, OPEN_MS * 2 ** this.#openings++);
    this.#openUntil = this.#clock.monotonic() + length * (0.75 + this.#random() / 4);
    this.#epoch++;
  }

  #close(): void {
    this.#failures = 0;
    if (this.#openUntil === undefined) return;
    this.#openUntil = undefined;
    this.#openings = 0;
    this.#epoch++;
  }
}
