/** Signals of the process that close a server. */
import process from "node:process";

/**
 * Calls back at the first of these signals.
 *
 * @param signals `SIGTERM` and `SIGINT` unless given
 * @returns takes the handlers back; a second signal finds the runtime's own answer, which is to end at once
 */
export function closeOnSignal(
  signals: readonly NodeJS.Signals[] = ["SIGTERM", "SIGINT"],
  close: (signal: NodeJS.Signals) => void,
): () => void {
  const forget = () => {
    for (const signal of signals) process.off(signal, onSignal);
  };
  const onSignal = (signal: NodeJS.Signals) => {
    forget();
    close(signal);
  };
  for (const signal of signals) process.on(signal, onSignal);
  return forget;
}
