/** Bytes between two connections, both ways, each end passed on by itself. */
import type { Duplex } from "node:stream";
import type { Clock } from "../base/index.ts";
import type { Deadline, Deadlines } from "./deadlines.ts";

/** How long it may stand still. */
export interface TunnelSettings {
  readonly clock: Clock;
  readonly deadlines: Deadlines;
  /** Milliseconds without a byte in either direction. */
  readonly idleMs: number;
}

/** How it went. */
export interface Tunnelled {
  readonly toFirst: number;
  readonly toSecond: number;
  /** Whether both sides ended by themselves. */
  readonly complete: boolean;
  readonly error: unknown;
}

/** Two connections that are one; run it once. */
export class Tunnel {
  readonly #first: Duplex;
  readonly #second: Duplex;
  readonly #clock: Clock;
  readonly deadlines: Deadlines;
  readonly #idleMs: number;
  #idle: Deadline | undefined;
  #movedAt: number;
  #toFirst = 0;
  #toSecond = 0;
  /** Directions that are through. */
  #ends = 0;
  #complete = false;
  #error: unknown;
  #resolve!: () => void;

  constructor(first: Duplex, second: Duplex, { clock, deadlines, idleMs }: TunnelSettings) {
    this.#first = first;
    this.#second = second;
    this.#clock = clock;
    this.deadlines = deadlines;
    this.#idleMs = idleMs;
    this.#movedAt = clock.monotonic();
  }

  /** @param early bytes that the first has sent already; `late` those of the second */
  async run(early: Uint8Array, late: Uint8Array): Promise<Tunnelled> {
    const over = new Promise<void>((resolve) => {
      this.#resolve = resolve;
    });
    this.#watch(this.#movedAt);
    this.#join(this.#first, this.#second, early, (bytes) => {
      this.#toSecond += bytes;
    });
    this.#join(this.#second, this.#first, late, (bytes) => {
      this.#toFirst += bytes;
    });
    await over;
    this.#idle?.cancel();
    const complete = this.#complete;
    if (this.#ends < 2) {
      this.#first.destroy();
      this.#second.destroy();
    }
    return { toFirst: this.#toFirst, toSecond: this.#toSecond, complete, error: complete ? undefined : this.#error };
  }

  #join(from: Duplex, to: Duplex, early: Uint8Array, count: (bytes: number) => void): void {
    const pass = (chunk: Uint8Array) => {
      if (to.destroyed || to.writableEnded) return;
      this.#movedAt = this.#clock.monotonic();
      count(chunk.byteLength);
      if (!to.write(chunk)) from.pause();
    };
    to.on("drain", () => from.resume());
    from.on("data", pass);
    let ended = false;
    from.once("end", () => {
      ended = true;
      if (!to.writableEnded) to.end();
      if (++this.#ends < 2) return;
      this.#complete = true;
      this.#resolve();
    });
    from.once("error", (error) => {
      this.#error ??= error;
      this.#resolve();
    });
    from.once("close", () => {
      // where no connection stays half open, the side that ended takes nothing more
      if (ended) this.#complete = true;
      this.#error ??= new Error("A side of the tunnel was closed");
      this.#resolve();
    });
    if (early.byteLength > 0) pass(early);
    from.resume();
  }

  #watch(from: number): void {
    this.#idle = this.deadlines.after(
      this.#idleMs,
      () => {
        if (this.#movedAt + this.#idleMs > this.#clock.monotonic()) return this.#watch(this.#movedAt);
        this.#error ??= new Error("The tunnel stood still");
        this.#resolve();
      },
      from,
    );
  }
}
