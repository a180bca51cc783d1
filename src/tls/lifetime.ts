/** The end of connections: each is told to drain near the end of its certificates' life and ended at it (S-9). */
import { type Clock, timeOf } from "../base/clock.ts";
import type { SpiffeId } from "../id/index.ts";
import type { TlsIdentity } from "./identity.ts";

/** A connection with an end. */
export interface Life {
  /** Wall time in milliseconds from which the connection finishes what it does and takes nothing new. */
  readonly drainAt: number;
  /** Wall time in milliseconds at which it is destroyed. */
  readonly endAt: number;
  /** Whether what the connection rests on was withdrawn; it is then destroyed. */
  isForsaken(): boolean;
  drain(): void;
  end(): void;
}

/** Milliseconds between looks at the wall clock; also how late an end may come, and how soon a clock step is seen. */
const TICK_MS = 500;

class Keeper {
  readonly #clock: Clock;
  readonly #lives = new Map<Life, { draining: boolean }>();
  #stop: AbortController | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  add(life: Life): () => void {
    this.#lives.set(life, { draining: false });
    if (this.#stop === undefined) {
      this.#stop = new AbortController();
      void this.#run(this.#stop.signal);
    }
    return () => {
      this.#lives.delete(life);
      if (this.#lives.size > 0) return;
      // No timer outlives the last connection, so none holds the process.
      this.#stop?.abort();
      this.#stop = undefined;
    };
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.#clock.sleep(TICK_MS, signal);
      } catch {
        return;
      }
      const now = timeOf(this.#clock);
      for (const [life, state] of [...this.#lives]) {
        if (!(now < life.endAt) || life.isForsaken()) life.end();
        else if (life.drainAt <= now && !state.draining) {
          state.draining = true;
          life.drain();
        }
      }
    }
  }
}

const keepers = new WeakMap<Clock, Keeper>();

/** Watches a connection until the returned function is called; it has to be called when the connection is gone. */
export function keep(clock: Clock, life: Life): () => void {
  let keeper = keepers.get(clock);
  if (keeper === undefined) {
    keeper = new Keeper(clock);
    keepers.set(clock, keeper);
  }
  return keeper.add(life);
}

/** Whether this side has no SVID any more, or no authority left that could vouch for the peer (S-9, S-10). */
export function isForsaken({ x509 }: TlsIdentity, peer: SpiffeId | undefined): boolean {
  try {
    x509.x509Svid();
    return peer !== undefined && x509.x509BundleFor(peer.trustDomain)?.isEmpty !== false;
  } catch {
    return true;
  }
}

/** A point in the last tenth of the time from `now` to `endAt`, spread so that connections do not drain together. */
export function drainPoint(now: number, endAt: number): number {
  return endAt - (endAt - now) * 0.1 * Math.random();
}
