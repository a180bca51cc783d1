/** Times operations one by one. */
import process from "node:process";

const now = (): number => Number(process.hrtime.bigint()) / 1000;

/** How much to measure. */
export interface Amount {
  /** Measurements per row. */
  samples: number;
  /** Unmeasured runs before, so that compilers and connections are warm. */
  warmup: number;
}

/**
 * Microseconds per operation of a synchronous function.
 *
 * @param batch operations per measurement, for what is too short to time alone
 */
export function sampleSync(amount: Amount, op: (i: number) => void, batch = 1): number[] {
  for (let i = 0; i < amount.warmup * batch; i++) op(i);
  const samples: number[] = [];
  let next = 0;
  for (let s = 0; s < amount.samples; s++) {
    const start = now();
    for (let b = 0; b < batch; b++) op(next++);
    samples.push((now() - start) / batch);
  }
  return samples;
}

/** Microseconds per operation of an asynchronous function, one at a time. */
export async function sampleAsync(amount: Amount, op: (i: number) => Promise<unknown>): Promise<number[]> {
  for (let i = 0; i < amount.warmup; i++) await op(-1 - i);
  const samples: number[] = [];
  for (let i = 0; i < amount.samples; i++) {
    const start = now();
    await op(i);
    samples.push(now() - start);
  }
  return samples;
}
