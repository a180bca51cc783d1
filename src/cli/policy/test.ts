/** `spiffe-edge policy test`. */
import process from "node:process";
import { SpiffeError } from "../../base/index.ts";
import { readPolicyFiles } from "../../gateway/policy-files.ts";
import { readConfigText } from "../../policy/config-text.ts";
import { differences, type Fixture, outcomeOf, readFixtures } from "../../policy/fixtures.ts";
import type { Policy } from "../../policy/index.ts";
import { type ConfigIssue, formatFaults } from "../../policy/issue.ts";
import { checkKeys, isRecord } from "../../policy/read.ts";
import { EXIT, usageError } from "../exit.ts";
import type { PolicyOutcome } from "../policy.ts";
import { printable } from "../printable.ts";
import { folderOf, loadPolicy } from "./load.ts";

interface FixtureFile {
  readonly fixtures: readonly Fixture[];
  /** Files of the policy, relative to the fixture file. */
  readonly policies: readonly string[];
}

function readFixtureFile(file: string): FixtureFile {
  const [source] = readPolicyFiles(file, ".");
  const parsed = readConfigText(source?.text ?? "", { file, env: process.env });
  const issues: ConfigIssue[] = [];
  const block = isRecord(parsed.value) ? parsed.value : {};
  if (parsed.faults.length === 0 && !isRecord(parsed.value)) {
    issues.push({
      path: [],
      what: "is no block of keys",
      expected: "policy: <file>, and fixtures: with a list below it",
    });
  }
  checkKeys(block, [], ["policy", "fixtures"], (issue) => issues.push(issue));
  const { policy = [] } = block;
  const policies = Array.isArray(policy) ? policy : [policy];
  if (!policies.every((name) => typeof name === "string")) {
    issues.push({ path: ["policy"], what: "is not the name of a file", expected: "policy: gateway.yaml, or a list" });
  }
  const read = readFixtures(block.fixtures, ["fixtures"]);
  const faults = [...parsed.faults];
  if (faults.length === 0) for (const issue of [...issues, ...read.issues]) faults.push(parsed.sentence(issue));
  if (faults.length > 0) throw new SpiffeError("ERR_SPIFFE_CONFIG", formatFaults(faults));
  return { fixtures: read.fixtures, policies };
}

function run(policy: Policy, fixtures: readonly Fixture[]): { lines: string[]; failed: number } {
  let failed = 0;
  const lines = fixtures.map(({ name, input, expect }) => {
    const outcome = outcomeOf(policy, input);
    const wrong = differences(expect, outcome);
    if (wrong.length > 0) failed += 1;
    const by = outcome.rule === undefined ? outcome.reason : `rule ${outcome.rule}`;
    const told =
      wrong.length === 0 ? `${outcome.verdict} by ${by}` : `${wrong.join(", ")} (${outcome.verdict} by ${by})`;
    return `${wrong.length === 0 ? "✓" : "✗"} ${printable(name)}: ${told}`;
  });
  return { lines, failed };
}

/** Runs fixture files. */
export async function test(files: readonly string[], policies: readonly string[] | undefined): Promise<PolicyOutcome> {
  const lines: string[] = [];
  let failed = 0;
  let total = 0;
  for (const file of files) {
    const read = readFixtureFile(file);
    if (policies === undefined && read.policies.length === 0) {
      throw usageError(
        `Expected ${file} to name its policy, but it does not`,
        "Write policy: <file> in it, or give --policy",
      );
    }
    const policy =
      policies === undefined ? await loadPolicy(read.policies, folderOf(file)) : await loadPolicy(policies);
    const result = run(policy, read.fixtures);
    lines.push(...(files.length > 1 ? [`${file}:`] : []), ...result.lines);
    failed += result.failed;
    total += read.fixtures.length;
  }
  lines.push(`${total - failed} of ${total} fixtures hold`);
  return { lines, code: failed === 0 ? EXIT.done : EXIT.failed };
}
