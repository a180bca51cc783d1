/** What a process holds: heap after a collection, and open files. */
import { readdirSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";

export interface Resources {
  /** Bytes of the heap in use; undefined where nothing collects garbage on demand. */
  readonly heap: number | undefined;
  /** Open file descriptors; undefined where the system does not tell. */
  readonly files: number | undefined;
}

function collector(): (() => void) | undefined {
  const { Bun, gc } = globalThis as { Bun?: { gc(force: boolean): void }; gc?: () => void };
  return Bun === undefined ? gc : () => Bun.gc(true);
}

/** Measures after what is over has had the time to go. */
export async function measureResources(): Promise<Resources> {
  const collect = collector();
  let heap: number | undefined;
  for (let round = 0; collect !== undefined && round < 5; round++) {
    await wait(50);
    collect();
    heap = Math.min(heap ?? Number.POSITIVE_INFINITY, process.memoryUsage().heapUsed);
  }
  return { heap, files: openFiles() };
}

function openFiles(): number | undefined {
  try {
    return readdirSync("/proc/self/fd").length;
  } catch {
    return undefined;
  }
}
