/** The time of one try: to a connection, stands still while a body is on its way, and begins anew at the body's end. */
import type { Clock } from "../../base/index.ts";

/** A timer that is started anew for each part of a try. */
export class TryTimer {
  readonly #clock: Clock;
  readonly #ms: number | undefined;
  readonly #late: () => void;
  #running: AbortController | undefined;

  /** @param ms milliseconds; undefined never ends */
  constructor(clock: Clock, ms: number | undefined, late: () => void) {
    this.#clock = clock;
    this.#ms = ms;
    this.#late = late;
  }

  start(): void {
    this.stop();
    if (this.#ms === undefined) return;
    const running = new AbortController();
    this.#running = running;
    this.#clock.sleep(this.#ms, running.signal).then(
      () => {
        if (this.#running === running) this.#late();
      },
      () => {},
    );
  }

  stop(): void {
    const running = this.#running;
    this.#running = undefined;
    running?.abort();
  }
}
