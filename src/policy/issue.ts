/** What is wrong with one place of a configuration: the part that the policy and the gateway file share. */

/** One fault in a configuration, told so that it can be repaired without reading anything else. */
export interface ConfigIssue {
  /** Keys and list positions from the root to the faulty place. */
  readonly path: readonly (string | number)[];
  /** What is wrong. */
  readonly what: string;
  /** Why it matters. */
  readonly why?: string | undefined;
  /** What would be accepted there. */
  readonly expected?: string | undefined;
}

/** Writes a path as `policy[2].allow.ids[0]`. */
export function formatPath(path: readonly (string | number)[]): string {
  let text = "";
  for (const part of path) text += typeof part === "number" ? `[${part}]` : text === "" ? part : `.${part}`;
  return text;
}

/** Writes an issue as `place: what; why. Expected: …`. */
export function formatIssue(issue: ConfigIssue): string {
  const place = formatPath(issue.path);
  const why = issue.why === undefined ? "" : `; ${issue.why}`;
  const expected = issue.expected === undefined ? "" : `. Expected: ${issue.expected}`;
  return `${place === "" ? "" : `${place}: `}${issue.what}${why}${expected}`;
}

/** Faults that are told of one reading, and characters of each. */
const MAX_FAULTS = 100;
const MAX_FAULT_LENGTH = 2_000;

/** Writes faults one a line, the first of them where there are very many, each cut where it repeats a very long value. */
export function formatFaults(faults: readonly string[]): string {
  const more = faults.length - MAX_FAULTS;
  const told = faults.slice(0, MAX_FAULTS).map((fault) => {
    return fault.length > MAX_FAULT_LENGTH ? `${fault.slice(0, MAX_FAULT_LENGTH)} ...` : fault;
  });
  return (more > 0 ? [...told, `and ${more} more`] : told).join("\n");
}

/** A value as a message quotes it, whatever it is. */
export function quoted(value: unknown): string {
  try {
    return JSON.stringify(value) ?? `a ${typeof value}`;
  } catch {
    return typeof value === "bigint" ? `${value}n` : "what cannot be written";
  }
}

/** Number of single-character edits between two short names. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const swap = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(swap, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

/** The candidate a mistyped name most likely meant, or undefined when none is near. */
export function nearest(name: string, candidates: Iterable<string>): string | undefined {
  const typed = name.toLowerCase().slice(0, 64);
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(typed.length / 3)) + 1;
  for (const candidate of candidates) {
    const plain = candidate.toLowerCase();
    const found = plain.startsWith(typed) && typed.length >= 3 ? 1 : distance(typed, plain);
    if (found < bestDistance) [best, bestDistance] = [candidate, found];
  }
  return best;
}

/** The issue of a key that nobody reads. */
export function unknownKey(path: readonly (string | number)[], key: string, known: readonly string[]): ConfigIssue {
  const guess = nearest(key, known);
  return {
    path: [...path, key],
    what: guess === undefined ? "unknown key" : `unknown key (did you mean "${guess}"?)`,
    why: "a key that is not read would silently not hold",
    expected: `one of ${known.join(", ")}`,
  };
}
