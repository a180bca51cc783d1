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

/** What JSON lets through and a terminal or an editor acts on: controls, line ends, and marks that turn the reading direction. */
const HIDDEN = /[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/;
const ALL_HIDDEN = new RegExp(HIDDEN, "g");

/** A value as JSON in one line that shows all it holds. */
function shown(value: object | string): string {
  const json = JSON.stringify(value);
  // they stand in strings alone, where JSON has another spelling for each
  if (!HIDDEN.test(json)) return json;
  return json.replace(ALL_HIDDEN, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** Names that a line has already, and what makes an object something else in JSON. */
const TAKEN = ["time", "level", "message", "toJSON"] as const;

/**
 * `{ time, level, message, ...fields }` as one line, its newline included; a copy of many fields would cost more than what is
 * written of them.
 *
 * @param at wall time in milliseconds
 */
export function jsonLine(at: number, level: keyof Logger, message: string, fields: LogFields = {}): string {
  const time = timeText(at);
  for (const name of TAKEN) if (name in fields) return `${shown({ time, level, message, ...fields })}\n`;
  const rest = shown(fields);
  const start = `{"time":"${time}","level":"${level}","message":${shown(message)}`;
  return rest === "{}" ? `${start}}\n` : `${start},${rest.slice(1)}\n`;
}

/** The wall time of a line, in milliseconds: that of the machine, whatever clock decides. */
export function lineTime(): number {
  return Date.now();
}

let lastMs = Number.NaN;
let lastTime = "";

/** A wall time in milliseconds as text; lines come many to a millisecond. */
export function timeText(at: number): string {
  if (at !== lastMs) {
    lastTime = new Date(at).toISOString();
    lastMs = at;
  }
  return lastTime;
}

/**
 * Writes one JSON object per line. Controls, line ends and marks of the reading direction come as `\\u` and their number.
 *
 * @param write receives each line, newline included
 * @param level the lowest level that is written
 */
export function jsonLogger(write: (line: string) => void, level: keyof Logger = "info"): Logger {
  const order: (keyof Logger)[] = ["debug", "info", "warn", "error"];
  const log = (name: keyof Logger) => {
    if (order.indexOf(name) < order.indexOf(level)) return () => {};
    return (message: string, fields?: LogFields) => {
      write(jsonLine(lineTime(), name, message, fields));
    };
  };
  return { debug: log("debug"), info: log("info"), warn: log("warn"), error: log("error") };
}
