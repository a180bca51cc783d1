/** The logging seam: four levels, a sentence, and fields. Secrets are never passed in. */

export type LogFields = Readonly<Record<string, unknown>>;

export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

/** Says nothing; the default of every library entry point. */
export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} };

/**
 * Writes one JSON object per line.
 *
 * @param write receives each line, newline included
 * @param level the lowest level that is written
 */
export function jsonLogger(write: (line: string) => void, level: keyof Logger = "info"): Logger {
  const order: (keyof Logger)[] = ["debug", "info", "warn", "error"];
  const log = (name: keyof Logger) => (message: string, fields?: LogFields) => {
    if (order.indexOf(name) < order.indexOf(level)) return;
    write(`${JSON.stringify({ time: new Date().toISOString(), level: name, message, ...fields })}\n`);
  };
  return { debug: log("debug"), info: log("info"), warn: log("warn"), error: log("error") };
}
