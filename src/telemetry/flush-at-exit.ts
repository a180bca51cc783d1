/** Lines that still gather when the process ends by itself, as after `process.exit()` or an error that nobody caught. */
import process from "node:process";

/** What has lines that are not written yet. */
export interface Unwritten {
  /** Writes them before it returns. */
  flushNow(): void;
}

const waiting: Set<Unwritten> = new Set();

function flushAll(): void {
  // what came last may log into what was there before
  for (const one of [...waiting].reverse()) {
    try {
      one.flushNow();
    } catch {
      // nobody is left to be told
    }
  }
}

/** Writes what waits at the end of the process, until the returned function is called. */
export function flushAtExit(one: Unwritten): () => void {
  // one listener for all, taken away with the last of them
  if (waiting.size === 0) process.on("exit", flushAll);
  waiting.add(one);
  return () => {
    if (waiting.delete(one) && waiting.size === 0) process.off("exit", flushAll);
  };
}
