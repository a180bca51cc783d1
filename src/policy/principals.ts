/** Who a rule speaks of, as it is written, and its check. */
import { SpiffeId, TrustDomain } from "../id/index.ts";
import { isFault, parseSegments, plainForm, type SegmentPattern } from "./pattern.ts";
import { checkKeys, isRecord, type Path, type Report, stringList } from "./read.ts";

/**
 * Who a rule speaks of: callers with one of `ids`, or members of one of `trustDomains`, or, with `via` alone, every
 * verified caller of that kind; and, where it says so, callers without any identity.
 */
export interface Principals {
  /**
   * SPIFFE IDs, exact or with segment patterns in the path: `*` for one segment, `{name}` for one that path, headers or
   * claims of the rule repeat, a final `**` for the ID and everything below. Not together with `trustDomains`.
   */
  readonly ids?: readonly string[] | undefined;
  /** Names of trust domains, each with all its workloads. Not together with `ids`. */
  readonly trustDomains?: readonly string[] | undefined;
  /** How the identity must be proven. Without it, an allow rule looks at the peer's own ID, a deny rule at every identity shown. */
  readonly via?: readonly ("x509" | "jwt")[] | undefined;
  /** Callers without an identity, beside those named otherwise. They match no rule that does not say this. */
  readonly anonymous?: true | undefined;
}

/** A pattern of IDs of one trust domain. */
export interface IdPattern {
  readonly trustDomain: string;
  readonly pattern: SegmentPattern;
}

/** Principals that passed the check. */
export interface CheckedPrincipals {
  readonly ids: readonly string[];
  readonly patterns: readonly IdPattern[];
  readonly trustDomains: readonly string[];
  readonly via: ReadonlySet<string> | undefined;
  readonly anonymous: boolean;
}

/** An ID with everything below it, or a whole trust domain: what a policy file may speak for. */
export interface IdPrefix {
  readonly text: string;
  readonly trustDomain: string;
  /** Segments of the ID; none for the trust domain. */
  readonly segments: readonly string[];
}

const KEYS = ["ids", "trustDomains", "via", "anonymous"] as const;
const EXPECTED_ID = '"spiffe://<domain>/<path>"';

/** The same text with the scheme, where somebody left it out as Istio does, and it is an ID or pattern then. */
function withScheme(text: string): string | undefined {
  if (text.includes("://") || !text.includes("/")) return undefined;
  const candidate = `spiffe://${text}`;
  const plain = candidate.replace(/\/(?:\*\*?|\{\w+\})(?=\/|$)/g, "/x");
  return SpiffeId.safeParse(plain).ok ? candidate : undefined;
}

/** Reports why a text is no ID; wildcards are told apart where they are not wanted. */
function reportId(value: string, path: Path, report: Report): undefined {
  const parsed = SpiffeId.safeParseConfig(value);
  const guess = withScheme(value);
  if (parsed.ok) {
    const what = `"${value}" names a trust domain, not a workload`;
    report({ path, what, why: "no workload has it", expected: `${EXPECTED_ID}, or trustDomains` });
  } else if (guess !== undefined) {
    report({ path, what: `"${value}" has no scheme (did you mean "${guess}"?)`, expected: EXPECTED_ID });
  } else report({ path, what: `"${value}" is no SPIFFE ID: ${parsed.message}`, expected: EXPECTED_ID });
  return undefined;
}

/** Reads one exact SPIFFE ID of a configuration; reports and returns undefined when it is none. */
export function readId(value: string, path: Path, report: Report): string | undefined {
  const parsed = SpiffeId.safeParseConfig(value);
  if (parsed.ok && parsed.value.path !== "") return parsed.value.uri;
  if (/[*{}]/.test(value) && withScheme(value) === undefined) {
    const expected = `${EXPECTED_ID}, or trustDomains`;
    report({ path, what: `"${value}" is a pattern`, why: "IDs are compared exactly", expected });
    return undefined;
  }
  return reportId(value, path, report);
}

function readIdOrPattern(value: string, path: Path, names: string[], report: Report): string | IdPattern | undefined {
  if (!/[*{}]/.test(value)) return readId(value, path, report);
  const slash = value.indexOf("/", "spiffe://".length);
  const domain = slash < 0 ? value : value.slice(0, slash);
  if (!/^spiffe:\/\//i.test(value)) return reportId(value, path, report);
  if (/[*{}]/.test(domain)) {
    const why = "one root of trust must not stand for another";
    report({
      path,
      what: `"${value}" has a wildcard in the trust domain`,
      why,
      expected: "trustDomains: [<domain>, …]",
    });
    return undefined;
  }
  const pattern = parseSegments(value.slice(slash), names);
  if (isFault(pattern)) {
    report({ path, what: pattern.what, expected: pattern.expected });
    return undefined;
  }
  const plain = SpiffeId.safeParseConfig(domain + plainForm(pattern));
  if (plain.ok) return { trustDomain: plain.value.trustDomain.name, pattern };
  report({ path, what: `"${value}" can never match: ${plain.message}`, expected: EXPECTED_ID });
  return undefined;
}

function readTrustDomain(value: string, path: Path, report: Report): string | undefined {
  const parsed = TrustDomain.safeParseConfig(value);
  if (!value.includes("/") && parsed.ok) return parsed.value.name;
  const why = parsed.ok ? "a rule for a trust domain takes all of it" : parsed.message;
  report({ path, what: `"${value}" is no trust domain name`, why, expected: "a name such as example.org" });
  return undefined;
}

/** Reads what a file may speak for: `spiffe://domain` or `spiffe://domain/path`, itself and everything below. */
export function readIdPrefix(value: string, path: Path, report: Report): IdPrefix | undefined {
  const parsed = SpiffeId.safeParseConfig(value);
  if (parsed.ok) {
    const { uri, trustDomain, path: below } = parsed.value;
    return { text: uri, trustDomain: trustDomain.name, segments: below === "" ? [] : below.slice(1).split("/") };
  }
  const expected = '"spiffe://<domain>" or "spiffe://<domain>/<path>", without wildcard or final slash';
  report({ path, what: `"${value}" is no SPIFFE ID: ${parsed.message}`, expected });
  return undefined;
}

/** Whether all that these segments can stand for lies below the prefix; undefined is a wildcard. */
function isBelow(prefix: IdPrefix, trustDomain: string, segments: readonly (string | undefined)[]): boolean {
  return prefix.trustDomain === trustDomain && prefix.segments.every((segment, i) => segments[i] === segment);
}

/** Reports principals outside what the file may speak for. */
function checkPrefixes(
  input: Record<string, unknown>,
  read: readonly (string | IdPattern | undefined)[],
  trustDomains: readonly string[],
  prefixes: readonly IdPrefix[],
  path: Path,
  report: Report,
): void {
  const expected = `IDs below ${prefixes.map(({ text }) => text).join(" or ")}`;
  const why = "the gateway lets this file speak for those alone";
  const within = (domain: string, segments: readonly (string | undefined)[]) =>
    prefixes.some((prefix) => isBelow(prefix, domain, segments));
  for (const [i, one] of read.entries()) {
    if (one === undefined) continue;
    const id = typeof one === "string" ? SpiffeId.parse(one) : undefined;
    const fits =
      id === undefined
        ? within((one as IdPattern).trustDomain, (one as IdPattern).pattern.texts)
        : within(id.trustDomain.name, id.path.slice(1).split("/"));
    if (!fits) report({ path: [...path, "ids", i], what: "is not for this file to say", why, expected });
  }
  for (const [i, name] of trustDomains.entries()) {
    if (!within(name, []))
      report({ path: [...path, "trustDomains", i], what: "is not for this file to say", why, expected });
  }
  const wide = input.ids === undefined && input.trustDomains === undefined && input.via !== undefined;
  if (wide) report({ path: [...path, "via"], what: "alone speaks for everybody", why, expected });
  if (input.anonymous !== undefined)
    report({ path: [...path, "anonymous"], what: "is not for this file to say", why, expected });
}

/**
 * Checks who a rule speaks of.
 *
 * @param names names of captures by slot; those of the IDs are added
 * @param prefixes what the rule may speak for; everything when undefined
 */
export function checkPrincipals(
  input: unknown,
  path: Path,
  names: string[],
  prefixes: readonly IdPrefix[] | undefined,
  report: Report,
): CheckedPrincipals {
  const nobody = { ids: [], patterns: [], trustDomains: [], via: undefined, anonymous: false };
  const expected = `{ ids: [${EXPECTED_ID}] }, { trustDomains: [<domain>] }, { via: [x509] } or { anonymous: true }`;
  if (!isRecord(input)) {
    report({ path, what: "does not say who", expected });
    return nobody;
  }
  checkKeys(input, path, KEYS, report);
  const { ids, trustDomains, via, anonymous } = input;
  if (KEYS.every((key) => input[key] === undefined)) {
    report({ path, what: "does not say who", why: "a rule for everybody has to be written out", expected });
  }
  if (ids !== undefined && trustDomains !== undefined) {
    const why = "it would be read as either or as both";
    report({ path, what: "has both ids and trustDomains", why, expected: "two rules" });
  }
  const ways = stringList(via, [...path, "via"], "[x509], [jwt] or [x509, jwt]", report);
  for (const [i, way] of (ways ?? []).entries()) {
    if (way !== "x509" && way !== "jwt") {
      report({ path: [...path, "via", i], what: `"${way}" is no kind of identity`, expected: "x509 or jwt" });
    }
  }
  if (anonymous !== undefined && anonymous !== true) {
    report({
      path: [...path, "anonymous"],
      what: "is not true",
      why: "leaving it out means no",
      expected: "anonymous: true",
    });
  }
  const texts = stringList(ids, [...path, "ids"], `[${EXPECTED_ID}]`, report) ?? [];
  const read = texts.map((text, i) => readIdOrPattern(text, [...path, "ids", i], names, report));
  const domains = (stringList(trustDomains, [...path, "trustDomains"], "[example.org]", report) ?? []).flatMap(
    (name, i) => readTrustDomain(name, [...path, "trustDomains", i], report) ?? [],
  );
  if (prefixes !== undefined) checkPrefixes(input, read, domains, prefixes, path, report);
  return {
    ids: read.filter((one) => typeof one === "string"),
    patterns: read.filter((one) => typeof one === "object"),
    trustDomains: domains,
    via: ways === undefined ? undefined : new Set(ways),
    anonymous: anonymous === true,
  };
}
