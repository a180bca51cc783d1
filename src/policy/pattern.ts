/**
 * Segment patterns for paths and SPIFFE IDs: `*` is one whole segment, `{name}` one segment under a name, a final `**`
 * the rest, which may be nothing. Each segment is looked at once; there is nothing to backtrack to.
 */

/** A compiled pattern. */
export interface SegmentPattern {
  /** As written. */
  readonly text: string;
  /** Per segment its exact text; undefined where any segment that is not empty fits. */
  readonly texts: readonly (string | undefined)[];
  /** Per segment the slot its text is kept in, -1 for none. */
  readonly slots: readonly number[];
  /** Whether more segments may follow. */
  readonly rest: boolean;
}

/** What is wrong with a pattern, and what would be right. */
export interface PatternFault {
  readonly what: string;
  readonly expected: string;
}

/** Whether a pattern was refused. */
export const isFault = <T extends object>(value: T | PatternFault): value is PatternFault => "what" in value;

const CAPTURE = /^\{([A-Za-z][A-Za-z0-9_]{0,31})\}$/;
const WHOLE = "a whole segment: text, * for any, {name} to compare it elsewhere, or a final ** for the rest";

/** Names that one rule captures; a rule with more is refused. */
export const MAX_CAPTURES = 32;

/** The slot of a name, new or known; beyond the bound one name is kept that tells so, and no more. */
export function slotOf(names: string[], name: string): number {
  const known = names.indexOf(name);
  if (known >= 0) return known;
  return names.length > MAX_CAPTURES ? MAX_CAPTURES : names.push(name) - 1;
}

/**
 * Compiles a pattern.
 *
 * @param path begins with a slash
 * @param names names of captures by slot; new ones are added
 */
export function parseSegments(path: string, names: string[]): SegmentPattern | PatternFault {
  const parts = path.slice(1).split("/");
  const rest = parts.at(-1) === "**";
  if (rest) parts.pop();
  const texts: (string | undefined)[] = [];
  const slots: number[] = [];
  for (const part of parts) {
    const name = CAPTURE.exec(part)?.[1];
    if (part === "*" || name !== undefined) {
      texts.push(undefined);
      slots.push(name === undefined ? -1 : slotOf(names, name));
      continue;
    }
    if (part === "**") return { what: `"${path}" has ** before its end`, expected: WHOLE };
    if (part.includes("*")) return { what: `"${part}" mixes a wildcard with text`, expected: WHOLE };
    if (/[{}]/.test(part)) return { what: `"${part}" is no capture`, expected: WHOLE };
    texts.push(part);
    slots.push(-1);
  }
  return { text: path, texts, slots, rest };
}

/** The path with a plain word in every place of a wildcard: what the rest of it is judged by. */
export function plainForm(pattern: SegmentPattern): string {
  const words = pattern.texts.map((text) => text ?? "x");
  return `/${(pattern.rest ? [...words, "x"] : words).join("/")}`;
}

/** The segments of a path, at most `limit` of them: no pattern looks further. */
export function splitSegments(path: string, limit: number): string[] {
  const segments: string[] = [];
  for (let start = 1; segments.length < limit; ) {
    const end = path.indexOf("/", start);
    if (end < 0) {
      segments.push(path.slice(start));
      break;
    }
    segments.push(path.slice(start, end));
    start = end + 1;
  }
  return segments;
}

/**
 * Whether the first `count` segments fit; what is captured is put into `captured`, what is there already has to be the
 * same.
 */
export function matchesSegments(
  pattern: SegmentPattern,
  segments: readonly string[],
  count: number,
  captured: (string | undefined)[],
): boolean {
  const { texts, slots } = pattern;
  const length = texts.length;
  if (pattern.rest ? count < length : count !== length) return false;
  for (let i = 0; i < length; i++) {
    const text = texts[i];
    const segment = segments[i] as string;
    if (text !== undefined) {
      if (segment !== text) return false;
      continue;
    }
    if (segment === "") return false;
    const slot = slots[i] as number;
    if (slot < 0) continue;
    const bound = captured[slot];
    if (bound === undefined) captured[slot] = segment;
    else if (bound !== segment) return false;
  }
  return true;
}

/** A segment as programs see it that decode it; what cannot be decoded stays. */
export function decodeSegment(segment: string): string {
  if (!segment.includes("%")) return segment;
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}
