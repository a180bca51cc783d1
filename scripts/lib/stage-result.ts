/** What a stage of `npm test` is given and what it gives. */
import type { RuntimeName } from "./runtimes.ts";

/** What one line of the report stands for. */
export interface StageResult {
  /** What ran where, such as `unit on bun`. */
  name: string;
  passed: number;
  failed: number;
  skipped: number;
  seconds: number;
  /** Shown only when something failed. */
  output: string;
  /** Announced skips, shown always. */
  skips: readonly string[];
}

/** What a developer asked for; empty lists mean everything. */
export interface Filter {
  runtimes: readonly RuntimeName[];
  /** Beginnings of test file paths. */
  only: readonly string[];
}
