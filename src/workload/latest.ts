/** The newest value of something that changes, for any number of readers. A slow reader skips to the newest. */

export class Latest<T> {
  #value: T | undefined;
  #version = 0;
  #ended = false;
  #error: unknown;
  readonly #waiting = new Set<() => void>();

  set(value: T): void {
    if (this.#ended) return;
    this.#value = value;
    this.#version++;
    this.#wake();
  }

  /** Ends every reader: at once and quietly, or by throwing the error after the newest value. */
  end(error?: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    this.#wake();
  }

  /**
   * The newest value if there is one, then each newer one until the end or until the signal aborts.
   *
   * @throws what {@link Latest.end} was given, once the newest value was read
   */
  async *values(signal?: AbortSignal): AsyncGenerator<T, void, undefined> {
    let seen = 0;
    while (!signal?.aborted) {
      if (this.#ended && this.#error === undefined) return;
      if (this.#version > seen) {
        seen = this.#version;
        yield this.#value as T;
      } else if (this.#ended) {
        throw this.#error;
      } else {
        await this.#change(signal);
      }
    }
  }

  #change(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        this.#waiting.delete(done);
        signal?.removeEventListener("abort", done);
        resolve();
      };
      this.#waiting.add(done);
      signal?.addEventListener("abort", done, { once: true });
    });
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }
}
