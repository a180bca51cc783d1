/** A set of rules as a file or a block holds it: the rules, their common mode, and the mark of the end. */
import type { ConfigIssue } from "./issue.ts";
import type { IdPrefix } from "./principals.ts";
import { checkKeys, isRecord, type Path, type Report } from "./read.ts";
import { type CheckedRule, checkMode, checkRules } from "./rules.ts";

/** What else is known where a set of rules is read. */
export interface RuleSetContext {
  /** Where it stands in the whole, for messages. */
  readonly path?: Path | undefined;
  readonly file?: string | undefined;
  /** What it may speak for; everything when undefined. */
  readonly prefixes?: readonly IdPrefix[] | undefined;
  /** Names of rules that other sets have taken, by the file that has them. */
  readonly names?: Map<string, string> | undefined;
}

/** A set of rules that was read; of use only without issues. */
export interface CheckedRuleSet {
  readonly rules: readonly CheckedRule[];
  readonly ended: boolean;
  readonly issues: readonly ConfigIssue[];
}

const KEYS = ["rules", "mode", "until", "end"] as const;

/** Checks `end`: true, and the last key, so that nothing behind it can be missing. */
export function checkEnd(block: Record<string, unknown>, path: Path, report: Report): boolean {
  if (block.end === undefined) return false;
  const expected = "end: true as the last key";
  if (block.end !== true) report({ path: [...path, "end"], what: "is not true", expected });
  else if (Object.keys(block).at(-1) !== "end") {
    report({
      path: [...path, "end"],
      what: "is not the last key",
      why: "what follows could be cut off unseen",
      expected,
    });
  }
  return block.end === true;
}

/** Checks a set of rules: a list, or a block with a list. */
export function checkRuleSet(input: unknown, context: RuleSetContext = {}): CheckedRuleSet {
  const { path = [], file, prefixes, names } = context;
  const scope = { file, prefixes, names };
  if (Array.isArray(input)) return { ...checkRules(input, path, scope), ended: false };
  const issues: ConfigIssue[] = [];
  const report: Report = (issue) => issues.push(issue);
  if (!isRecord(input)) {
    report({ path, what: "is no set of rules", expected: "a list of rules, or rules: with the list below it" });
    return { rules: [], ended: false, issues };
  }
  checkKeys(input, path, KEYS, report);
  const auditUntil = checkMode(input, path, report) ?? undefined;
  const ended = checkEnd(input, path, report);
  const checked = checkRules(input.rules, [...path, "rules"], { ...scope, auditUntil });
  return { rules: checked.rules, ended, issues: [...issues, ...checked.issues] };
}
