/** What a rule asks of the request beside who sends it: hosts, headers, claims, time, and their checks. */
import { quoted } from "./issue.ts";
import { isFault } from "./pattern.ts";
import { checkKeys, isRecord, type Path, type Report, readInstant, stringList } from "./read.ts";
import { canonicalAuthority } from "./request-line.ts";
import { parseValue, toValueTest, type ValuePattern, type ValueTest } from "./value.ts";

/** A claim's value as a rule writes it: one, a list of which one is enough, or a block for a claim that is a block. */
export type ClaimRule =
  | string
  | number
  | boolean
  | readonly (string | number | boolean)[]
  | { readonly [name: string]: ClaimRule };

/** Hosts of a rule: exact ones, and suffixes with their dot that one more label stands before. */
export interface HostTest {
  readonly exact: ReadonlySet<string>;
  readonly suffixes: ReadonlySet<string>;
}

/** One header of a rule. */
export interface HeaderTest extends ValueTest {
  readonly name: string;
}

/** One claim of a rule, by the names that lead to it. */
export interface ClaimTest extends ValueTest {
  readonly path: readonly string[];
  readonly scalars: ReadonlySet<unknown>;
}

const HOST =
  /^(?:\*\.)?(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*$|^\[[0-9a-f:.]{2,45}\]$/;
const HEADER = /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$/;
/** Blocks within blocks of claims. */
const MAX_CLAIM_DEPTH = 8;

/** Headers that prove nothing or are secret, and what to write in their place. */
const NOT_FOR_RULES: ReadonlyMap<string, string> = new Map([
  ["authorization", "via: [jwt] and claims"],
  ["proxy-authorization", "via: [jwt] and claims"],
  ["cookie", "claims of a token"],
  ["host", "hosts"],
  ["x-spiffe-id", "ids; a caller can write this header as it likes"],
  ["x-forwarded-client-cert", "ids; a caller can write this header as it likes"],
]);

/** What only a proxy may say of the way a request came, and by what some servers replace the method or path that was judged. */
const WRITTEN_ANEW =
  /^(?:forwarded|x-real-ip|x-request-id|x-forwarded-.*|x-http-method(?:-override)?|x-method-override|x-original-ur[il]|x-rewrite-url)$/;

/** Whether a gateway drops a caller's header of this name and writes it itself, if at all; as {@link headerName} spells it. */
export function isProxyHeader(plain: string): boolean {
  return WRITTEN_ANEW.test(plain);
}

/**
 * A header name as rules and requests spell it: lower case, with `-` for everything that some programs take for it.
 *
 * @example
 * ```ts
 * import { headerName } from "spiffe-edge/policy";
 * console.assert(headerName("X_Stage") === "x-stage");
 * ```
 */
export function headerName(name: string): string {
  return name.toLowerCase().replace(/[^a-z0-9]/g, "-");
}

/** A host of a rule, its first label maybe a star, in the spelling that a request's host is given; undefined for what is none. */
function hostAsCompared(host: string): string | undefined {
  const wild = host.startsWith("*.");
  const plain = canonicalAuthority(wild ? `x${host.slice(1)}` : host)?.host;
  return wild ? plain?.replace(/^x/, "*") : plain;
}

/** Checks `hosts`. */
export function checkHosts(input: unknown, path: Path, report: Report): HostTest | undefined {
  const hosts = stringList(input, path, '["orders.example.org", "*.example.org"]', report);
  if (hosts === undefined) return undefined;
  for (const [i, host] of hosts.entries()) {
    const plain = hostAsCompared(host);
    if (plain === host && HOST.test(host) && host.length <= 255) continue;
    const guess = plain !== undefined && plain !== host && HOST.test(plain) ? ` (did you mean "${plain}"?)` : "";
    const expected = "a host name in small letters without port, or *. and a name for one label more";
    report({ path: [...path, i], what: `"${host}" is no host${guess}`, expected });
  }
  const suffixes = hosts.filter((host) => host.startsWith("*.")).map((host) => host.slice(1));
  return { exact: new Set(hosts.filter((host) => !host.startsWith("*."))), suffixes: new Set(suffixes) };
}

/** A value, or a list of which one is enough, each compiled by `one`. */
function values<T>(input: unknown, path: Path, one: (item: unknown, path: Path) => T | undefined, report: Report): T[] {
  const many = Array.isArray(input);
  if (many && input.length === 0)
    report({ path, what: "is empty", why: "an empty list matches nothing", expected: "a value" });
  const items: readonly unknown[] = many ? input : [input];
  return items.flatMap((item, i) => one(item, many ? [...path, i] : path) ?? []);
}

function readValue(
  item: unknown,
  path: Path,
  names: string[],
  deny: boolean,
  report: Report,
): ValuePattern | undefined {
  if (typeof item !== "string" || item === "" || /[^\x20-\x7e]/.test(item)) {
    report({
      path,
      what: `${quoted(item)} is no value`,
      expected: "printable ASCII text, quoted where it looks like a number",
    });
    return undefined;
  }
  const pattern = parseValue(item, names);
  if (isFault(pattern)) {
    report({ path, what: pattern.what, expected: pattern.expected });
    return undefined;
  }
  if (deny && item === "*") {
    report({
      path,
      what: '"*" is every value',
      why: "where the value is missing a deny rule matches too, so this would say nothing",
      expected: "a value, or no condition",
    });
  }
  return pattern;
}

/** Checks `headers`. */
export function checkHeaders(
  input: unknown,
  path: Path,
  names: string[],
  deny: boolean,
  report: Report,
): HeaderTest[] | undefined {
  if (input === undefined) return undefined;
  const expected = '{ x-tenant: "{tenant}", x-stage: [test, prod] }';
  if (!isRecord(input) || Object.keys(input).length === 0) {
    report({ path, what: isRecord(input) ? "is empty" : "is not a block of header names", expected });
    return undefined;
  }
  const seen = new Set<string>();
  return Object.entries(input).map(([name, value]) => {
    const at = [...path, name];
    const plain = headerName(name);
    const claim = isProxyHeader(plain) ? "what is proven; a caller's own header of this name never goes on" : undefined;
    const instead = NOT_FOR_RULES.get(plain) ?? claim;
    if (!HEADER.test(name)) report({ path: at, what: "is no header name", expected: "letters, digits and dashes" });
    else if (instead !== undefined) report({ path: at, what: "is no header for a rule", expected: instead });
    else if (seen.has(plain))
      report({ path: at, what: "is the same header as another here", expected: "one of them, with a list of values" });
    seen.add(plain);
    return {
      name: plain,
      ...toValueTest(values(value, at, (item, where) => readValue(item, where, names, deny, report), report)),
    };
  });
}

/** A deny rule compares claims as text, so that `"5"` does not slip past 5; an allow rule wants the type as well. */
function claimTest(
  path: readonly string[],
  values: readonly (ValuePattern | number | boolean)[],
  deny: boolean,
): ClaimTest {
  const patterns = values.filter((value) => typeof value === "object");
  const scalars = values.filter((value) => typeof value !== "object");
  if (!deny) return { path, ...toValueTest(patterns), scalars: new Set(scalars) };
  const texts = scalars.map((value) => ({ text: String(value), parts: [String(value)], open: false }));
  return { path, ...toValueTest([...patterns, ...texts]), scalars: new Set() };
}

/** Checks `claims`. */
export function checkClaims(
  input: unknown,
  path: Path,
  names: string[],
  deny: boolean,
  report: Report,
): ClaimTest[] | undefined {
  if (input === undefined) return undefined;
  const tests: ClaimTest[] = [];
  const scalar = (item: unknown, at: Path) => {
    if (
      typeof item === "boolean" ||
      (typeof item === "number" && Number.isFinite(item) && (!Number.isInteger(item) || Number.isSafeInteger(item)))
    )
      return item;
    return readValue(item, at, names, deny, report);
  };
  const walk = (block: unknown, at: Path, claim: readonly string[]) => {
    if (!isRecord(block) || Object.keys(block).length === 0 || claim.length >= MAX_CLAIM_DEPTH) {
      report({ path: at, what: "is not a block of claims", expected: "{ tenant: acme, groups: [ops, dev] }" });
      return;
    }
    for (const [name, value] of Object.entries(block)) {
      const inner = [...claim, name];
      if (isRecord(value)) walk(value, [...at, name], inner);
      else tests.push(claimTest(inner, values(value, [...at, name], scalar, report), deny));
    }
  };
  walk(input, path, []);
  return tests;
}

/** Checks `time`: from inclusive, to exclusive, in milliseconds since the epoch. */
export function checkTime(input: unknown, path: Path, report: Report): { from: number; to: number } | undefined {
  if (input === undefined) return undefined;
  const expected = "{ from: 2026-12-01T00:00:00Z, to: 2026-12-15T00:00:00Z }, or one of the two";
  if (!isRecord(input) || (input.from === undefined && input.to === undefined)) {
    report({ path, what: "is no window of time", expected });
    return undefined;
  }
  checkKeys(input, path, ["from", "to"], report);
  const from = input.from === undefined ? Number.NEGATIVE_INFINITY : readInstant(input.from, [...path, "from"], report);
  const to = input.to === undefined ? Number.POSITIVE_INFINITY : readInstant(input.to, [...path, "to"], report);
  if (from === undefined || to === undefined) return undefined;
  if (from >= to) report({ path, what: "ends before it begins", expected });
  return { from, to };
}
