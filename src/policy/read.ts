/** Small readers that the checks of a policy share: each reports what does not fit and gives undefined. */
import type { ConfigIssue } from "./issue.ts";
import { quoted, unknownKey } from "./issue.ts";

/** Keys and positions from the root of a configuration. */
export type Path = readonly (string | number)[];
/** Takes what is wrong. */
export type Report = (issue: ConfigIssue) => void;

/** A rule, file or route name: short, printable, safe in a log line and a metric label. */
export const NAME: RegExp = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;

/** Whether a value is a block of keys. */
export const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Reports every key of a block that nobody reads. */
export function checkKeys(block: Record<string, unknown>, path: Path, known: readonly string[], report: Report): void {
  for (const key of Object.keys(block)) if (!known.includes(key)) report(unknownKey(path, key, known));
}

/** A non-empty list of strings without repeats. */
export function stringList(value: unknown, path: Path, example: string, report: Report): string[] | undefined {
  if (value === undefined) return undefined;
  if (!Array.isArray(value) || !value.every((item) => typeof item === "string")) {
    report({ path, what: "is not a list of strings", expected: example });
    return undefined;
  }
  if (value.length === 0) {
    const why = "an empty list matches nobody, and leaving it out matches all";
    report({ path, what: "is empty", why, expected: example });
    return undefined;
  }
  const seen = new Set<string>();
  for (const [i, item] of value.entries()) {
    if (seen.has(item)) report({ path: [...path, i], what: `"${item}" stands here twice`, expected: "it once" });
    seen.add(item);
  }
  return value as string[];
}

const INSTANT = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d)(?::(\d\d)(?:\.\d{1,3})?)?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/;

/** An instant with its zone, as milliseconds since the epoch. */
export function readInstant(value: unknown, path: Path, report: Report): number | undefined {
  const expected = "a time with its zone, such as 2026-12-15T00:00:00Z";
  const text = value instanceof Date && !Number.isNaN(value.getTime()) ? value.toISOString() : value;
  const found = typeof text === "string" ? INSTANT.exec(text) : null;
  if (found === null) {
    report({ path, what: `${quoted(value)} is no time`, expected });
    return undefined;
  }
  const [year, month, day, hour, minute, second = 0] = found.slice(1, 7).map((part) => Number(part ?? 0));
  const last = new Date(Date.UTC(year!, month!, 0)).getUTCDate();
  const real = month! >= 1 && month! <= 12 && day! >= 1 && day! <= last && hour! < 24 && minute! < 60 && second < 60;
  const instant = real ? Date.parse(text as string) : Number.NaN;
  if (!Number.isNaN(instant)) return instant;
  report({ path, what: `${quoted(value)} does not exist`, expected });
  return undefined;
}
