/** Wakes whoever waits for the next change. */

export class Change {
  #listeners: Set<() => void> = new Set();

  /** Calls `listener` at every change until the returned function is called. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  notify(): void {
    for (const listener of [...this.#listeners]) listener();
  }
}

/**
 * Runs once at the start, and again after every change until one of the signals aborts. Changes that come while the loop body
 * works are folded into one more turn, so a slow reader sees the newest state and not every state.
 */
export async function* turns(change: Change, ...signals: AbortSignal[]): AsyncGenerator<void, void, undefined> {
  let pending = true;
  let wake = () => {};
  const poke = () => {
    pending = true;
    wake();
  };
  const unsubscribe = change.subscribe(poke);
  for (const signal of signals) signal.addEventListener("abort", poke);
  try {
    while (!signals.some((signal) => signal.aborted)) {
      if (!pending) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
        continue;
      }
      pending = false;
      yield;
    }
  } finally {
    unsubscribe();
    for (const signal of signals) signal.removeEventListener("abort", poke);
  }
}
