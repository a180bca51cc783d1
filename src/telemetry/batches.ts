/** Lines of a log on their way: handed on in batches, none lost at the end, and no memory without bound (they are dropped and counted). */

/** Where batches go. */
export interface BatchSink<T> {
  /** Writes all of a batch. */
  write(lines: readonly T[]): Promise<void>;
  /** Writes a batch before it returns, where the process ends. */
  writeNow(lines: readonly T[]): void;
}

/** Milliseconds after a batch in which lines gather for the next: a write each would cost more than the lines. */
const GATHER_MS = 20;

/** Collects lines, or what becomes one when it is written, and hands them on in order. */
export class Batches<T> {
  readonly #sink: BatchSink<T>;
  readonly #failed: (error: unknown, lines: number) => void;
  readonly #max: number;
  readonly #sizeOf: (line: T) => number;
  #waiting: T[] = [];
  #size = 0;
  #writing: Promise<void> | undefined;
  /** Who waits for everything to be written. */
  #flushing = 0;
  /** Ends the time in which lines gather. */
  #goOn: (() => void) | undefined;
  #dropped = 0;

  /**
   * @param failed hears of lines that could not be written and are gone
   * @param max how much may wait, in the unit of `sizeOf`
   */
  constructor(
    sink: BatchSink<T>,
    failed: (error: unknown, lines: number) => void,
    max: number,
    sizeOf: (line: T) => number,
  ) {
    this.#sink = sink;
    this.#failed = failed;
    this.#max = max;
    this.#sizeOf = sizeOf;
  }

  /** Lines that are gone: there was no room for them, or the sink failed. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Takes a line; drops it while too much is waiting. */
  push(line: T): void {
    const size = this.#sizeOf(line);
    if (this.#size + size > this.#max) {
      this.#dropped++;
      return;
    }
    this.#waiting.push(line);
    this.#size += size;
    this.#writing ??= this.#write();
  }

  /** Resolves once everything that was pushed is written or given up. */
  async flush(): Promise<void> {
    this.#flushing++;
    this.#goOn?.();
    while (this.#writing !== undefined) await this.#writing;
    this.#flushing--;
  }

  /** Writes what waits before it returns, for a process that ends now; never throws. A batch on its way is left to the system. */
  flushNow(): void {
    const lines = this.#waiting;
    this.#waiting = [];
    if (lines.length === 0) return;
    try {
      this.#sink.writeNow(lines);
    } catch {
      this.#dropped += lines.length;
    }
  }

  #gather(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, GATHER_MS);
      this.#goOn = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  async #write(): Promise<void> {
    // what else is logged in this turn goes along
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#waiting.length > 0) {
      const lines = this.#waiting;
      const size = this.#size;
      this.#waiting = [];
      try {
        await this.#sink.write(lines);
      } catch (error) {
        this.#dropped += lines.length;
        this.#failed(error, lines.length);
      }
      // a batch counts until it is out, or a stuck sink would hold twice the bound
      this.#size -= size;
      if (this.#flushing === 0) await this.#gather();
    }
    this.#writing = undefined;
  }
}
