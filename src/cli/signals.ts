/** Ctrl-C and SIGTERM: the first asks for an orderly end, a later one ends at once. */
import process from "node:process";

/** Signals that reach the process twice (terminal and launcher) arrive within this time. */
const SAME_PRESS_MS = 500;

/**
 * Resolves with the first SIGINT, SIGTERM or, unless others are given, SIGHUP.
 *
 * @param onInsist called for a further signal, when the person does not want to wait any longer
 */
export function untilSignal(
  onInsist: () => void,
  signals: readonly NodeJS.Signals[] = ["SIGINT", "SIGTERM", "SIGHUP"],
): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let first: number | undefined;
    const onSignal = (signal: NodeJS.Signals) => {
      const now = performance.now();
      if (first === undefined) {
        first = now;
        resolve(signal);
      } else if (now - first > SAME_PRESS_MS) {
        onInsist();
      }
    };
    for (const signal of signals) process.on(signal, () => onSignal(signal));
  });
}
