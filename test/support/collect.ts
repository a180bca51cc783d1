/** Collecting garbage on demand, so that a test can tell what is held from what only lies around. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** Collects now. */
export function collectGarbage(): void {
  const { Bun } = globalThis as { Bun?: { gc(force: boolean): void } };
  if (Bun !== undefined) {
    Bun.gc(true);
    return;
  }
  // Where the flag is set after the start, only new contexts get the function.
  setFlagsFromString("--expose-gc");
  runInNewContext("gc")();
}
