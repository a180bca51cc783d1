/** When to connect again after a stream has ended. */

/** How a stream ended. Durations in milliseconds of the monotonic clock. */
export interface StreamEnd {
  /** `clean`: the server finished it; `denied`: PermissionDenied; `failed`: anything else. */
  readonly how: "clean" | "denied" | "failed";
  /** From opening the stream to its end. */
  readonly livedMs: number;
  /** From the first valid update of this stream to its end; absent when it brought none. */
  readonly validMs?: number | undefined;
}

/** A stream that lived so long may be followed at once, the first time. */
const SETTLED_MS = 1_000;
/** A stream that lived so long ends the growth of the waits after clean ends. */
const LASTING_MS = 10_000;
/** No other wait is shorter. */
const FLOOR_MS = 50;
const FAILED_START_MS = 200;
const DENIED_START_MS = 1_000;
const CAP_MS = 30_000;
/** An operator who has just made the registration entry should not wait half a minute. */
const DENIED_CAP_MS = 10_000;

/** `start`, doubled `times` times, never above `cap`; the exponent is bounded, so a long outage can not overflow it. */
function grown(start: number, times: number, cap: number): number {
  return Math.min(cap, start * 2 ** Math.min(times, 20));
}

/**
 * Keeps the three waits apart.
 *
 * A clean end after at least a second reconnects at once (WL-04). Where that happens again, or the stream lived shorter,
 * the wait is 50 ms and doubles while streams live under ten seconds, so that a server which closes after each message
 * is not hammered. Failures wait a random time between 50 ms and 200 ms, the latter doubled each time up to 30 s; only a
 * valid update that lasted longer than the current wait starts that over. PermissionDenied waits longer from the start.
 */
export class ReconnectPace {
  readonly #random: () => number;
  #clean = 0;
  #failed = 0;
  #denied = 0;

  constructor(random: () => number = Math.random) {
    this.#random = random;
  }

  /**
   * Milliseconds to wait before the next connection.
   *
   * @param leftMs how long the identity held stays valid. The wait takes half of it at most, but 200 ms: an agent that
   *   came back in time is not found too late. Once it is over, the waits are those of anybody else.
   */
  delayAfter(end: StreamEnd, leftMs: number = Number.POSITIVE_INFINITY): number {
    const wait = this.#delayAfter(end);
    if (end.how === "denied" || leftMs <= 0) return wait;
    return Math.min(wait, Math.max(FAILED_START_MS, leftMs / 2));
  }

  /** Starts every wait over: another server is there. */
  restart(): void {
    this.#clean = 0;
    this.#failed = 0;
    this.#denied = 0;
  }

  #delayAfter(end: StreamEnd): number {
    if (end.validMs !== undefined) {
      this.#denied = 0;
      if (end.validMs > grown(FAILED_START_MS, this.#failed - 1, CAP_MS)) this.#failed = 0;
    }
    if (end.livedMs >= LASTING_MS) this.#clean = 0;
    switch (end.how) {
      case "clean": {
        if (this.#clean === 0 && end.livedMs < SETTLED_MS) this.#clean = 1;
        const before = this.#clean++;
        return before === 0 ? 0 : grown(FLOOR_MS, before - 1, CAP_MS);
      }
      case "denied": {
        const wait = grown(DENIED_START_MS, this.#denied++, DENIED_CAP_MS);
        return wait * (0.75 + this.#random() / 4);
      }
      case "failed":
        return Math.max(FLOOR_MS, this.#random() * grown(FAILED_START_MS, this.#failed++, CAP_MS));
    }
  }
}
