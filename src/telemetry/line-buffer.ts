/** Lines of text on their way to a pipe or a terminal. */
import { Batches } from "./batches.ts";

/** Where lines go. */
export interface LineSink {
  /** Writes all of a text. */
  write(text: string): Promise<void>;
  /** Writes a text before it returns, where the process ends. */
  writeNow?(text: string): void;
}

/** Characters that may wait for a slow reader. */
const MAX_WAITING = 8_388_608;

/** Collects lines, newlines included, and hands them on in order. */
export class LineBuffer extends Batches<string> {
  /**
   * @param failed hears of lines that could not be written and are gone
   * @param max characters that may wait; 8 Mi by default
   */
  constructor(sink: LineSink, failed: (error: unknown, lines: number) => void = () => {}, max: number = MAX_WAITING) {
    const write = (lines: readonly string[]) => sink.write(lines.join(""));
    const writeNow = (lines: readonly string[]) => sink.writeNow?.(lines.join(""));
    super({ write, writeNow }, failed, max, (line) => line.length);
  }
}
