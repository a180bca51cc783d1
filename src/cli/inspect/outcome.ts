/** What an inspection comes to: lines, the verdict as the last of them, and the exit code. */
import type { Refusal } from "../../base/index.ts";
import { EXIT, type ExitCode } from "../exit.ts";
import { printable } from "../printable.ts";

export interface Outcome {
  readonly lines: readonly string[];
  readonly code: ExitCode;
}

/** It holds, and by what. */
export function verified(lines: readonly string[], what: string): Outcome {
  return { lines: [...lines, `verified   ${printable(what)}`], code: EXIT.done };
}

/** It does not hold, and why. */
export function refused(lines: readonly string[], { reason, message }: Refusal): Outcome {
  return { lines: [...lines, `refused    ${reason}: ${printable(message)}`], code: EXIT.failed };
}

/** Nobody can say: a failure where there should have been something to verify with. */
export function notVerified(
  lines: readonly string[],
  { absent, failed }: { absent: string; failed: boolean },
): Outcome {
  return { lines: [...lines, `not verified: ${printable(absent)}`], code: failed ? EXIT.failed : EXIT.done };
}
