/** Many waits of a few lengths, a timer for each length: what every request begins and hardly one sees the end of. */
import type { Clock } from "../base/index.ts";

/** One wait. */
export interface Deadline {
  /** Forgets it; does nothing once it is over. */
  cancel(): void;
}

/** A wait, linked to its neighbours in its lane. */
class Wait implements Deadline {
  next: Wait = this;
  previous: Wait = this;
  readonly at: number;
  readonly act: (() => void) | undefined;

  constructor(at: number, act: (() => void) | undefined) {
    this.at = at;
    this.act = act;
  }

  cancel(): void {
    const { previous, next } = this;
    previous.next = next;
    next.previous = previous;
    this.next = this;
    this.previous = this;
    if (next === previous && next instanceof Lane) next.emptied();
  }
}

/** Why a timer ends; one for all, as the error that would be made for each costs more than the rest. */
const NOBODY = "nobody waits";

/** Waits of one length, the next one due first. */
class Lane extends Wait {
  readonly #clock: Clock;
  #stop = new AbortController();
  #running = false;
  #ending = false;

  constructor(clock: Clock) {
    super(Number.NEGATIVE_INFINITY, undefined);
    this.#clock = clock;
  }

  /** Puts a wait behind the last one that is due no later. */
  add(wait: Wait): void {
    let before = this.previous;
    while (before.at > wait.at) before = before.previous;
    wait.previous = before;
    wait.next = before.next;
    before.next.previous = wait;
    before.next = wait;
    if (!this.#running) void this.#run();
  }

  /** Nobody waits: no timer holds a process that is done. Who comes in the same turn goes on with the one that runs. */
  emptied(): void {
    if (this.#ending) return;
    this.#ending = true;
    setImmediate(() => {
      this.#ending = false;
      if (this.next === this) this.#stop.abort(NOBODY);
    });
  }

  async #run(): Promise<void> {
    this.#running = true;
    while (this.next !== this) {
      const first = this.next;
      const left = first.at - this.#clock.monotonic();
      if (left > 0) {
        if (this.#stop.signal.aborted) this.#stop = new AbortController();
        await this.#clock.sleep(left, this.#stop.signal).catch(() => {});
      } else {
        first.cancel();
        first.act?.();
      }
    }
    this.#running = false;
  }
}

/** Waits whose lengths are those of a configuration. */
export class Deadlines {
  readonly #clock: Clock;
  readonly #lanes = new Map<number, Lane>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Waits.
   *
   * @param ms milliseconds, one of a few lengths
   * @param act must not throw
   * @param from when the wait began, by the clock's monotonic time; earlier than now only from within `act`
   */
  after(ms: number, act: () => void, from: number = this.#clock.monotonic()): Deadline {
    let lane = this.#lanes.get(ms);
    if (lane === undefined) {
      lane = new Lane(this.#clock);
      this.#lanes.set(ms, lane);
    }
    const wait = new Wait(from + ms, act);
    lane.add(wait);
    return wait;
  }
}
