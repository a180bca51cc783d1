/** Policy rules as they are written, and the check that turns them into something worth compiling. */
import {
  type ClaimRule,
  type ClaimTest,
  checkClaims,
  checkHeaders,
  checkHosts,
  checkTime,
  type HeaderTest,
  type HostTest,
} from "./conditions.ts";
import { type ConfigIssue, nearest, quoted } from "./issue.ts";
import { parsePath } from "./path.ts";
import { isFault, MAX_CAPTURES, type SegmentPattern } from "./pattern.ts";
import { type CheckedPrincipals, checkPrincipals, type IdPrefix, type Principals } from "./principals.ts";
import { checkKeys, isRecord, NAME, type Path, type Report, readInstant, stringList } from "./read.ts";
import { isAmbiguous } from "./value.ts";

interface RuleScope {
  /** A name, unique in the policy; it appears in decisions and logs. */
  readonly rule: string;
  /** HTTP methods in capitals; every method when absent. In a deny rule GET takes HEAD along. */
  readonly methods?: readonly string[] | undefined;
  /** Host names in small letters, `*.` for one label more; every host when absent. */
  readonly hosts?: readonly string[] | undefined;
  /**
   * A pattern of canonical paths; every path when absent. `*` is one segment, `{name}` one that is compared with the
   * same name elsewhere in the rule, a final `**` the path and everything below.
   */
  readonly path?: string | undefined;
  /** Header values, text with `{name}` and a final `*`; of a list one is enough. Of several headers each has to fit. */
  readonly headers?: Readonly<Record<string, string | readonly string[]>> | undefined;
  /** Claims of the token shown, as `headers`; of a claim that is a list one value is enough. */
  readonly claims?: Readonly<Record<string, ClaimRule>> | undefined;
  /** When it holds: from inclusive, to exclusive, both with their zone. */
  readonly time?: { readonly from?: string | undefined; readonly to?: string | undefined } | undefined;
  /** Names of gateway routes; every route when absent. */
  readonly routes?: readonly string[] | undefined;
  /** `audit` only records what the rule would change, until `until`; then a deny rule is enforced and an allow rule ends. */
  readonly mode?: "enforce" | "audit" | undefined;
  /** End of the audit, with its zone. */
  readonly until?: string | undefined;
}

/** One rule of a policy: it allows or it denies. */
export type PolicyRule =
  | (RuleScope & { readonly allow: Principals; readonly deny?: undefined })
  | (RuleScope & { readonly deny: Principals; readonly allow?: undefined });

/** A rule that passed the check, with everything parsed. */
export interface CheckedRule extends CheckedPrincipals {
  readonly name: string;
  readonly deny: boolean;
  readonly methods: ReadonlySet<string> | undefined;
  readonly hosts: HostTest | undefined;
  readonly path: SegmentPattern | undefined;
  readonly headers: readonly HeaderTest[] | undefined;
  readonly claims: readonly ClaimTest[] | undefined;
  readonly time: { readonly from: number; readonly to: number } | undefined;
  readonly routes: ReadonlySet<string> | undefined;
  /** End of the rule's audit, milliseconds since the epoch; undefined where it is enforced. */
  readonly auditUntil: number | undefined;
  /** How many segments it captures. */
  readonly captures: number;
}

/** What a whole set of rules says for those that do not say it themselves, and what they may speak for. */
export interface RuleSetScope {
  readonly auditUntil?: number | undefined;
  readonly prefixes?: readonly IdPrefix[] | undefined;
  /** Names taken by other files, and where. */
  readonly names?: Map<string, string> | undefined;
  /** What a second rule of the same name is told about the first. */
  readonly file?: string | undefined;
}

const RULE_KEYS = [
  "rule",
  "allow",
  "deny",
  "methods",
  "hosts",
  "path",
  "headers",
  "claims",
  "time",
  "routes",
  "mode",
  "until",
] as const;
/** Values of headers and claims that are more than a look-up, per rule. */
const MAX_PATTERNS = 32;
const EXPECTED_RULE = '{ rule: <name>, allow: { ids: ["spiffe://<domain>/<path>"] } }';

function checkName(
  input: Record<string, unknown>,
  path: Path,
  names: Map<string, string>,
  file: string,
  report: Report,
): void {
  const { rule: name } = input;
  if (typeof name !== "string" || !NAME.test(name)) {
    report({
      path: name === undefined ? path : [...path, "rule"],
      what: name === undefined ? 'needs "rule", its name' : "is no name for a rule",
      why: "decisions and logs say which rule made them",
      expected: "rule: up to 63 letters, digits, dots, dashes or underscores",
    });
    return;
  }
  const other = names.get(name);
  if (other === undefined) names.set(name, file);
  else {
    const where = other === file ? "" : ` (the first is in ${other})`;
    const what = `a second rule is called "${name}"${where}`;
    report({ path: [...path, "rule"], what, why: "a decision names its rule", expected: "another name" });
  }
}

function checkMethods(input: unknown, path: Path, report: Report): ReadonlySet<string> | undefined {
  const methods = stringList(input, path, "[GET, POST]", report);
  for (const [i, method] of (methods ?? []).entries()) {
    if (/^[A-Z]+(?:-[A-Z]+)*$/.test(method)) continue;
    const guess = /^[A-Za-z-]+$/.test(method) ? ` (did you mean "${method.toUpperCase()}"?)` : "";
    const what = `"${method}" is no HTTP method${guess}`;
    report({ path: [...path, i], what, why: "methods are case-sensitive", expected: "capital letters, as in GET" });
  }
  return methods === undefined ? undefined : new Set(methods);
}

/** Every capture is compared with something, and captured whichever ID the caller has. */
function checkCaptures(
  rule: CheckedRule,
  names: readonly string[],
  compared: ReadonlySet<number>,
  path: Path,
  report: Report,
): void {
  const effect = rule.deny ? "deny" : "allow";
  for (const [slot, name] of names.entries()) {
    const capturing = rule.patterns.filter(({ pattern }) => pattern.slots.includes(slot));
    const inPath = rule.path?.slots.filter((one) => one === slot).length ?? 0;
    const elsewhere = inPath > 0 || compared.has(slot);
    if (capturing.length > 0) {
      const others = rule.ids.length + rule.patterns.length - capturing.length + (rule.anonymous ? 1 : 0);
      const twice = capturing.every(({ pattern }) => pattern.slots.filter((one) => one === slot).length > 1);
      if (!elsewhere && !twice) {
        const guess = nearest(
          name,
          names.filter((_, i) => i !== slot),
        );
        const meant = guess === undefined ? "" : ` (did you mean "{${guess}}"?)`;
        const what = `nothing else of the rule is compared with {${name}}${meant}`;
        report({ path: [...path, effect], what, why: "it would take any segment", expected: "* for any segment" });
      } else if (elsewhere && others > 0) {
        const what = `not every caller named here has {${name}}`;
        report({ path: [...path, effect], what, why: "for the others it would fit anything", expected: "two rules" });
      }
    } else if (inPath === 0) {
      const guess = nearest(
        name,
        names.filter((_, i) => i !== slot),
      );
      const meant = guess === undefined ? "" : ` (did you mean "{${guess}}"?)`;
      report({ path, what: `nothing captures {${name}}${meant}`, expected: `{${name}} in ids or in path` });
    } else if (inPath === 1 && !compared.has(slot)) {
      const what = `nothing else of the rule is compared with {${name}}`;
      report({
        path: [...path, "path"],
        what,
        why: "it would take any segment",
        expected: `* for any segment, or {${name}} in ids`,
      });
    }
  }
}

/** The end of the audit that a rule or a set of rules asks for; null where it asks for enforcement. */
export function checkMode(input: Record<string, unknown>, path: Path, report: Report): number | null | undefined {
  const { mode, until } = input;
  if (mode !== undefined && mode !== "enforce" && mode !== "audit") {
    report({ path: [...path, "mode"], what: `${quoted(mode)} is no mode`, expected: "enforce or audit" });
    return undefined;
  }
  if (mode !== "audit") {
    if (until !== undefined)
      report({ path: [...path, "until"], what: "ends no audit", expected: "mode: audit beside it" });
    return mode === undefined ? undefined : null;
  }
  if (until !== undefined) return readInstant(until, [...path, "until"], report);
  const why = "an audit that nobody ends lets pass what should be denied";
  report({ path, what: 'mode: audit needs "until"', why, expected: "until: 2026-12-15T00:00:00Z" });
  return undefined;
}

function checkRule(
  input: unknown,
  path: Path,
  scope: RuleSetScope & { names: Map<string, string> },
  report: Report,
): CheckedRule | undefined {
  if (!isRecord(input)) {
    report({ path, what: "is not a rule", expected: EXPECTED_RULE });
    return undefined;
  }
  checkKeys(input, path, RULE_KEYS, report);
  checkName(input, path, scope.names, scope.file ?? "this policy", report);
  const { allow, deny } = input;
  if ((allow === undefined) === (deny === undefined)) {
    const what = allow === undefined ? "neither allows nor denies" : "allows and denies";
    report({ path, what, why: "a rule does one of both", expected: "allow: { … } or deny: { … }" });
    return undefined;
  }
  const denies = allow === undefined;
  const effect = denies ? "deny" : "allow";
  const names: string[] = [];
  const principals = checkPrincipals(input[effect], [...path, effect], names, scope.prefixes, report);
  let pattern: SegmentPattern | undefined;
  if (input.path !== undefined) {
    const fault = { what: "is not a string", expected: '"/a/b" or "/a/b/**"' };
    const parsed = typeof input.path === "string" ? parsePath(input.path, names, denies) : fault;
    if (isFault(parsed)) report({ path: [...path, "path"], what: parsed.what, expected: parsed.expected });
    else pattern = parsed;
  }
  const headers = checkHeaders(input.headers, [...path, "headers"], names, denies, report);
  const claims = checkClaims(input.claims, [...path, "claims"], names, denies, report);
  const routes = stringList(input.routes, [...path, "routes"], "[<name of a route>]", report);
  const mode = checkMode(input, path, report);
  const rule: CheckedRule = {
    name: typeof input.rule === "string" ? input.rule : "",
    deny: denies,
    ...principals,
    methods: checkMethods(input.methods, [...path, "methods"], report),
    hosts: checkHosts(input.hosts, [...path, "hosts"], report),
    path: pattern,
    headers,
    claims,
    time: checkTime(input.time, [...path, "time"], report),
    routes: routes === undefined ? undefined : new Set(routes),
    auditUntil: mode === undefined ? scope.auditUntil : (mode ?? undefined),
    captures: names.length,
  };
  const compared = [...(headers ?? []), ...(claims ?? [])].flatMap(({ patterns }) => patterns);
  const ofId = new Set(principals.patterns.flatMap((one) => one.pattern.slots));
  for (const [key, tests] of [
    ["headers", headers],
    ["claims", claims],
  ] as const) {
    for (const { text } of (tests ?? []).flatMap(({ patterns }) => patterns).filter((one) => isAmbiguous(one, ofId))) {
      const what = `"${text}" could be read in two ways`;
      const why = "it would also take longer names than the captured one";
      report({ path: [...path, key], what, why, expected: "a / behind each {name} that something else follows" });
    }
  }
  if (compared.length > MAX_PATTERNS) {
    const what = `has ${compared.length} values with {name} or *`;
    report({ path, what, why: "each is compared with each value of a request", expected: `at most ${MAX_PATTERNS}` });
  }
  const slots = compared.flatMap(({ parts }) => parts.filter((part) => typeof part === "number"));
  if (names.length > MAX_CAPTURES) {
    const what = "captures too many names";
    report({ path, what, why: "each is kept for each caller", expected: `at most ${MAX_CAPTURES} of {name}` });
  } else checkCaptures(rule, names, new Set(slots), path, report);
  return rule;
}

/**
 * Checks a list of rules as it comes from a file or a program.
 *
 * @param input anything
 * @param path where the list stands in the whole configuration, for the messages
 * @returns the checked rules, of use only when `issues` is empty
 */
export function checkRules(
  input: unknown,
  path: Path = [],
  scope: RuleSetScope = {},
): { rules: CheckedRule[]; issues: ConfigIssue[] } {
  const issues: ConfigIssue[] = [];
  const report: Report = (issue) => issues.push(issue);
  if (!Array.isArray(input)) {
    report({ path, what: "is not a list of rules", expected: "- { rule: <name>, allow: { … } }" });
    return { rules: [], issues };
  }
  const whole = { ...scope, names: scope.names ?? new Map<string, string>() };
  const rules = input.flatMap((rule, i) => checkRule(rule, [...path, i], whole, report) ?? []);
  return { rules, issues };
}
