/** Patterns of header and claim values: text, `{name}` for what was captured, a final `*` for whatever follows. */
import { type PatternFault, slotOf } from "./pattern.ts";

/** A compiled value pattern. */
export interface ValuePattern {
  /** As written. */
  readonly text: string;
  /** Text, or the slot of a capture. */
  readonly parts: readonly (string | number)[];
  /** Whether anything may follow. */
  readonly open: boolean;
}

const PART = /\{([A-Za-z][A-Za-z0-9_]{0,31})\}|[^{}*]+/y;
const EXPECTED = "text, {name} of a capture, and * only at the end";

/**
 * Compiles a value pattern.
 *
 * @param names names of captures by slot; names that nobody captures are the caller's to refuse
 */
export function parseValue(text: string, names: string[]): ValuePattern | PatternFault {
  const open = text.endsWith("*");
  const body = open ? text.slice(0, -1) : text;
  const parts: (string | number)[] = [];
  let end = 0;
  PART.lastIndex = 0;
  for (let found = PART.exec(body); found !== null; found = PART.exec(body)) {
    parts.push(found[1] === undefined ? found[0] : slotOf(names, found[1]));
    end = PART.lastIndex;
  }
  if (end !== body.length) return { what: `"${text}" is no pattern of a value`, expected: EXPECTED };
  return { text, parts, open };
}

/**
 * Whether one value could be made of this pattern by different captures, as `a-b-c` of `{x}-{y}`: what stands between a
 * capture and whatever follows it has to hold a character that no capture can.
 *
 * @param ofId slots captured from IDs, whose segments hold fewer characters than those of paths
 */
export function isAmbiguous({ parts, open }: ValuePattern, ofId: ReadonlySet<number>): boolean {
  let separator: RegExp | undefined;
  for (const part of parts) {
    if (typeof part === "string") {
      if (separator?.test(part)) separator = undefined;
    } else if (separator !== undefined) return true;
    else separator = ofId.has(part) ? /[^A-Za-z0-9._-]/ : /\//;
  }
  return open && separator !== undefined;
}

/** Whether a value fits; every slot of the pattern is filled. */
export function matchesValue(pattern: ValuePattern, value: string, captured: readonly (string | undefined)[]): boolean {
  let at = 0;
  for (const part of pattern.parts) {
    const text = typeof part === "string" ? part : captured[part];
    if (text === undefined || !value.startsWith(text, at)) return false;
    at += text.length;
  }
  return pattern.open || at === value.length;
}

/** Values of which one is enough. */
export interface ValueTest {
  /** Those without capture and `*`. */
  readonly exact: ReadonlySet<string>;
  /** The others. */
  readonly patterns: readonly ValuePattern[];
}

/** Puts the plain values apart, so that any number of them costs one look-up. */
export function toValueTest(values: readonly ValuePattern[]): ValueTest {
  const isPlain = ({ parts, open }: ValuePattern) => !open && parts.every((part) => typeof part === "string");
  return {
    exact: new Set(values.filter(isPlain).map(({ text }) => text)),
    patterns: values.filter((value) => !isPlain(value)),
  };
}

/** Whether a value is one of them. */
export function fitsValue(test: ValueTest, value: string, captured: readonly (string | undefined)[]): boolean {
  const { exact, patterns } = test;
  if (exact.has(value)) return true;
  for (let i = 0; i < patterns.length; i++) if (matchesValue(patterns[i] as ValuePattern, value, captured)) return true;
  return false;
}
