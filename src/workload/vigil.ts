/** A look at clock and socket once a second, as long as somebody wants it. */
import type { Clock } from "../base/clock.ts";

/** Also how late a step of the wall clock, or another socket at the path, is noticed (S-17). */
const TICK_MS = 1_000;

/** Looks each second of the monotonic clock on behalf of those who joined. No timer runs while nobody has. */
export class Vigil<M> {
  readonly #clock: Clock;
  readonly #look: (members: readonly M[]) => void;
  readonly #members = new Set<M>();
  #stop: AbortController | undefined;

  /** @param look what to do each second; it must not throw */
  constructor(clock: Clock, look: (members: readonly M[]) => void) {
    this.#clock = clock;
    this.#look = look;
  }

  /** Joins until the returned function is called. */
  join(member: M): () => void {
    this.#members.add(member);
    if (this.#stop === undefined) {
      this.#stop = new AbortController();
      void this.#keep(this.#stop.signal);
    }
    return () => {
      this.#members.delete(member);
      if (this.#members.size > 0) return;
      this.#stop?.abort();
      this.#stop = undefined;
    };
  }

  async #keep(signal: AbortSignal): Promise<void> {
    for (;;) {
      try {
        await this.#clock.sleep(TICK_MS, signal);
      } catch {
        return;
      }
      this.#look([...this.#members]);
    }
  }
}
