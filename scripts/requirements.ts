/**
 * Holds docs/requirements.md against the tests of the last full `npm test`, which does it itself at its end.
 *
 *     node scripts/requirements.ts
 *
 * Prints one line per problem, last the counts, and ends with 1 when there is a problem.
 */
import { checkRequirements, type RequirementsResult } from "./lib/requirements.ts";
import type { StageResult } from "./lib/stage-result.ts";
import { RESULTS } from "./lib/stages.ts";

/** The counts in one line, such as `201 done, 12 partly, 80 later, 7 not ours`. */
function counted({ counts }: RequirementsResult): string {
  return Object.entries(counts)
    .map(([status, count]) => `${count} ${status}`)
    .join(", ");
}

/** The line of `npm test`: an id that is done counts as passed, a problem as failed. */
export function requirements(): StageResult {
  const started = performance.now();
  const result = checkRequirements(RESULTS);
  return {
    name: "requirements",
    passed: Math.max(0, result.counts.done - result.problems.length),
    failed: result.problems.length,
    skipped: 0,
    seconds: (performance.now() - started) / 1_000,
    output: result.problems.join("\n"),
    skips: [`requirements: ${counted(result)}`],
  };
}

if (import.meta.main) {
  const { output, failed, skips } = requirements();
  if (output !== "") console.log(output);
  console.log(`${skips.join("\n")}, ${failed} problems`);
  if (failed > 0) process.exitCode = 1;
}
