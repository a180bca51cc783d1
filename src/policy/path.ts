/** Request paths and path patterns: one canonical form, so that policy, router and upstream judge the same bytes (S-22). */
import { accept, refuse, type Verdict } from "../base/index.ts";

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

/** The path of a route: itself alone, or with everything below it. */
export interface PathPattern {
  /** As written. */
  readonly text: string;
  /** This path and, when `below`, what lies under it. No trailing slash when `below`. */
  readonly path: string;
  readonly below: boolean;
}

/**
 * Reads `/a/b` (exactly that path) or `/a/b/**` (that path and everything below it, on a segment boundary).
 *
 * The refusal's message is a fragment that reads after "path".
 */
export function parsePathPattern(text: string): Verdict<PathPattern> {
  const below = text.endsWith("/**");
  const path = below ? text.slice(0, -3) : text;
  if (path.includes("*") || path.includes("{")) {
    return refuse("request.target", `"${text}" has a wildcard that is not a final /**`);
  }
  const canonical = canonicalPath(path === "" && below ? "/" : path);
  if (!canonical.ok) return refuse("request.target", `"${text}" can never match: ${canonical.message.toLowerCase()}`);
  if (below && path.endsWith("/"))
    return refuse("request.target", `"${text}" can never match: it holds an empty segment`);
  if (path !== "" && canonical.value !== path) {
    return refuse("request.target", `"${text}" can never match: requests are judged as "${canonical.value}"`);
  }
  return accept({ text, path, below });
}
