/** Fixtures: requests with the verdicts they should get, and the run that compares. */

import { INPUT_KEYS, type Input, readInput } from "./input.ts";
import type { ConfigIssue } from "./issue.ts";
import type { Policy } from "./policy.ts";
import { checkKeys, isRecord, type Path, type Report } from "./read.ts";

/** What a request should get; only what is written is compared. */
export interface Expectation {
  readonly verdict: "allow" | "deny";
  readonly rule?: string | undefined;
  readonly reason?: string | undefined;
  /** The verdict that an audit should record. */
  readonly audited?: "allow" | "deny" | "none" | undefined;
}

/** One fixture. */
export interface Fixture {
  readonly name: string;
  readonly input: Input;
  readonly expect: Expectation;
}

/** What a request got, in the words of an expectation. */
export interface Outcome {
  readonly verdict: "allow" | "deny";
  readonly reason: string;
  readonly rule: string | undefined;
  readonly audited: "allow" | "deny" | "none";
}

/** Judges an input; a path that the gateway refuses is denied without asking the policy. */
export function outcomeOf(policy: Policy, input: Input): Outcome {
  if (input.refused !== undefined)
    return { verdict: "deny", reason: input.refused.reason, rule: undefined, audited: "none" };
  const { verdict, reason, rule, audited } = policy.decide(input.peer, input.facts);
  return { verdict, reason, rule, audited: audited?.verdict ?? "none" };
}

/** What differs from the expectation, as `verdict deny instead of allow`; empty when all holds. */
export function differences(expect: Expectation, outcome: Outcome): string[] {
  return (["verdict", "rule", "reason", "audited"] as const).flatMap((key) => {
    const wanted = expect[key];
    return wanted === undefined || wanted === outcome[key]
      ? []
      : [`${key} ${outcome[key] ?? "none"} instead of ${wanted}`];
  });
}

function readExpect(input: unknown, path: Path, report: Report): Expectation | undefined {
  const block = typeof input === "string" ? { verdict: input } : input;
  const expected = "allow, deny, or { verdict: deny, rule: <name>, reason: policy.denied, audited: none }";
  if (!isRecord(block) || (block.verdict !== "allow" && block.verdict !== "deny")) {
    report({ path, what: "says no verdict", why: "a fixture without one would always hold", expected });
    return undefined;
  }
  checkKeys(block, path, ["verdict", "rule", "reason", "audited"], report);
  for (const key of ["rule", "reason", "audited"]) {
    if (block[key] !== undefined && typeof block[key] !== "string")
      report({ path: [...path, key], what: "is not text", expected });
  }
  return block as unknown as Expectation;
}

/** Reads the fixtures of a file: a list, each an input with `name` and `expect`. */
export function readFixtures(input: unknown, path: Path): { fixtures: Fixture[]; issues: ConfigIssue[] } {
  const issues: ConfigIssue[] = [];
  const report: Report = (issue) => issues.push(issue);
  const expected = '- { name: web reads, peer: "spiffe://<domain>/<path>", method: GET, path: /orders, expect: allow }';
  if (!Array.isArray(input) || input.length === 0) {
    const what = Array.isArray(input) ? "is empty" : "is not a list of fixtures";
    report({ path, what, why: "nothing would be tested", expected });
    return { fixtures: [], issues };
  }
  const fixtures = input.flatMap((item, i) => {
    const at = [...path, i];
    if (!isRecord(item)) {
      report({ path: at, what: "is no fixture", expected });
      return [];
    }
    const { name = `fixture ${i + 1}`, expect, ...rest } = item;
    checkKeys(rest, at, [...INPUT_KEYS, "name", "expect"], report);
    if (typeof name !== "string") report({ path: [...at, "name"], what: "is not text", expected });
    const wanted = readExpect(expect, expect === undefined ? at : [...at, "expect"], report);
    const known = Object.fromEntries(
      Object.entries(rest).filter(([key]) => (INPUT_KEYS as readonly string[]).includes(key)),
    );
    const read = readInput(known, at, report);
    if (wanted === undefined || read === undefined || typeof name !== "string") return [];
    return [{ name, input: read, expect: wanted }];
  });
  return { fixtures, issues };
}
