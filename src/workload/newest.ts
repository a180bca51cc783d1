/** Messages that come faster than they can be judged: the newest counts, the others are passed over. */
import type { Clock } from "../base/clock.ts";

/** Messages judged one by one: so many at once, and so many more each second. Ordinary changes never come so fast. */
const AT_ONCE = 50;
const PER_SECOND = 20;

/** Grants a number at once, and others spread over each second. */
class Allowance {
  readonly #clock: Clock;
  #left = AT_ONCE;
  #since: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#since = clock.monotonic();
  }

  /** Takes one; gives the milliseconds to wait until it may be used. */
  take(): number {
    const now = this.#clock.monotonic();
    this.#left = Math.min(AT_ONCE, this.#left + ((now - this.#since) * PER_SECOND) / 1_000) - 1;
    this.#since = now;
    return this.#left >= 0 ? 0 : (-this.#left * 1_000) / PER_SECOND;
  }
}

/**
 * Hands on each message of a stream, and of a flood the newest, about every 50 ms. Reads on meanwhile, so that the newest
 * is not stuck behind the others.
 *
 * @param signal ends the stream as well; whoever leaves early has to abort it
 */
export async function* newestOf<M>(
  stream: AsyncIterable<M>,
  clock: Clock,
  signal: AbortSignal,
): AsyncGenerator<M, void, undefined> {
  const messages = stream[Symbol.asyncIterator]();
  const allowance = new Allowance(clock);
  const read = () => {
    const next = messages.next();
    // Whoever leaves before it has come does not ask how it ended.
    next.catch(() => {});
    return next;
  };
  try {
    for (let next = read(); ; ) {
      const message = await next;
      if (message.done === true) return;
      let newest = message.value;
      next = read();
      const waitMs = allowance.take();
      if (waitMs > 0) {
        const over = clock.sleep(waitMs, signal).catch(() => {});
        for (;;) {
          const came = await Promise.race([next.catch(() => {}), over]);
          if (came === undefined || came.done === true) break;
          newest = came.value;
          next = read();
        }
      }
      yield newest;
    }
  } finally {
    // Not waited for: it comes to its turn only once the read that is under way has ended, by the signal.
    messages.return?.().catch(() => {});
  }
}
