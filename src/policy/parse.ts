/** From policy files to a policy, or to everything that is wrong with them. */
import { type OptionNames, onlyKnown } from "../base/check-options.ts";
import { accept, refuse, SpiffeError, type Verdict } from "../base/index.ts";
import { readConfigText } from "./config-text.ts";
import { formatFaults, formatIssue } from "./issue.ts";
import { makePolicy, type Policy, type PolicyOptions, type PolicySourceInfo } from "./policy.ts";
import { type IdPrefix, readIdPrefix } from "./principals.ts";
import type { Report } from "./read.ts";
import { checkRuleSet } from "./rule-set.ts";
import type { CheckedRule } from "./rules.ts";

/** The text of one policy file. */
export interface PolicySource {
  /** Its name, for messages and reloads. */
  readonly file: string;
  /** YAML or JSON: a list of rules, or a block with `rules`. */
  readonly text: string;
  /** What the file may speak for, `spiffe://domain` or `spiffe://domain/path`; everything when absent. */
  readonly idPrefixes?: readonly string[] | undefined;
}

/** Settings of {@link parsePolicy}. */
export interface ParsePolicyOptions extends PolicyOptions {
  /** Variables for `${NAME}`; none by default. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
}

const KNOWN: OptionNames<ParsePolicyOptions> = { clock: true, env: true };
const SOURCE: OptionNames<PolicySource> = { file: true, text: true, idPrefixes: true };

/** Rules out of several texts, and every fault as a sentence. */
export interface ParsedSources {
  readonly rules: readonly CheckedRule[];
  readonly sources: readonly PolicySourceInfo[];
  readonly faults: readonly string[];
}

/**
 * Reads policy files one after the other.
 *
 * @param names names of rules taken already, by the file that has them
 */
export function readSources(
  sources: readonly PolicySource[],
  env: NonNullable<ParsePolicyOptions["env"]>,
  names: Map<string, string>,
): ParsedSources {
  const faults: string[] = [];
  const rules: CheckedRule[] = [];
  const read = sources.map(({ file, text, idPrefixes }) => {
    const report: Report = (issue) => faults.push(formatIssue(issue));
    const prefixes = idPrefixes?.flatMap((prefix, i): IdPrefix[] | IdPrefix => {
      return readIdPrefix(prefix, ["idPrefixes", i], report) ?? [];
    });
    const parsed = readConfigText(text, { file, env });
    for (const fault of parsed.faults) faults.push(fault);
    if (parsed.faults.length > 0) return { file, ended: false, rules: 0 };
    const checked = checkRuleSet(parsed.value, { file, prefixes, names });
    for (const issue of checked.issues) faults.push(parsed.sentence(issue));
    for (const rule of checked.rules) rules.push(rule);
    return { file, ended: checked.ended, rules: checked.rules.length };
  });
  return { rules, sources: read, faults };
}

/**
 * Checks and compiles policy files, one or several; names of rules are unique over all of them. Nothing is read from
 * disk here.
 *
 * @param input the text of one file, or several with their names
 * @throws `ERR_SPIFFE_CONFIG`, one line per fault: file, line and column, what is wrong, why it matters, what was expected
 *
 * @example
 * ```ts
 * import { parsePolicy } from "spiffe-edge/policy";
 * const policy = parsePolicy([
 *   {
 *     file: "shop.yaml",
 *     text: `
 * rules:
 *   - { rule: shop-reads, allow: { ids: ["spiffe://example.org/ns/shop/**"] }, methods: [GET] }
 * end: true
 * `,
 *     idPrefixes: ["spiffe://example.org/ns/shop"],
 *   },
 * ]);
 * console.assert(policy.rules.join() === "shop-reads" && policy.sources[0]?.ended === true);
 * ```
 */
export function parsePolicy(input: string | readonly PolicySource[], options: ParsePolicyOptions = {}): Policy {
  onlyKnown("parsePolicy", options, KNOWN);
  const sources = typeof input === "string" ? [{ file: "policy", text: input }] : input;
  // a misspelt `idPrefixes` would let the file speak for everybody
  for (const source of sources) onlyKnown("a policy source", source, SOURCE);
  const { rules, sources: read, faults } = readSources(sources, options.env ?? {}, new Map());
  if (faults.length > 0) throw new SpiffeError("ERR_SPIFFE_CONFIG", formatFaults(faults));
  return makePolicy(rules, options, read);
}

/**
 * Says whether a policy may take the place of the one that is in force (S-26). One without rules does not replace one
 * with rules, and where a file ended with `end: true`, one of the same name without it is taken as cut short. Such a file
 * does not go away either while it has rules, as a listing may miss it: leave it without rules first.
 *
 * @param live the policy in force
 * @param next the one that would follow
 * @returns the next policy, or a refusal with `policy.no-rules` or `policy.truncated`: the live one stays
 *
 * @example
 * ```ts
 * import { admitReload, parsePolicy } from "spiffe-edge/policy";
 * const whole = '- { rule: web, allow: { ids: ["spiffe://example.org/web"] } }';
 * const live = parsePolicy(whole);
 * console.assert(admitReload(live, parsePolicy(whole)).ok);
 * const verdict = admitReload(live, parsePolicy("[]"));
 * console.assert(!verdict.ok && verdict.reason === "policy.no-rules");
 * ```
 */
export function admitReload(live: Policy, next: Policy): Verdict<Policy> {
  if (live.rules.length > 0 && next.rules.length === 0) {
    const count = `${live.rules.length} ${live.rules.length === 1 ? "rule" : "rules"}`;
    return refuse("policy.no-rules", `Expected a policy with rules to follow one of ${count}, but it has none`);
  }
  for (const { file, ended, rules } of live.sources) {
    const after = next.sources.find((source) => source.file === file);
    if (!ended || after?.ended === true || (after === undefined && rules === 0)) continue;
    const what =
      after === undefined ? "it is gone with its rules: leave it without rules first" : "the file was cut short";
    return refuse("policy.truncated", `Expected ${file} to end with "end: true", as it did, but ${what}`);
  }
  return accept(next);
}
