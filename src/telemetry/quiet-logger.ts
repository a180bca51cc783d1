/** Loggers that can not harm what logs. */
import type { LogFields, Logger } from "./logger.ts";

/** A logger whose failures stay its own (S-8). */
export function thatNeverThrows(logger: Logger): Logger {
  const guarded = (level: keyof Logger) => (message: string, fields?: LogFields) => {
    try {
      logger[level](message, fields);
    } catch {
      // There is nowhere left to say it.
    }
  };
  return { debug: guarded("debug"), info: guarded("info"), warn: guarded("warn"), error: guarded("error") };
}
