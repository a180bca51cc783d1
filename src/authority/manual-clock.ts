/** A clock that a test moves by hand. */
import { type Clock, SpiffeError, systemClock } from "../base/index.ts";

interface Sleeper {
  readonly at: number;
  readonly wake: () => void;
}

/**
 * Wall and monotonic time that only {@link ManualClock.advance} and {@link ManualClock.step} move. Sleepers wake in the
 * order of their times.
 *
 * @example
 * ```ts
 * import { ManualClock } from "spiffe-edge/testing";
 * const clock = new ManualClock(Date.UTC(2026, 0, 1));
 * const rested = clock.sleep(60_000);
 * await clock.advance(60_000);
 * await rested;
 * ```
 */
export class ManualClock implements Clock {
  #wall: number;
  #monotonic = 0;
  #sleepers: Set<Sleeper> = new Set();

  /** @param now wall time at the start, ms since the Unix epoch; default the machine's */
  constructor(now: number = systemClock.now()) {
    this.#wall = now;
  }

  now(): number {
    return this.#wall;
  }

  monotonic(): number {
    return this.#monotonic;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        this.#sleepers.delete(sleeper);
        reject(new SpiffeError("ERR_SPIFFE_ABORTED", "The wait was aborted", { cause: signal?.reason }));
      };
      const sleeper = {
        at: this.#monotonic + Math.max(0, ms),
        wake: () => {
          signal?.removeEventListener("abort", onAbort);
          this.#sleepers.delete(sleeper);
          resolve();
        },
      };
      if (signal?.aborted) return onAbort();
      signal?.addEventListener("abort", onAbort, { once: true });
      this.#sleepers.add(sleeper);
      if (ms <= 0) sleeper.wake();
    });
  }

  /** Moves both times forward, wakes whoever is due on the way, and lets their work run in between. */
  async advance(ms: number): Promise<void> {
    const end = this.#monotonic + ms;
    for (;;) {
      await settled();
      const due = [...this.#sleepers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      this.#move((due?.at ?? end) - this.#monotonic);
      if (due === undefined) break;
      due.wake();
    }
    await settled();
  }

  /** Moves the wall time alone, as a correction of the machine's clock does. */
  step(ms: number): void {
    this.#wall += ms;
  }

  #move(ms: number): void {
    this.#wall += ms;
    this.#monotonic += ms;
  }
}

/** Lets work that waits for cryptography or a local socket get somewhere; two turns of the event loop's longest kind. */
function settled(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 2));
}
