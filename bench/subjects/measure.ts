/** What a subject gets to measure with. */
import type { Fixtures } from "../lib/fixtures.ts";
import type { Row, Runtime, Stack, Subject, Verdicts } from "../lib/rows.ts";
import { rowOf } from "../lib/rows.ts";
import { type Amount, sampleAsync, sampleSync } from "../lib/sample.ts";

type Op = (i: number) => void | Promise<unknown>;

/** Hands of one measuring process. */
export interface Bench {
  readonly fixtures: Fixtures;
  readonly runtime: Runtime;
  readonly amount: Amount;
  /** Measures an operation and keeps the row; an operation that returns a promise is awaited each time. */
  add(subject: Subject, name: string, stack: Stack, op: Op, amount?: Amount & { batch?: number }): Promise<void>;
  /** Keeps a row that was measured otherwise. */
  keep(row: Row): void;
  /** Runs every distinct input once and keeps how many were accepted. */
  count<T>(key: string, stack: Stack, inputs: readonly T[], accepts: (input: T) => boolean): void;
  countAsync<T>(
    key: string,
    stack: Stack,
    inputs: readonly T[],
    accepts: (input: T) => Promise<boolean>,
  ): Promise<void>;
}

export type Measure = (bench: Bench) => Promise<void>;

/** A bench that collects into the two given containers. */
export function collector(
  fixtures: Fixtures,
  runtime: Runtime,
  amount: Amount,
  rows: Row[],
  verdicts: Record<string, Verdicts>,
): Bench {
  const keepVerdicts = (key: string, stack: Stack, results: readonly boolean[]) => {
    const accepted = results.filter(Boolean).length;
    verdicts[`${key} ${stack}`] = { accepted, refused: results.length - accepted };
  };
  return {
    fixtures,
    runtime,
    amount,
    async add(subject, name, stack, op, own = amount) {
      const first = op(0);
      await first;
      const samples =
        first instanceof Promise
          ? await sampleAsync(own, op as (i: number) => Promise<unknown>)
          : sampleSync(own, op as (i: number) => void, own.batch ?? 1);
      rows.push(rowOf({ subject, name, stack, runtime }, samples));
    },
    keep: (row) => void rows.push(row),
    count(key, stack, inputs, accepts) {
      keepVerdicts(key, stack, inputs.map(accepts));
    },
    async countAsync(key, stack, inputs, accepts) {
      const results: boolean[] = [];
      for (const input of inputs) results.push(await accepts(input));
      keepVerdicts(key, stack, results);
    },
  };
}
