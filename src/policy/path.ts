/** Request paths and path patterns: one canonical form, so that policy, router and upstream judge the same bytes (S-22). */
import { accept, refuse, type Verdict } from "../base/index.ts";
import { decodeSegment, isFault, type PatternFault, parseSegments, plainForm, type SegmentPattern } from "./pattern.ts";

/** What most paths are made of, without dots, escapes and a second slash in a row: canonical at one look. */
const PLAIN = /^(?:\/|(?:\/[A-Za-z0-9\-_~!$&'()*+,=:@]+)+\/?)$/;
/** RFC 3986 path characters without `;`, which servers disagree about. */
const PATH = /^\/[A-Za-z0-9\-._~!$&'()*+,=:@%/]*$/;
const UNRESERVED = /[A-Za-z0-9\-._~]/;

/**
 * Brings a raw request path into its one canonical form: percent-encoded unreserved characters are decoded, other
 * escapes written in upper case, nothing else changes.
 *
 * Refused with `request.target` is every path that two programs could read differently: another first character than
 * `/`, `//`, dot segments (also encoded), an encoded slash, backslash or control character, `;`, `\`, `#`, raw
 * non-ASCII, invalid or double percent-encoding, escapes that are not UTF-8.
 *
 * @param raw the path as it came, without the query
 */
export function canonicalPath(raw: string): Verdict<string> {
  if (PLAIN.test(raw)) return accept(raw);
  const no = (what: string) => refuse("request.target", `The request path ${what}`);
  if (!raw.startsWith("/")) return no("must begin with /");
  if (!PATH.test(raw)) return no("holds a character that is not allowed there");
  let path = raw;
  if (raw.includes("%")) {
    if (/%(?![0-9A-Fa-f]{2})/.test(raw)) return no("holds an invalid percent-encoding");
    path = raw.replace(/%../g, (code) => {
      const character = String.fromCharCode(Number.parseInt(code.slice(1), 16));
      return UNRESERVED.test(character) ? character : code.toUpperCase();
    });
    if (/%(?:2F|5C|[01].|7F)/.test(path)) return no("holds an encoded slash, backslash or control character");
    if (/%25[0-9A-Fa-f]{2}/.test(path)) return no("is percent-encoded twice");
    try {
      decodeURIComponent(path);
    } catch {
      return no("holds an escape that is not UTF-8");
    }
  }
  if (path.includes("//")) return no("holds an empty segment");
  if (/\/\.\.?(?:\/|$)/.test(path)) return no("holds a dot segment");
  return accept(path);
}

/** Whether a path is in its canonical form already. */
export function isCanonicalPath(path: string): boolean {
  // a list of one text looks like the text
  if (typeof path !== "string") return false;
  const canonical = canonicalPath(path);
  return canonical.ok && canonical.value === path;
}

/** Compiles a path pattern that some canonical path can equal; deny rules make no difference for a final slash and for escapes. */
export function parsePath(text: string, names: string[], deny: boolean): SegmentPattern | PatternFault {
  const expected = '"/a/b", "/a/*/b", "/a/{name}" or "/a/b/**"';
  if (!text.startsWith("/")) return { what: `"${text}" can never match: a path begins with /`, expected };
  const pattern = parseSegments(text, names);
  if (isFault(pattern)) return pattern;
  const plain = plainForm(pattern);
  const canonical = canonicalPath(plain);
  if (!canonical.ok) return { what: `"${text}" can never match: ${canonical.message.toLowerCase()}`, expected };
  if (canonical.value !== plain) {
    return { what: `"${text}" can never match: requests are judged as "${canonical.value}"`, expected };
  }
  if (!deny) return pattern;
  const texts = pattern.texts.map((part) => (part === undefined ? undefined : decodeSegment(part)));
  const slash = texts.length > 1 && texts.at(-1) === "";
  return slash ? { ...pattern, texts: texts.slice(0, -1), slots: pattern.slots.slice(0, -1) } : { ...pattern, texts };
}
