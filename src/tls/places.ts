/** A bounded number of connections over all hosts: who wants one more waits for its turn. */

/** Places for connections, given in the order in which they were asked for. */
export class Places {
  readonly #most: number;
  #taken = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(most: number) {
    this.#most = most;
  }

  /** Whether somebody waits. */
  get wanted(): boolean {
    return this.#waiting.length > 0;
  }

  /** Waits for a place; what it gives has to be called when the place is left, and does nothing the second time. */
  async take(): Promise<() => void> {
    if (this.#taken < this.#most) this.#taken++;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    let left = false;
    return () => {
      if (left) return;
      left = true;
      const next = this.#waiting.shift();
      // The place goes from hand to hand, so that nobody comes between.
      if (next === undefined) this.#taken--;
      else next();
    };
  }
}
