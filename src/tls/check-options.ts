/** Options from a caller, held to what they may be: one sentence for each that is not. */
import { SpiffeError } from "../base/errors.ts";

/** Refuses an option that the function does not know: a misspelt `authorize` must not mean "everybody". */
export function onlyKnown(name: string, options: unknown, known: readonly string[]): void {
  if (typeof options !== "object" || options === null) throw usage(`Expected options for ${name}; got none`);
  for (const key of Object.keys(options)) {
    if (!known.includes(key)) throw usage(`Expected options of ${name} among ${known.join(", ")}; got ${key}`);
  }
}

/** Refuses a number outside of its range; `undefined` is the default and passes. */
export function inRange(name: string, value: number | undefined, min: number, max: number): void {
  if (value === undefined || (typeof value === "number" && value >= min && value <= max)) return;
  const range = max === Infinity ? `of at least ${min}` : `from ${min} to ${max}`;
  throw usage(`Expected ${name} to be a number ${range}; got ${String(value)}`);
}

/** Like {@link inRange}, for what is counted. */
export function wholeInRange(name: string, value: number | undefined, min: number, max: number): void {
  inRange(name, value, min, max);
  if (value !== undefined && value !== Infinity && !Number.isInteger(value)) {
    throw usage(`Expected ${name} to be a whole number; got ${value}`);
  }
}

/** An error for options that can not be followed. */
export function usage(message: string, hint = "Change the call: it is refused each time"): SpiffeError {
  return new SpiffeError("ERR_SPIFFE_USAGE", message, { phase: "options", hint });
}
