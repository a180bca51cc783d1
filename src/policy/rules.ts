/** Policy rules as they are written, and the check that turns them into something worth compiling. */
import { SpiffeId, TrustDomain } from "../id/index.ts";
import { type ConfigIssue, unknownKey } from "./issue.ts";
import { type PathPattern, parsePathPattern } from "./path.ts";

/**
 * Who a rule speaks of: callers with one of `ids`, or members of one of `trustDomains`, or, with `via` alone, every
 * verified caller of that kind.
 */
export interface Principals {
  /** Exact SPIFFE IDs. Not together with `trustDomains`. */
  readonly ids?: readonly string[] | undefined;
  /** Names of trust domains, each with all its workloads. Not together with `ids`. */
  readonly trustDomains?: readonly string[] | undefined;
  /** How the identity must be proven. Without it, an allow rule looks at the peer's own ID, a deny rule at every identity shown. */
  readonly via?: readonly ("x509" | "jwt")[] | undefined;
}

interface RuleScope {
  /** A name, unique in the policy; it appears in decisions and logs. */
  readonly rule: string;
  /** HTTP methods in capitals; every method when absent. */
  readonly methods?: readonly string[] | undefined;
  /** Names of gateway routes; every route when absent. */
  readonly routes?: readonly string[] | undefined;
  /** `/a/b` for exactly that path, `/a/b/**` for it and everything below; every path when absent. */
  readonly path?: string | undefined;
}

/** One rule of a policy: it allows or it denies. */
export type PolicyRule =
  | (RuleScope & { readonly allow: Principals; readonly deny?: undefined })
  | (RuleScope & { readonly deny: Principals; readonly allow?: undefined });

/** A rule that passed the check, with everything parsed. */
export interface CheckedRule {
  readonly name: string;
  readonly effect: "allow" | "deny";
  readonly ids: readonly string[];
  readonly trustDomains: readonly string[];
  readonly via: ReadonlySet<string> | undefined;
  readonly methods: ReadonlySet<string> | undefined;
  readonly routes: ReadonlySet<string> | undefined;
  readonly path: PathPattern | undefined;
}

type Path = readonly (string | number)[];
type Report = (issue: ConfigIssue) => void;

const RULE_KEYS = ["rule", "allow", "deny", "methods", "routes", "path"] as const;
const PRINCIPAL_KEYS = ["ids", "trustDomains", "via"] as const;
/** A rule or route name: short, printable, safe in a log line and a metric label. */
export const NAME: RegExp = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** A non-empty list of strings, or undefined after reporting why not. */
function stringList(value: unknown, path: Path, example: string, report: Report): string[] | undefined {
  if (value === undefined) return undefined;
  if (!Array.isArray(value) || !value.every((item) => typeof item === "string")) {
    report({ path, what: "is not a list of strings", expected: example });
    return undefined;
  }
  if (value.length === 0) {
    report({
      path,
      what: "is empty",
      why: "an empty list matches nobody, and leaving it out matches all",
      expected: example,
    });
    return undefined;
  }
  return value as string[];
}

/** The same ID with the scheme, where somebody left it out as Istio does. */
function withScheme(text: string): string | undefined {
  const candidate = `spiffe://${text}`;
  return !text.includes("://") && text.includes("/") && SpiffeId.safeParse(candidate).ok ? candidate : undefined;
}

/** Reads one SPIFFE ID of a configuration; reports and returns undefined when it is none. */
export function readId(value: string, path: Path, report: Report): string | undefined {
  const expected = '"spiffe://<domain>/<path>"';
  const parsed = SpiffeId.safeParseConfig(value);
  if (parsed.ok && parsed.value.path !== "") return parsed.value.uri;
  if (parsed.ok) {
    report({
      path,
      what: `"${value}" names a trust domain, not a workload`,
      why: "no workload has it",
      expected: `${expected}, or trustDomains`,
    });
    return undefined;
  }
  const guess = withScheme(value);
  if (guess !== undefined) {
    report({ path, what: `"${value}" has no scheme (did you mean "${guess}"?)`, expected });
  } else if (/[*{}]/.test(value)) {
    report({
      path,
      what: `"${value}" is a pattern`,
      why: "IDs are compared exactly",
      expected: `${expected}, or trustDomains`,
    });
  } else {
    report({ path, what: `"${value}" is no SPIFFE ID: ${parsed.message}`, expected });
  }
  return undefined;
}

function readTrustDomain(value: string, path: Path, report: Report): string | undefined {
  const parsed = TrustDomain.safeParseConfig(value);
  if (!value.includes("/") && parsed.ok) return parsed.value.name;
  const why = parsed.ok ? "a rule for a trust domain takes all of it" : parsed.message;
  report({ path, what: `"${value}" is no trust domain name`, why, expected: "a name such as example.org" });
  return undefined;
}

/** Checks who a rule speaks of. */
export function checkPrincipals(
  input: unknown,
  path: Path,
  report: Report,
): Pick<CheckedRule, "ids" | "trustDomains" | "via"> {
  const nobody = { ids: [], trustDomains: [], via: undefined };
  const expected = '{ ids: ["spiffe://<domain>/<path>"] }, { trustDomains: [<domain>] } or { via: [x509] }';
  if (!isRecord(input)) {
    report({ path, what: "does not say who", expected });
    return nobody;
  }
  for (const key of Object.keys(input)) {
    if (!(PRINCIPAL_KEYS as readonly string[]).includes(key)) report(unknownKey(path, key, PRINCIPAL_KEYS));
  }
  const { ids, trustDomains, via } = input;
  if (ids === undefined && trustDomains === undefined && via === undefined) {
    report({ path, what: "does not say who", why: "a rule for everybody has to be written out", expected });
  }
  if (ids !== undefined && trustDomains !== undefined) {
    report({
      path,
      what: "has both ids and trustDomains",
      why: "it would be read as either or as both",
      expected: "two rules",
    });
  }
  const ways = stringList(via, [...path, "via"], "[x509], [jwt] or [x509, jwt]", report);
  for (const [i, way] of (ways ?? []).entries()) {
    if (way !== "x509" && way !== "jwt") {
      report({ path: [...path, "via", i], what: `"${way}" is no kind of identity`, expected: "x509 or jwt" });
    }
  }
  const read = (list: string[] | undefined, key: string, one: typeof readId) =>
    (list ?? []).flatMap((item, i) => one(item, [...path, key, i], report) ?? []);
  return {
    ids: read(stringList(ids, [...path, "ids"], '["spiffe://<domain>/<path>"]', report), "ids", readId),
    trustDomains: read(
      stringList(trustDomains, [...path, "trustDomains"], "[example.org]", report),
      "trustDomains",
      readTrustDomain,
    ),
    via: ways === undefined ? undefined : new Set(ways),
  };
}

function checkRule(input: unknown, path: Path, names: Set<string>, report: Report): CheckedRule | undefined {
  if (!isRecord(input)) {
    report({ path, what: "is not a rule", expected: '{ rule: <name>, allow: { ids: ["spiffe://<domain>/<path>"] } }' });
    return undefined;
  }
  for (const key of Object.keys(input)) {
    if (!(RULE_KEYS as readonly string[]).includes(key)) report(unknownKey(path, key, RULE_KEYS));
  }
  const { rule: name, allow, deny } = input;
  if (typeof name !== "string" || !NAME.test(name)) {
    report({
      path: name === undefined ? path : [...path, "rule"],
      what: name === undefined ? 'needs "rule", its name' : "is no name for a rule",
      why: "decisions and logs say which rule made them",
      expected: "rule: up to 63 letters, digits, dots, dashes or underscores",
    });
  } else if (names.has(name)) {
    report({
      path: [...path, "rule"],
      what: `a second rule is called "${name}"`,
      why: "a decision names its rule",
      expected: "another name",
    });
  } else names.add(name);
  if ((allow === undefined) === (deny === undefined)) {
    const what = allow === undefined ? "neither allows nor denies" : "allows and denies";
    report({ path, what, why: "a rule does one of both", expected: "allow: { … } or deny: { … }" });
    return undefined;
  }
  const effect = allow === undefined ? "deny" : "allow";
  const principals = checkPrincipals(input[effect], [...path, effect], report);
  const methods = stringList(input.methods, [...path, "methods"], "[GET, POST]", report);
  for (const [i, method] of (methods ?? []).entries()) {
    if (!/^[A-Z]+(?:-[A-Z]+)*$/.test(method)) {
      const why = "methods are case-sensitive";
      report({
        path: [...path, "methods", i],
        what: `"${method}" is no HTTP method`,
        why,
        expected: "capital letters, as in GET",
      });
    }
  }
  const routes = stringList(input.routes, [...path, "routes"], "[<name of a route>]", report);
  let pattern: PathPattern | undefined;
  if (input.path !== undefined) {
    const expected = '"/a/b" or "/a/b/**"';
    const parsed = typeof input.path === "string" ? parsePathPattern(input.path) : undefined;
    if (parsed?.ok) pattern = parsed.value;
    else report({ path: [...path, "path"], what: parsed === undefined ? "is not a string" : parsed.message, expected });
  }
  return {
    name: String(name),
    effect,
    ...principals,
    methods: methods === undefined ? undefined : new Set(methods),
    routes: routes === undefined ? undefined : new Set(routes),
    path: pattern,
  };
}

/**
 * Checks a list of rules as it comes from a file or a program.
 *
 * @param input anything
 * @param path where the list stands in the whole configuration, for the messages
 * @returns the checked rules, of use only when `issues` is empty
 */
export function checkRules(input: unknown, path: Path = []): { rules: CheckedRule[]; issues: ConfigIssue[] } {
  const issues: ConfigIssue[] = [];
  const report: Report = (issue) => issues.push(issue);
  if (!Array.isArray(input)) {
    report({ path, what: "is not a list of rules", expected: "- { rule: <name>, allow: { … } }" });
    return { rules: [], issues };
  }
  const names = new Set<string>();
  const rules = input.flatMap((rule, i) => checkRule(rule, [...path, i], names, report) ?? []);
  return { rules, issues };
}
