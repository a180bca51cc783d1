/** When to connect again after a stream has ended. */

/** How a stream ended. Durations in milliseconds of the monotonic clock. */
export interface StreamEnd {
  /** `clean`: the server finished it; `denied`: PermissionDenied; `failed`: anything else. */
  readonly how: "clean" | "denied" | "failed";
  /** From opening the stream to its end. */
  readonly livedMs: number;
  /** From the last valid update of this stream to its end; absent when it brought none. */
  readonly validMs?: number | undefined;
}

const SETTLED_MS = 1_000;
/** No wait but the one after a settled stream is shorter. */
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
 * A clean end after at least a second reconnects at once (WL-04); shorter lives wait 50 ms and more, so that a server
 * which closes after each message is not hammered. Failures wait a random time between 50 ms and 200 ms, the latter
 * doubled each time up to 30 s; only a valid update that lasted longer than the current wait starts that over. PermissionDenied waits longer
 * from the start.
 */
export class ReconnectPace {
  readonly #random: () => number;
  #clean = 0;
  #failed = 0;
  #denied = 0;

  constructor(random: () => number = Math.random) {
    this.#random = random;
  }

  /** Milliseconds to wait before the next connection. */
  delayAfter(end: StreamEnd): number {
    if (end.validMs !== undefined) {
      this.#denied = 0;
      if (end.validMs > grown(FAILED_START_MS, this.#failed - 1, CAP_MS)) this.#failed = 0;
    }
    if (end.livedMs >= SETTLED_MS) this.#clean = 0;
    switch (end.how) {
      case "clean":
        if (end.livedMs >= SETTLED_MS) return 0;
        return grown(FLOOR_MS, this.#clean++, CAP_MS);
      case "denied": {
        const wait = grown(DENIED_START_MS, this.#denied++, DENIED_CAP_MS);
        return wait * (0.75 + this.#random() / 4);
      }
      case "failed":
        return Math.max(FLOOR_MS, this.#random() * grown(FAILED_START_MS, this.#failed++, CAP_MS));
    }
  }
}
