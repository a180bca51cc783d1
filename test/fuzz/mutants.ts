/** What is done to a mutant, and what its answer must be like: typed, in bounded time, and no acceptance without grounds. */
import { ERROR_CODES, isSpiffeError, REASONS, type Verdict } from "../../src/base/index.ts";
import type { Random } from "./random.ts";

/** One call with the mutant. */
export interface Call<T = unknown> {
  readonly name: string;
  /** Gives a verdict, at once or later. */
  run(): Verdict<T> | Promise<Verdict<T>>;
  /** Looks at what was accepted; gives the complaint, or nothing. */
  accepted?(value: T): string | undefined | Promise<string | undefined>;
}

/** A mutated input. */
export interface Mutant {
  /** All that is needed to see a finding again. */
  readonly input: readonly string[];
  readonly calls: readonly Call[];
  /** What no message may repeat. */
  readonly secrets?: readonly string[];
}

/** One place where bytes from outside come in. */
export interface Target {
  readonly name: string;
  /** How many of a thousand mutants are for it. */
  readonly share: number;
  mutate(random: Random): Mutant;
}

/** A call with its types checked where it is written. */
export function call<T>(
  name: string,
  run: () => Verdict<T> | Promise<Verdict<T>>,
  accepted?: (value: T) => string | undefined | Promise<string | undefined>,
): Call {
  return { name, run, ...(accepted !== undefined && { accepted }) } as Call;
}

/** A call of a function that throws: what it throws becomes the refusal, as long as it is an error of this project. */
export function throwing<T>(name: string, run: () => T | Promise<T>): Call {
  const refusal = (error: unknown): Verdict<T> => {
    if (!isSpiffeError(error) || !ERROR_CODES.includes(error.code) || error.reason === undefined) throw error;
    return { ok: false, reason: error.reason, message: error.message };
  };
  return call(name, () => {
    try {
      const value = run();
      return value instanceof Promise
        ? value.then((it) => ({ ok: true, value: it }) as const, refusal)
        : { ok: true, value };
    } catch (error) {
      return refusal(error);
    }
  });
}

const MAX_MESSAGE = 1_000;

/** What is wrong with the form of an answer, or nothing. */
export function untyped(answer: Verdict<unknown>, secrets: readonly string[] = []): string | undefined {
  if (typeof answer !== "object" || answer === null) return `no verdict: ${typeof answer}`;
  if (answer.ok === true) return "value" in answer ? undefined : "an acceptance without value";
  if (answer.ok !== false) return "neither accepted nor refused";
  if (!REASONS.includes(answer.reason)) return `unknown reason ${answer.reason}`;
  if (typeof answer.message !== "string" || answer.message === "") return "a refusal without a sentence";
  if (answer.message.length > MAX_MESSAGE) return `a sentence of ${answer.message.length} characters`;
  if (answer.index !== undefined && !Number.isSafeInteger(answer.index))
    return `an index that is none: ${answer.index}`;
  const secret = secrets.find((text) => text.length >= 12 && answer.message.includes(text));
  return secret === undefined ? undefined : "the sentence repeats a secret";
}

export const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");

export function equal(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
