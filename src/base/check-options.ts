/** Options from a caller, held to what they may be: one sentence for each that is not. */
import { SpiffeError } from "./errors.ts";

/** Every name of an options type: a list that lacks one, or has another, does not compile. */
export type OptionNames<T> = Readonly<Record<T extends unknown ? keyof T : never, true>>;

/**
 * Refuses what is no object of options, and an option that the function does not know: a misspelt `authorize` must not
 * mean "everybody". Inherited names count as they are read as well; symbols do not, as nobody misspells one. A name
 * without a value is refused like any other: whether it has one may differ from run to run.
 *
 * @param name what the caller called
 * @param known its keys are the names of the options
 */
export function onlyKnown(name: string, options: unknown, known: object): void {
  if (typeof options !== "object" || options === null || Array.isArray(options)) throw noOptions(name, options);
  let empty = true;
  for (const key in options) {
    empty = false;
    // what somebody gave to every object is not said by this caller
    if (Object.hasOwn(known, key) || (key in Object.prototype && !Object.hasOwn(options, key))) continue;
    throw usage(`Expected options of ${name} among ${Object.keys(known).join(", ")}; got ${key}`);
  }
  // a promise that nobody awaited, a Map, a date: it has no names, and would mean every default
  const plain = !empty || Object.getPrototypeOf(options) === Object.prototype || kindOf(options) === "an Object";
  if (!plain) throw noOptions(name, options);
}

/** The options as a plain object, for a spread: that alone would lose what an object inherits. */
export function plainOptions<T extends object>(options: T, known: object): T {
  const given: Partial<T> = {};
  for (const name of Object.keys(known) as (keyof T)[]) if (name in options) given[name] = options[name];
  return given as T;
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

/** Says what came by its kind alone: a text in the wrong place may be a token. */
function noOptions(name: string, got: unknown): SpiffeError {
  return usage(`Expected an object of options for ${name}; got ${got === undefined ? "none" : kindOf(got)}`);
}

function kindOf(value: unknown): string {
  if (value === null) return "null";
  const kind = typeof value === "object" ? Object.prototype.toString.call(value).slice(8, -1) : typeof value;
  return `${/^[AEIO]/.test(kind) ? "an" : "a"} ${kind}`;
}
