/** The time of one try: to a connection, stands still while a body is on its way, and begins anew at the body's end. */
import type { Deadline, Deadlines } from "../deadlines.ts";

/** A timer that is started anew for each part of a try. */
export class TryTimer {
  readonly #deadlines: Deadlines;
  readonly #ms: number | undefined;
  readonly #late: () => void;
  #running: Deadline | undefined;

  /** @param ms milliseconds; undefined never ends */
  constructor(deadlines: Deadlines, ms: number | undefined, late: () => void) {
    this.#deadlines = deadlines;
    this.#ms = ms;
    this.#late = late;
  }

  start(): void {
    this.stop();
    if (this.#ms !== undefined) this.#running = this.#deadlines.after(this.#ms, this.#late);
  }

  stop(): void {
    this.#running?.cancel();
    this.#running = undefined;
  }
}
