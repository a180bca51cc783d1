/** Exit codes, and the one sentence a failure is told in. */
import { isSpiffeError, SpiffeError } from "../base/index.ts";

/** What the process ends with. */
export const EXIT = {
  done: 0,
  failed: 1,
  usage: 2,
  drainDeadline: 3,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** Codes for which changing the command line, the environment or the file is the remedy. */
const USAGE_CODES = new Set(["ERR_SPIFFE_CONFIG", "ERR_SPIFFE_USAGE", "ERR_SPIFFE_ENDPOINT"]);

/** The exit code that stands for an error. */
export function exitCodeOf(error: unknown): ExitCode {
  return isSpiffeError(error) && USAGE_CODES.has(error.code) ? EXIT.usage : EXIT.failed;
}

/** An error of the command line: wrong option, wrong argument. */
export function usageError(message: string, hint: string): SpiffeError {
  return new SpiffeError("ERR_SPIFFE_USAGE", message, { hint });
}

/**
 * The error in words for a person: what was expected, what came, what to do. Never a stack. One sentence; a
 * configuration with several faults gets a line for each.
 */
export function sentenceOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  if (!isSpiffeError(error)) return oneLine([`unexpected failure: ${message}`]);
  if (error.code === "ERR_SPIFFE_CONFIG" && message.includes("\n"))
    return [message, error.hint ?? ""].join("\n").trim();
  return oneLine([message, error.hint ?? ""]);
}

/** {@link sentenceOf} as the command ends with it: where the remedy is not the command line, with the code to look for. */
export function lastWords(error: unknown): string {
  const told = sentenceOf(error);
  return isSpiffeError(error) && exitCodeOf(error) === EXIT.failed ? `${told} [${error.code}]` : told;
}

/** The error as a log line has it. */
export function fieldsOf(error: unknown): Readonly<Record<string, unknown>> {
  const { code, reason, phase } = isSpiffeError(error) ? error : ({} as Partial<SpiffeError>);
  return { code, reason, phase, error: sentenceOf(error) };
}

function oneLine(parts: readonly string[]): string {
  return parts
    .map((part) => part.replace(/\s*\n\s*/g, " ").trim())
    .filter((part) => part !== "")
    .map((part, index, all) => (index < all.length - 1 && !/[.!?:]$/.test(part) ? `${part}.` : part))
    .join(" ");
}
