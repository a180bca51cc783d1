/** How an address has been lately: whether it could be dialled, and what its health checks say. */
import type { Clock } from "../../base/index.ts";

/** Milliseconds that an address which could not be dialled stands back; twice as long each further time. */
const REST_MS = 1_000;
const MAX_REST_MS = 30_000;
/** Checks in a row that take an address out of service; one good check brings it back. */
const FAILED_CHECKS = 2;

/** What every address of an upstream has, whatever is sent there. */
export class Standing {
  readonly #clock: Clock;
  #failedDials = 0;
  #restUntil = Number.NEGATIVE_INFINITY;
  #failedChecks = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether its health checks do not speak against it. */
  get healthy(): boolean {
    return this.#failedChecks < FAILED_CHECKS;
  }

  /** Whether it could not be dialled a short time ago; others are asked first. */
  get resting(): boolean {
    return this.#clock.monotonic() < this.#restUntil;
  }

  noteDial(reached: boolean): void {
    if (reached) {
      this.#failedDials = 0;
      this.#restUntil = Number.NEGATIVE_INFINITY;
    } else {
      const rest = Math.min(MAX_REST_MS, REST_MS * 2 ** this.#failedDials++);
      this.#restUntil = this.#clock.monotonic() + rest;
    }
  }

  noteCheck(passed: boolean): void {
    this.#failedChecks = passed ? 0 : this.#failedChecks + 1;
  }
}
