/** The end of handshakes that are not over in time (S-7): one timer for all of a listener, as all have the same time. */
import { type Clock, systemClock } from "../base/clock.ts";
import { rest } from "./rest.ts";

/** Watches handshakes from the moment that a connection is there, whatever comes over it and when. */
export class HandshakeDeadlines<Held extends object> {
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #late: (who: Held) => void;
  /** When each began, oldest first. */
  readonly #since = new Map<object, number>();
  #stop: AbortController | undefined;

  /** @param late ends a handshake; called once for each that is not {@link over} within `timeoutMs` */
  constructor(clock: Clock, timeoutMs: number, late: (who: Held) => void) {
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
    this.#late = late;
  }

  /** Handshakes that are watched. */
  get size(): number {
    return this.#since.size;
  }

  /** A handshake begins. */
  add(who: Held): void {
    this.#since.set(who, this.#now());
    if (this.#stop !== undefined) return;
    this.#stop = new AbortController();
    void this.#run(this.#stop.signal);
  }

  /** A handshake is over, or its connection; does nothing for one that is not watched. */
  over(who: object): void {
    this.#since.delete(who);
  }

  /** Watches nothing any more. */
  stop(): void {
    this.#since.clear();
    this.#stop?.abort();
    this.#stop = undefined;
  }

  async #run(signal: AbortSignal): Promise<void> {
    for (;;) {
      await this.#rest(this.#left(), signal);
      if (signal.aborted) return;
      for (const who of this.#due()) {
        this.#since.delete(who);
        this.#late(who as Held);
      }
      if (this.#since.size > 0) continue;
      this.#stop = undefined;
      return;
    }
  }

  /** Those whose time is over. A time that is no number is later than everything: doubt keeps nothing waiting. */
  #due(): object[] {
    const due: object[] = [];
    const now = this.#now();
    for (const [who, since] of this.#since) {
      if (now - since < this.#timeoutMs) break;
      due.push(who);
    }
    return due;
  }

  /** Milliseconds until the first of them is late. */
  #left(): number {
    const [since] = this.#since.values();
    const left = since === undefined ? this.#timeoutMs : since + this.#timeoutMs - this.#now();
    return left > 0 ? left : 0;
  }

  async #rest(ms: number, signal: AbortSignal): Promise<void> {
    try {
      await rest(this.#clock, ms, signal);
    } catch {
      // A clock that can not wait must not keep handshakes waiting.
      if (!signal.aborted) await rest(systemClock, ms, signal).catch(() => {});
    }
  }

  #now(): number {
    try {
      return this.#clock.monotonic();
    } catch {
      return Number.NaN;
    }
  }
}
