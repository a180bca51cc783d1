/** Log lines as bytes in one piece of memory: as texts each would leave a kilobyte to the collector, many times what it costs to write. */
import { jsonLine, type LogFields, type Logger, timeText } from "./logger.ts";

/** Bytes of the memory, and so of one write. */
const BYTES = 262_144;
/** Bytes of a number at most, and of what stands around a value. */
const SPARE = 32;
/** Names whose JSON is kept; a program has a few. */
const MAX_NAMES = 256;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const POINT = 0x2e;
const ZERO = 0x30;
const END = 0x7d;
const NEWLINE = 0x0a;

const encoder = new TextEncoder();
const OPENING = encoder.encode('{"time":"');
const TRUE = encoder.encode("true");
const FALSE = encoder.encode("false");

/** Lines of one level and message. */
export class LineBytes {
  readonly #level: keyof Logger;
  readonly #message: string;
  readonly #always: LogFields;
  /** What follows the time in each line. */
  readonly #head: Uint8Array;
  /** `,"name":` of the names that were met; undefined for those that a line has already. */
  readonly #names = new Map<string, Uint8Array | undefined>();
  readonly #bytes: Uint8Array;
  #length = 0;

  /**
   * @param always fields that each line begins with; what a line itself says goes before them
   * @param size bytes of the memory
   */
  constructor(level: keyof Logger, message: string, always: LogFields = {}, size: number = BYTES) {
    this.#level = level;
    this.#message = message;
    this.#always = always;
    this.#bytes = new Uint8Array(size);
    const same = { level, message, ...always };
    this.#head = encoder.encode(`",${JSON.stringify(same).slice(1, -1)}`);
    for (const name of ["time", "toJSON", ...Object.keys(same)]) this.#names.set(name, undefined);
  }

  /** The lines so far; they stay only until {@link clear}. */
  get lines(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  /** Forgets the lines. */
  clear(): void {
    this.#length = 0;
  }

  /** A line as text. */
  text(at: number, fields: LogFields): string {
    return jsonLine(at, this.#level, this.#message, { ...this.#always, ...fields });
  }

  /**
   * Adds a line, newline included.
   *
   * @param at wall time in milliseconds
   * @returns false when there is no room for it, and then nothing is added
   */
  add(at: number, fields: LogFields): boolean {
    const end = this.#plain(at, fields);
    if (end !== undefined) {
      this.#length = end;
      return true;
    }
    // what is not plain, and what finds no room
    const text = this.text(at, fields);
    const { read, written } = encoder.encodeInto(text, this.#bytes.subarray(this.#length));
    if (read < text.length) return false;
    this.#length += written;
    return true;
  }

  /** Writes a line of plain ASCII texts, whole numbers and thousandths; where it would end, or undefined for any other. */
  #plain(at: number, fields: LogFields): number | undefined {
    const time = timeText(at);
    if ("toJSON" in fields || !this.#fits(this.#length, OPENING.length + time.length + this.#head.length))
      return undefined;
    let end = this.#put(OPENING, this.#length);
    for (let i = 0; i < time.length; i++) this.#bytes[end++] = time.charCodeAt(i);
    end = this.#put(this.#head, end);
    for (const name in fields) {
      if (!Object.hasOwn(fields, name)) continue;
      const value = fields[name];
      if (value === undefined) continue;
      const key = this.#names.get(name) ?? this.#learn(name);
      if (key === undefined || !this.#fits(end, key.length)) return undefined;
      end = this.#put(key, end);
      let next: number | undefined;
      if (typeof value === "string") next = this.#quoted(value, end);
      else if (typeof value === "number") next = this.#number(value, end);
      else if (typeof value === "boolean") next = this.#put(value ? TRUE : FALSE, end);
      if (next === undefined) return undefined;
      end = next;
    }
    this.#bytes[end++] = END;
    this.#bytes[end++] = NEWLINE;
    return end;
  }

  #fits(end: number, length: number): boolean {
    return end + length + SPARE <= this.#bytes.length;
  }

  /** The JSON of a name; undefined for one that a line has already. Names that read as numbers would change places. */
  #learn(name: string): Uint8Array | undefined {
    if (this.#names.has(name) || this.#names.size >= MAX_NAMES || !/^[a-zA-Z]\w*$/.test(name)) return undefined;
    const key = encoder.encode(`,"${name}":`);
    this.#names.set(name, key);
    return key;
  }

  // in loops: a call out of compiled code costs more than these few bytes
  #put(piece: Uint8Array, at: number): number {
    const bytes = this.#bytes;
    for (let i = 0; i < piece.length; i++) bytes[at + i] = piece[i] as number;
    return at + piece.length;
  }

  #quoted(text: string, at: number): number | undefined {
    if (!this.#fits(at, text.length)) return undefined;
    const bytes = this.#bytes;
    let end = at;
    bytes[end++] = QUOTE;
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      if (code < 0x20 || code > 0x7e || code === QUOTE || code === BACKSLASH) return undefined;
      bytes[end++] = code;
    }
    bytes[end++] = QUOTE;
    return end;
  }

  #number(value: number, at: number): number | undefined {
    const thousandths = Math.round(value * 1_000);
    // larger ones are written in another way, others are no thousandths
    if (!(value >= 0 && value < 1e9) || thousandths / 1_000 !== value) return undefined;
    const whole = Math.floor(value);
    let end = this.#digits(whole, at);
    let rest = thousandths - whole * 1_000;
    if (rest === 0) return end;
    this.#bytes[end++] = POINT;
    for (let unit = 100; rest > 0; unit /= 10) {
      const digit = Math.floor(rest / unit);
      this.#bytes[end++] = ZERO + digit;
      rest -= digit * unit;
    }
    return end;
  }

  #digits(whole: number, at: number): number {
    let end = at + 1;
    for (let limit = 10; whole >= limit; limit *= 10) end++;
    let left = whole;
    for (let i = end - 1; i >= at; i--) {
      const tens = Math.floor(left / 10);
      this.#bytes[i] = ZERO + left - tens * 10;
      left = tens;
    }
    return end;
  }
}
