/** The one scanner that decides what a SPIFFE ID is. It looks at code units; nothing here folds, normalises or decodes. */

import { LIMITS } from "../base/limits.ts";
import type { Refusal } from "../base/verdict.ts";
import { refuse } from "../base/verdict.ts";

export const SCHEME = "spiffe://";

const DOT = 0x2e;
const SLASH = 0x2f;
const TRUST_DOMAIN = 1;
const PATH = 2;

/** Which part of an ID an ASCII character may stand in (ID-08, ID-14). */
const CLASS: Uint8Array = new Uint8Array(256);
for (const c of "abcdefghijklmnopqrstuvwxyz0123456789.-_") CLASS[c.charCodeAt(0)] = TRUST_DOMAIN | PATH;
for (const c of "ABCDEFGHIJKLMNOPQRSTUVWXYZ") CLASS[c.charCodeAt(0)] = PATH;

/** Whether a code unit may stand in that part. The mask keeps the look-up in bounds; what it cut off refuses. */
function may(c: number, part: number): boolean {
  return (CLASS[c & 0xff]! & part) !== 0 && c <= 0xff;
}

/** Scans a whole SPIFFE ID. Returns the offset at which the trust domain ends, or the refusal. */
export function scanId(input: string): number | Refusal {
  const length = input.length;
  if (length > LIMITS.spiffeId) {
    return refuse("id.too-long", `Expected a SPIFFE ID of at most ${LIMITS.spiffeId} bytes, got ${length} characters`);
  }
  if (!input.startsWith(SCHEME)) return schemeRefusal(input);
  let end = SCHEME.length;
  for (; end < length; end++) {
    const c = input.charCodeAt(end);
    if (may(c, TRUST_DOMAIN)) continue;
    if (c === SLASH) break;
    return trustDomainCharacter(input, end);
  }
  if (end === SCHEME.length) {
    return refuse("id.trust-domain-missing", "Expected a trust domain after spiffe://, got none");
  }
  if (end - SCHEME.length > LIMITS.trustDomain) return trustDomainTooLong(end - SCHEME.length);
  return end === length ? end : (scanPath(input, end) ?? end);
}

/** Scans a trust domain name. Returns the refusal, or undefined when the name is good. */
export function scanTrustDomain(name: string): Refusal | undefined {
  const length = name.length;
  if (length === 0) return refuse("id.trust-domain-missing", "Expected a trust domain name, got an empty string");
  if (length > LIMITS.trustDomain) return trustDomainTooLong(length);
  for (let i = 0; i < length; i++) {
    if (!may(name.charCodeAt(i), TRUST_DOMAIN)) return trustDomainCharacter(name, i);
  }
  return undefined;
}

/** Scans the path of `input`, which begins with the slash at `start` and goes to the end. */
function scanPath(input: string, start: number): Refusal | undefined {
  const length = input.length;
  let segment = start + 1;
  for (let i = segment; i < length; i++) {
    const c = input.charCodeAt(i);
    if (may(c, PATH)) continue;
    if (c !== SLASH) return pathCharacter(c, i);
    if (i === segment) return refuse("id.path-empty-segment", `Expected no empty path segment, got one at offset ${i}`);
    if (isDots(input, segment, i)) return dotSegment(segment);
    segment = i + 1;
  }
  if (segment === length) {
    return refuse("id.path-trailing-slash", "Expected a path that ends in a segment, got a trailing slash");
  }
  return isDots(input, segment, length) ? dotSegment(segment) : undefined;
}

/** Whether the segment between the offsets, which is not empty, is `.` or `..`. */
function isDots(input: string, start: number, end: number): boolean {
  return end - start <= 2 && input.charCodeAt(start) === DOT && input.charCodeAt(end - 1) === DOT;
}

function dotSegment(offset: number): Refusal {
  return refuse("id.path-dot-segment", `Expected no "." or ".." path segment, got one at offset ${offset}`);
}

function pathCharacter(code: number, offset: number): Refusal {
  return refuse(
    "id.path-character",
    `Expected only a-z A-Z 0-9 . - _ in a path, got ${show(code)} at offset ${offset}`,
  );
}

function schemeRefusal(input: string): Refusal {
  if (input.length === 0)
    return refuse("id.empty", "Expected a SPIFFE ID such as spiffe://example.org/web, got nothing");
  // Only what looks like a scheme is repeated: the rest could be a secret that was passed by mistake.
  const scheme = /^[A-Za-z][A-Za-z0-9+.-]{0,15}(?=:)/.exec(input)?.[0];
  const got = scheme === undefined ? "no scheme" : scheme === "spiffe" ? "spiffe: without two slashes" : `"${scheme}:"`;
  return refuse("id.scheme", `Expected a SPIFFE ID that begins with spiffe:// in lower case, got ${got}`);
}

function trustDomainTooLong(length: number): Refusal {
  return refuse(
    "id.trust-domain-too-long",
    `Expected a trust domain of at most ${LIMITS.trustDomain} bytes, got ${length}`,
  );
}

function trustDomainCharacter(input: string, offset: number): Refusal {
  const got = show(input.charCodeAt(offset));
  return refuse(
    "id.trust-domain-character",
    `Expected only a-z 0-9 . - _ in a trust domain, got ${got} at offset ${offset}`,
  );
}

function show(code: number): string {
  const hex = `U+${code.toString(16).toUpperCase().padStart(4, "0")}`;
  return code > 0x20 && code < 0x7f ? `"${String.fromCharCode(code)}" (${hex})` : hex;
}
