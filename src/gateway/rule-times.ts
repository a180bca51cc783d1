/**
 * Times at which the same rules say something else: a window that opens or closes, an audit that ends. What runs then goes by
 * the rules of then, as after a reload (S-9, S-26).
 */
import { type Clock, systemClock, timeOf } from "../base/index.ts";
import type { Policy } from "../policy/index.ts";
import { rulesOf } from "../policy/policy.ts";
import { rest } from "../tls/rest.ts";

/** Milliseconds between looks: how late a time, or a step of the wall clock, may be noticed. */
const TICK_MS = 500;

function timesOf(policy: Policy): readonly number[] {
  const times = rulesOf(policy).flatMap(({ time, auditUntil }) => [time?.from, time?.to, auditUntil]);
  return times.filter((time) => time !== undefined && Number.isFinite(time)) as number[];
}

/** How many of the times have come; another number than all of these where the clock tells none. */
function comeBy(now: number, times: readonly number[]): number {
  return Number.isNaN(now) ? -1 : times.filter((time) => time <= now).length;
}

/** Watches the times of one policy at a time; sleeps while it has none. */
export class RuleTimes {
  readonly #clock: Clock;
  readonly #changed: () => Promise<void>;
  #stop: AbortController | undefined;

  /** @param changed does what has to be done when rules begin or end to hold; never throws */
  constructor(clock: Clock, changed: () => Promise<void>) {
    this.#clock = clock;
    this.#changed = changed;
  }

  /** Follows the policy that comes into force now, and the one before no more. */
  follow(policy: Policy): void {
    this.stop();
    const times = timesOf(policy);
    if (times.length === 0) return;
    this.#stop = new AbortController();
    void this.#run(times, this.#stop.signal);
  }

  stop(): void {
    this.#stop?.abort();
    this.#stop = undefined;
  }

  async #run(times: readonly number[], signal: AbortSignal): Promise<void> {
    let come = comeBy(timeOf(this.#clock), times);
    while (!signal.aborted) {
      try {
        await rest(this.#clock, TICK_MS, signal);
      } catch {
        // a clock that can not wait must not keep a window open
        await rest(systemClock, TICK_MS, signal).catch(() => {});
      }
      const now = comeBy(timeOf(this.#clock), times);
      if (signal.aborted || now === come) continue;
      come = now;
      await this.#changed();
    }
  }
}
