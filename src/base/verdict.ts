/** Verdicts: what the inside of the project returns instead of throwing on bad input. */
import type { ErrorCode, Reason } from "./codes.ts";
import { SpiffeError } from "./errors.ts";

/** A refusal: the rule that was broken, a sentence, and, for chains and lists, the index of the offending element. */
export interface Refusal {
  readonly ok: false;
  readonly reason: Reason;
  readonly message: string;
  readonly index?: number | undefined;
}

/** An accepted value or a refusal with its reason. Never a bare boolean: a caller has to look at `ok` to get a value. */
export type Verdict<T> = { readonly ok: true; readonly value: T } | Refusal;

/** Makes an accepting verdict. */
export function accept<T>(value: T): Verdict<T> {
  return { ok: true, value };
}

/** Makes a refusing verdict. */
export function refuse(reason: Reason, message: string, index?: number): Refusal {
  return index === undefined ? { ok: false, reason, message } : { ok: false, reason, message, index };
}

/** Returns the value of an accepting verdict, else throws a {@link SpiffeError} with the given code and the verdict's reason. */
export function unwrap<T>(verdict: Verdict<T>, code: ErrorCode, hint?: string): T {
  if (verdict.ok) return verdict.value;
  throw new SpiffeError(code, verdict.message, { reason: verdict.reason, hint });
}
