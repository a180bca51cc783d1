/** `spiffe-edge policy check`. */
import { EXIT } from "../exit.ts";
import type { PolicyOutcome } from "../policy.ts";
import { loadFiles } from "./load.ts";

const count = (number: number, what: string): string => `${number} ${what}${number === 1 ? "" : "s"}`;

/** Reads the files and counts what is in them; a fault ends it. */
export async function check(files: readonly string[]): Promise<PolicyOutcome> {
  const { gateways, policy } = await loadFiles(files);
  const lines = gateways.map(({ file, config }) => {
    const { policy: live, candidate } = config;
    const beside = candidate === undefined ? "" : `, candidate with ${count(candidate.rules.length, "rule")}`;
    return `${file}: ${count(live.rules.length, "rule")}${beside}`;
  });
  if (policy !== undefined) {
    const names = policy.sources.map(({ file, ended }) => (ended ? file : `${file} (without end: true)`));
    lines.push(`${names.join(", ")}: ${count(policy.rules.length, "rule")}`);
  }
  return { lines, code: EXIT.done };
}
