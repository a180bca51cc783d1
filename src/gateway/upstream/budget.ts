/** How many requests of an upstream may be sent again, so that trouble is not multiplied. */
import type { Clock } from "../../base/index.ts";

/** Retries that may come at once before the share counts. */
const RESERVE = 10;
/** Retries per second that are always there, as a share of few requests is none. */
const PER_SECOND = 1;

/** Grants retries: a share of the requests, and one per second. */
export class RetryBudget {
  readonly #share: number;
  readonly #clock: Clock;
  #left = RESERVE;
  #filledAt: number;

  /** @param share retries per request, 0 to 1 */
  constructor(share: number, clock: Clock) {
    this.#share = share;
    this.#clock = clock;
    this.#filledAt = clock.monotonic();
  }

  /** Counts one request. */
  earn(): void {
    this.#left = Math.min(RESERVE, this.#left + this.#share);
  }

  /** Retries that would be granted now. */
  get left(): number {
    this.#fill();
    return Math.floor(this.#left);
  }

  #fill(): void {
    const now = this.#clock.monotonic();
    this.#left = Math.min(RESERVE, this.#left + (PER_SECOND * (now - this.#filledAt)) / 1_000);
    this.#filledAt = now;
  }

  /** Takes one retry; false when none is left. */
  take(): boolean {
    this.#fill();
    if (this.#left < 1) return false;
    this.#left -= 1;
    return true;
  }
}
