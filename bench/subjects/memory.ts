/** What values cost in heap bytes while they are held. */
import process from "node:process";
import { SpiffeId } from "../../src/id/index.ts";
import { rowOf } from "../lib/rows.ts";
import type { Measure } from "./measure.ts";

const collect = (): void => {
  const { Bun, gc } = globalThis as { Bun?: { gc(force: boolean): void }; gc?: () => void };
  if (Bun !== undefined) Bun.gc(true);
  else if (gc !== undefined) gc();
  else throw new Error("The heap is measured after a collection: start with --expose-gc");
};

export const measureMemory: Measure = async ({ fixtures, runtime, amount, keep }) => {
  const ids = fixtures.ids.filter((id) => SpiffeId.safeParse(id).ok);
  const count = amount.samples >= 1_000 ? 1_000_000 : 100_000;
  const samples: number[] = [];
  for (let round = 0; samples.length < 3 && round < 10; round++) {
    const held: SpiffeId[] = new Array(count);
    // What other subjects left behind has to be gone before, or it counts as saved: finalizers run between collections.
    for (let i = 0; i < 3; i++) {
      collect();
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    const before = process.memoryUsage().heapUsed;
    for (let i = 0; i < count; i++) held[i] = SpiffeId.parse(ids[i % ids.length]!);
    collect();
    const grown = process.memoryUsage().heapUsed - before;
    if (grown > 0) samples.push(grown / held.length);
  }
  keep(rowOf({ subject: "memory", name: "id parse", stack: "spiffe-edge", runtime }, samples, "bytes"));
};
