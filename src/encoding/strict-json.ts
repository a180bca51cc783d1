/**
 * A strict, bounded JSON reader (RFC 8259, and the stricter RFC 7493 where the two differ) for everything that comes
 * over a wire. `JSON.parse` hides duplicate members, rounds large integers and has no bounds.
 */
import { accept, LIMITS, type Reason, refuse, type Verdict } from "../base/index.ts";

/** A JSON value. Integers that a number can not hold exactly are bigints; objects have no prototype. */
export type JsonValue = null | boolean | number | bigint | string | JsonValue[] | JsonObject;

/** A JSON object: a record without prototype, in which `__proto__` is a member like any other. */
export interface JsonObject {
  [member: string]: JsonValue;
}

/** Bounds of one document. */
export interface JsonLimits {
  /** Bytes of the UTF-8 text. */
  readonly maxBytes: number;
  /** Nesting of arrays and objects, 32 unless given. */
  readonly maxDepth?: number;
}

/** Characters of the longest number that is read: converting a long one takes time that grows with its square. */
const MAX_NUMBER = 1_024;

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Reads one JSON document.
 *
 * @param input UTF-8 bytes without byte order mark, or text
 * @returns the value, or a refusal: `encoding.too-large`, `encoding.too-deep`, `encoding.utf8`, `encoding.json`,
 *   `encoding.json-duplicate` (an object has the same member twice, also in different spelling)
 */
export function parseJson(input: Uint8Array | string, limits: JsonLimits): Verdict<JsonValue> {
  const text = typeof input === "string" ? boundText(input, limits.maxBytes) : decodeUtf8(input, limits.maxBytes);
  if (!text.ok) return text;
  try {
    return accept(new Reader(text.value, limits.maxDepth ?? LIMITS.jsonDepth).document());
  } catch (fault) {
    if (fault instanceof JsonFault) return refuse(fault.reason, fault.message);
    throw fault;
  }
}

/** Whether a value is an object, and neither an array nor null. */
export function isJsonObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function decodeUtf8(bytes: Uint8Array, maxBytes: number): Verdict<string> {
  // a decoder also takes an ArrayBuffer, whose size is not in `length`
  if (!(bytes instanceof Uint8Array)) return refuse("encoding.utf8", "Expected JSON as text or in a Uint8Array");
  if (bytes.length > maxBytes) return tooLarge(maxBytes);
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) {
    return refuse("encoding.utf8", "Expected UTF-8 without byte order mark");
  }
  try {
    return accept(UTF8.decode(bytes));
  } catch {
    return refuse("encoding.utf8", "Expected UTF-8, got bytes that are not");
  }
}

function boundText(text: string, maxBytes: number): Verdict<string> {
  // A code unit takes at most three bytes; text near the bound is measured exactly.
  const fits =
    text.length * 3 <= maxBytes || (text.length <= maxBytes && new TextEncoder().encode(text).length <= maxBytes);
  return fits ? accept(text) : tooLarge(maxBytes);
}

function tooLarge(maxBytes: number): Verdict<never> {
  return refuse("encoding.too-large", `Expected JSON of at most ${maxBytes} bytes`);
}

/** Ends the reading; never leaves this module. */
class JsonFault {
  readonly reason: Reason;
  readonly message: string;
  constructor(reason: Reason, message: string) {
    this.reason = reason;
    this.message = message;
  }
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPENING_BRACKET = 0x5b;
const CLOSING_BRACKET = 0x5d;
const OPENING_BRACE = 0x7b;
const CLOSING_BRACE = 0x7d;
const ZERO = 0x30;
const NINE = 0x39;
const BACKSLASH = 0x5c;
/** Digits of an integer that a number surely holds. */
const SAFE_DIGITS = 15;
const ESCAPES: ReadonlyMap<string, string> = new Map([
  ['"', '"'],
  ["\\", "\\"],
  ["/", "/"],
  ["b", "\b"],
  ["f", "\f"],
  ["n", "\n"],
  ["r", "\r"],
  ["t", "\t"],
]);

class Reader {
  readonly #text: string;
  readonly #maxDepth: number;
  #at = 0;
  #valuesLeft: number = LIMITS.jsonValues;

  constructor(text: string, maxDepth: number) {
    this.#text = text;
    this.#maxDepth = maxDepth;
  }

  document(): JsonValue {
    const value = this.#value(0);
    this.#space();
    if (this.#at !== this.#text.length) this.#fail("the end of the document");
    return value;
  }

  #value(depth: number): JsonValue {
    if (this.#valuesLeft-- === 0) {
      throw new JsonFault("encoding.too-large", `Expected at most ${LIMITS.jsonValues} JSON values`);
    }
    this.#space();
    switch (this.#text.charCodeAt(this.#at)) {
      case OPENING_BRACE:
        return this.#object(this.#deeper(depth));
      case OPENING_BRACKET:
        return this.#array(this.#deeper(depth));
      case QUOTE:
        return this.#string();
      case 0x74:
        return this.#word("true", true);
      case 0x66:
        return this.#word("false", false);
      case 0x6e:
        return this.#word("null", null);
      default:
        return this.#number();
    }
  }

  #object(depth: number): JsonObject {
    const object: JsonObject = Object.create(null);
    this.#at++;
    this.#space();
    if (this.#take(CLOSING_BRACE)) return object;
    for (;;) {
      this.#space();
      if (this.#text.charCodeAt(this.#at) !== QUOTE) this.#fail("a member name");
      const start = this.#at;
      const name = this.#string();
      if (Object.hasOwn(object, name)) {
        throw new JsonFault("encoding.json-duplicate", `Expected each member once, got one again at offset ${start}`);
      }
      this.#space();
      if (!this.#take(COLON)) this.#fail('":"');
      object[name] = this.#value(depth);
      this.#space();
      if (this.#take(CLOSING_BRACE)) return object;
      if (!this.#take(COMMA)) this.#fail('"," or "}"');
    }
  }

  #array(depth: number): JsonValue[] {
    const array: JsonValue[] = [];
    this.#at++;
    this.#space();
    if (this.#take(CLOSING_BRACKET)) return array;
    for (;;) {
      array.push(this.#value(depth));
      this.#space();
      if (this.#take(CLOSING_BRACKET)) return array;
      if (!this.#take(COMMA)) this.#fail('"," or "]"');
    }
  }

  #string(): string {
    const text = this.#text;
    let value = "";
    let at = this.#at + 1;
    let start = at;
    for (;;) {
      const c = text.charCodeAt(at);
      if (c >= 0x20 && c < 0xd800 && c !== QUOTE && c !== BACKSLASH) at++;
      else if (c === QUOTE) {
        this.#at = at + 1;
        return value + text.slice(start, at);
      } else if (c === BACKSLASH) {
        this.#at = at;
        value += text.slice(start, at) + this.#escape();
        start = at = this.#at;
      } else if (isHighSurrogate(c) && isLowSurrogate(text.charCodeAt(at + 1))) at += 2;
      else if (c > 0xdfff) at++;
      else {
        this.#at = at;
        this.#fail("a character of a string or its closing quote");
      }
    }
  }

  #escape(): string {
    const plain = ESCAPES.get(this.#text[this.#at + 1] ?? "");
    if (plain !== undefined) {
      this.#at += 2;
      return plain;
    }
    const unit = this.#unicode();
    if (!isHighSurrogate(unit)) {
      if (isLowSurrogate(unit)) this.#fail("a surrogate pair");
      return String.fromCharCode(unit);
    }
    const low = this.#unicode();
    if (!isLowSurrogate(low)) this.#fail("a surrogate pair");
    return String.fromCharCode(unit, low);
  }

  #unicode(): number {
    const digits = /^\\u([0-9a-fA-F]{4})$/.exec(this.#text.slice(this.#at, this.#at + 6))?.[1];
    if (digits === undefined) this.#fail("an escape of JSON");
    this.#at += 6;
    return Number.parseInt(digits, 16);
  }

  #number(): number | bigint {
    const start = this.#at;
    let integer = true;
    const minus = this.#take(0x2d);
    if (!this.#take(ZERO)) this.#digits("a value");
    if (this.#take(0x2e)) {
      integer = false;
      this.#digits("a digit");
    }
    if (this.#take(0x65) || this.#take(0x45)) {
      integer = false;
      if (!this.#take(0x2d)) this.#take(0x2b);
      this.#digits("a digit");
    }
    if (integer && !minus && this.#at - start <= SAFE_DIGITS) return this.#sum(start);
    if (this.#at - start > MAX_NUMBER) this.#fail(`a number of at most ${MAX_NUMBER} characters`);
    const literal = this.#text.slice(start, this.#at);
    const value = Number(literal);
    if (integer) return Number.isSafeInteger(value) ? value : BigInt(literal);
    if (!Number.isFinite(value)) this.#fail("a number within range");
    return value;
  }

  /** The number that the digits from a place on are, as most are: without a text of its own. */
  #sum(start: number): number {
    let value = 0;
    for (let at = start; at < this.#at; at++) value = 10 * value + (this.#text.charCodeAt(at) - ZERO);
    return value;
  }

  #digits(expected: string): void {
    const text = this.#text;
    let at = this.#at;
    for (let c = text.charCodeAt(at); c >= ZERO && c <= NINE; c = text.charCodeAt(at)) at++;
    if (at === this.#at) this.#fail(expected);
    this.#at = at;
  }

  #word<T>(word: string, value: T): T {
    if (!this.#text.startsWith(word, this.#at)) this.#fail("a value");
    this.#at += word.length;
    return value;
  }

  #deeper(depth: number): number {
    if (depth < this.#maxDepth) return depth + 1;
    throw new JsonFault("encoding.too-deep", `Expected JSON nested at most ${this.#maxDepth} deep`);
  }

  #take(c: number): boolean {
    if (this.#text.charCodeAt(this.#at) !== c) return false;
    this.#at++;
    return true;
  }

  #space(): void {
    for (;;) {
      const c = this.#text.charCodeAt(this.#at);
      // a compact document has none
      if (c > 0x20) return;
      if (c !== 0x20 && c !== 0x0a && c !== 0x0d && c !== 0x09) return;
      this.#at++;
    }
  }

  #fail(expected: string): never {
    const got = this.#at < this.#text.length ? "other text" : "the end";
    throw new JsonFault("encoding.json", `Expected ${expected}, got ${got} at offset ${this.#at}`);
  }
}

function isHighSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdbff;
}

function isLowSurrogate(unit: number): boolean {
  return unit >= 0xdc00 && unit <= 0xdfff;
}
