/** The target of the project: an SVID in less than 100 ms. */
import type { Row } from "./rows.ts";

/** Which Workload API was measured. */
export type Environment = "spire" | "embedded" | "none";

const LIMIT_US = 100_000;
const ENOUGH = 300;
const COUNTED = ["x509 fetch", "jwt issue"];

/**
 * Judges the rows that count: `x509 fetch` and `jwt issue` of this project, each runtime apart.
 *
 * @returns `met` is undefined where the run proves nothing: no real SPIRE, too few calls, or nothing measured
 */
export function judgeTarget(
  rows: readonly Row[],
  environment: Environment,
): { met: boolean | undefined; sentence: string } {
  const counted = rows.filter(
    ({ subject, name, stack }) => subject === "workload" && stack === "spiffe-edge" && COUNTED.includes(name),
  );
  if (counted.length === 0) return { met: undefined, sentence: "target < 100 ms: not measured in this run" };
  const worst = counted.reduce((a, b) => (b.p99 > a.p99 ? b : a));
  const figure = `worst p99 ${(worst.p99 / 1000).toFixed(1)} ms (${worst.name}, ${worst.runtime})`;
  if (environment !== "spire") {
    return { met: undefined, sentence: `target < 100 ms: ${figure} by the embedded authority, which proves nothing` };
  }
  const fewest = Math.min(...counted.map(({ n }) => n));
  if (fewest < ENOUGH) {
    return {
      met: undefined,
      sentence: `target < 100 ms: ${figure}, but ${fewest} calls are too few to prove anything`,
    };
  }
  if (worst.p99 >= LIMIT_US) return { met: false, sentence: `target < 100 ms: MISSED, ${figure}` };
  return { met: true, sentence: `target < 100 ms: met, ${figure} of ${fewest} calls each, real SPIRE` };
}
