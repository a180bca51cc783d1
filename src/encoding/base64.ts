/** Base64 and base64url (RFC 4648 §4, §5), strict: one text per octet string, everything else is refused. */
import { accept, refuse, type Verdict } from "../base/index.ts";

const INVALID = 0xff;
const PAD = 0x3d;
const STANDARD = alphabet("+/");
const URL_SAFE = alphabet("-_");

type OctetsFor = (length: number) => Uint8Array<ArrayBuffer>;

const ownOctets: OctetsFor = (length) => new Uint8Array(length);

/**
 * Decodes standard base64 with padding. White space, missing padding, the other alphabet and bits that no octet uses
 * are refused.
 *
 * @returns the octets, or `encoding.base64`
 */
export function decodeBase64(text: string): Verdict<Uint8Array<ArrayBuffer>> {
  if (text.length % 4 !== 0)
    return refuse("encoding.base64", "Expected base64 with padding to a multiple of 4 characters");
  let length = text.length;
  if (length > 0 && text.charCodeAt(length - 1) === PAD) length -= text.charCodeAt(length - 2) === PAD ? 2 : 1;
  return decode(text, length, STANDARD.values, "base64", ownOctets);
}

/**
 * Decodes base64url without padding, as JOSE has it (RFC 7515 §2). Padding, white space, the other alphabet and bits
 * that no octet uses are refused.
 *
 * @param octetsFor gives the memory for so many octets; each its own unless given
 * @returns the octets, or `encoding.base64`
 */
export function decodeBase64Url(text: string, octetsFor: OctetsFor = ownOctets): Verdict<Uint8Array<ArrayBuffer>> {
  return decode(text, text.length, URL_SAFE.values, "base64url", octetsFor);
}

/** Encodes to standard base64 with padding. */
export function encodeBase64(bytes: Uint8Array): string {
  const text = encode(bytes, STANDARD.digits);
  return text.padEnd(Math.ceil(text.length / 4) * 4, "=");
}

/** Encodes to base64url without padding. */
export function encodeBase64Url(bytes: Uint8Array): string {
  return encode(bytes, URL_SAFE.digits);
}

function alphabet(last: string): { digits: string; values: Uint8Array } {
  const digits = `ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789${last}`;
  const values = new Uint8Array(256).fill(INVALID);
  for (let i = 0; i < 64; i++) values[digits.charCodeAt(i)] = i;
  return { digits, values };
}

function decode(
  text: string,
  length: number,
  values: Uint8Array,
  name: string,
  octetsFor: OctetsFor,
): Verdict<Uint8Array<ArrayBuffer>> {
  const rest = length % 4;
  if (rest === 1) return refuse("encoding.base64", `Expected ${name} of a whole number of octets`);
  const bytes = octetsFor((length >>> 2) * 3 + (rest === 0 ? 0 : rest - 1));
  const start = decodeGroups(text, length, values, bytes);
  let bits = 0;
  let buffer = 0;
  let at = (start >>> 2) * 3;
  for (let i = start; i < length; i++) {
    const c = text.charCodeAt(i);
    const value = values[c & 0xff]!;
    if (value === INVALID || c > 0xff)
      return refuse("encoding.base64", `Expected only the ${name} alphabet, got another character at offset ${i}`);
    buffer = ((buffer << 6) | value) & 0xfff;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes[at++] = buffer >>> bits;
    }
  }
  if ((buffer & ((1 << bits) - 1)) !== 0)
    return refuse("encoding.base64", `Expected the unused bits at the end of ${name} to be zero`);
  return accept(bytes);
}

/** Decodes whole groups of four characters; 0, to look for the wrong one from the start, when there is one in them. */
function decodeGroups(text: string, length: number, values: Uint8Array, bytes: Uint8Array): number {
  let wrong = 0;
  let at = 0;
  let i = 0;
  for (; i + 4 <= length; i += 4) {
    const a = text.charCodeAt(i);
    const b = text.charCodeAt(i + 1);
    const c = text.charCodeAt(i + 2);
    const d = text.charCodeAt(i + 3);
    const p = values[a & 0xff]!;
    const q = values[b & 0xff]!;
    const r = values[c & 0xff]!;
    const s = values[d & 0xff]!;
    // a value has six bits, INVALID all eight
    wrong |= ((a | b | c | d) >>> 8) | ((p | q | r | s) >>> 6);
    bytes[at] = (p << 2) | (q >>> 4);
    bytes[at + 1] = (q << 4) | (r >>> 2);
    bytes[at + 2] = (r << 6) | s;
    at += 3;
  }
  return wrong === 0 ? i : 0;
}

function encode(bytes: Uint8Array, digits: string): string {
  let text = "";
  let i = 0;
  for (; i + 2 < bytes.length; i += 3) {
    const group = (bytes[i]! << 16) | (bytes[i + 1]! << 8) | bytes[i + 2]!;
    text += digits[group >>> 18]! + digits[(group >>> 12) & 63]! + digits[(group >>> 6) & 63]! + digits[group & 63]!;
  }
  if (i + 1 === bytes.length) text += digits[bytes[i]! >>> 2]! + digits[(bytes[i]! & 3) << 4]!;
  if (i + 2 === bytes.length) {
    const group = (bytes[i]! << 8) | bytes[i + 1]!;
    text += digits[group >>> 10]! + digits[(group >>> 4) & 63]! + digits[(group & 15) << 2]!;
  }
  return text;
}
