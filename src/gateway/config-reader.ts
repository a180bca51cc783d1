/** Typed values out of parsed configuration; what does not fit is collected, nothing is thrown. */
import { type ConfigIssue, nearest, unknownKey } from "../policy/issue.ts";
import { NAME } from "../policy/read.ts";
import { parseDuration, parseSize } from "./units.ts";

/** Keys and positions from the root of the configuration. */
export type Path = readonly (string | number)[];
/** A block of keys. */
export type Values = Readonly<Record<string, unknown>>;

/** Whether a value is a block of keys. */
export const isRecord = (value: unknown): value is Values =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Reads typed values at places of the configuration and collects what is wrong. */
export class Reader {
  readonly issues: ConfigIssue[] = [];

  report(path: Path, what: string, why?: string, expected?: string): undefined {
    this.issues.push({ path, what, why, expected });
  }

  /** An object with no other keys than these; an absent one is empty. */
  object(value: unknown, path: Path, keys: readonly string[]): Values {
    if (value === undefined) return {};
    if (!isRecord(value)) {
      this.report(path, "is not a block of keys", undefined, `keys ${keys.join(", ")}`);
      return {};
    }
    for (const key of Object.keys(value)) if (!keys.includes(key)) this.issues.push(unknownKey(path, key, keys));
    return value;
  }

  list(value: unknown, path: Path, expected: string): readonly unknown[] {
    if (Array.isArray(value) && value.length > 0) return value;
    this.report(path, Array.isArray(value) ? "is empty" : "is not a list", undefined, expected);
    return [];
  }

  string(value: unknown, path: Path, expected: string): string | undefined {
    if (typeof value === "string" && value !== "") return value;
    return value === undefined ? undefined : this.report(path, "is not a text", undefined, expected);
  }

  strings(value: unknown, path: Path, expected: string): string[] {
    if (value === undefined) return [];
    return this.list(value, path, expected).flatMap((item, i) => {
      if (item === null) this.report([...path, i], "is not a text", undefined, expected);
      return this.string(item, [...path, i], expected) ?? [];
    });
  }

  name(value: unknown, path: Path): string | undefined {
    if (typeof value === "string" && NAME.test(value)) return value;
    return this.report(path, "is no name", undefined, "up to 63 letters, digits, dots, dashes or underscores");
  }

  port(value: unknown, path: Path, fallback: number): number {
    if (value === undefined) return fallback;
    if (Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 65_535) return value as number;
    this.report(
      path,
      `${JSON.stringify(value)} is no port`,
      undefined,
      "a number from 0 to 65535, 0 for any free port",
    );
    return fallback;
  }

  duration(value: unknown, path: Path, fallback: number, max: number = Number.POSITIVE_INFINITY): number {
    if (value === undefined) return fallback;
    const ms = typeof value === "string" ? parseDuration(value) : undefined;
    if (ms !== undefined && ms <= max) return ms;
    const what = ms === undefined ? `${JSON.stringify(value)} is no duration` : `"${value}" is too long`;
    this.report(
      path,
      what,
      undefined,
      max < Number.POSITIVE_INFINITY ? `at most ${max / 1_000}s` : "such as 500ms, 30s or 5m",
    );
    return fallback;
  }

  size(
    value: unknown,
    path: Path,
    fallback: number,
    { min = 1, max = Number.POSITIVE_INFINITY }: { min?: number; max?: number } = {},
  ): number {
    if (value === undefined) return fallback;
    const bytes = typeof value === "string" ? parseSize(value) : undefined;
    if (bytes === undefined)
      this.report(path, `${JSON.stringify(value)} is no size`, undefined, "such as 32KiB or 10MiB");
    else if (bytes < min || bytes > max)
      this.report(path, `"${value}" is out of range`, undefined, `from ${min}B to ${max}B`);
    return bytes ?? fallback;
  }

  /** A whole number from 1. */
  count(value: unknown, path: Path, fallback: number, max: number, of = "them"): number {
    if (value === undefined) return fallback;
    if (Number.isInteger(value) && (value as number) >= 1 && (value as number) <= max) return value as number;
    this.report(path, `${JSON.stringify(value)} is no number of ${of}`, undefined, `a whole number from 1 to ${max}`);
    return fallback;
  }

  /** A name that has to be one of those defined elsewhere. */
  reference(value: string, path: Path, names: readonly string[], kind: string): void {
    if (names.includes(value)) return;
    const guess = nearest(value, names);
    const hint = guess === undefined ? "" : ` (did you mean "${guess}"?)`;
    this.report(path, `there is no ${kind} "${value}"${hint}`, undefined, `one of ${names.join(", ")}`);
  }
}
