/** A logger that says something of itself in every line. */
import type { LogFields, Logger } from "./logger.ts";

/** Adds fields to each line; what a line itself says goes before them. */
export function withFields(logger: Logger, always: LogFields): Logger {
  const say = (level: keyof Logger) => (message: string, fields?: LogFields) =>
    logger[level](message, { ...always, ...fields });
  return { debug: say("debug"), info: say("info"), warn: say("warn"), error: say("error") };
}
