/** Time as a parameter: wall clock for validity, monotonic clock for timers (S-17). */
import { SpiffeError } from "./errors.ts";

export interface Clock {
  /** Wall time in milliseconds since the Unix epoch; decides validity. */
  now(): number;
  /** Monotonic time in milliseconds from an arbitrary start; decides timers and durations. */
  monotonic(): number;
  /** Resolves after `ms` milliseconds; rejects with `ERR_SPIFFE_ABORTED` when the signal aborts first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** The largest delay a timer takes; a longer one would fire at once. */
export const MAX_TIMER_MS: number = 2 ** 31 - 1;

/** A clock's wall time, or NaN, which no comparison accepts, where it throws or gives no number: doubt makes nothing valid. */
export function timeOf(clock: Clock): number {
  try {
    const now = clock.now();
    return Number.isFinite(now) ? now : Number.NaN;
  } catch {
    return Number.NaN;
  }
}

/** The machine's own clocks. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep(ms, signal) {
    return new Promise((resolve, reject) => {
      const aborted = () => new SpiffeError("ERR_SPIFFE_ABORTED", "The wait was aborted", { cause: signal?.reason });
      if (signal?.aborted) return reject(aborted());
      const end = performance.now() + ms;
      let timer: ReturnType<typeof setTimeout>;
      const onAbort = () => {
        clearTimeout(timer);
        reject(aborted());
      };
      const arm = () => {
        const left = end - performance.now();
        // a delay that is no number is over at once
        if (!(left > 0)) {
          signal?.removeEventListener("abort", onAbort);
          return resolve();
        }
        timer = setTimeout(arm, Math.min(left, MAX_TIMER_MS));
      };
      signal?.addEventListener("abort", onAbort, { once: true });
      arm();
    });
  },
};
