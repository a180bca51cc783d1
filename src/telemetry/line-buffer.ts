/** Lines on their way to a file or a pipe: written in batches, none lost at the end, and no memory without bound (they are dropped and counted). */

/** Where lines go. */
export interface LineSink {
  /** Writes all of a text. */
  write(text: string): Promise<void>;
  /** Writes a text before it returns, where the process ends. */
  writeNow?(text: string): void;
}

/** Characters that may wait for a slow reader. */
const MAX_WAITING = 8_388_608;
/** Milliseconds after a batch in which lines gather for the next: a write each would cost more than the lines. */
const GATHER_MS = 20;

/** Collects lines and hands them on in order. */
export class LineBuffer {
  readonly #sink: LineSink;
  readonly #failed: (error: unknown, lines: number) => void;
  readonly #max: number;
  #waiting: string[] = [];
  #length = 0;
  #writing: Promise<void> | undefined;
  /** Who waits for everything to be written. */
  #flushing = 0;
  /** Ends the time in which lines gather. */
  #goOn: (() => void) | undefined;
  #dropped = 0;

  /**
   * @param failed hears of lines that could not be written and are gone
   * @param max characters that may wait; 8 Mi by default
   */
  constructor(sink: LineSink, failed: (error: unknown, lines: number) => void = () => {}, max: number = MAX_WAITING) {
    this.#sink = sink;
    this.#failed = failed;
    this.#max = max;
  }

  /** Lines that are gone: there was no room for them, or the sink failed. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Takes a line, its newline included; drops it while too much is waiting. */
  push(line: string): void {
    if (this.#length + line.length > this.#max) {
      this.#dropped++;
      return;
    }
    this.#waiting.push(line);
    this.#length += line.length;
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
      this.#sink.writeNow?.(lines.join(""));
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
      const length = this.#length;
      this.#waiting = [];
      try {
        await this.#sink.write(lines.join(""));
      } catch (error) {
        this.#dropped += lines.length;
        this.#failed(error, lines.length);
      }
      // a batch counts until it is out, or a stuck sink would hold twice the bound
      this.#length -= length;
      if (this.#flushing === 0) await this.#gather();
    }
    this.#writing = undefined;
  }
}
