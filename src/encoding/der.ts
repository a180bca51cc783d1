/**
 * A strict, bounded reader for DER (X.690 §8, §10).
 *
 * The reader works in place and makes no copies. Inside a decoder every deviation ends the decoding at once; a caller
 * of {@link decodeDer} sees a verdict, never an exception.
 */
import { accept, LIMITS, type Reason, refuse, type Verdict } from "../base/index.ts";

/** Identifier octets, with the constructed bit, as they stand in the encoding. */
export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  utf8String: 0x0c,
  sequence: 0x30,
  set: 0x31,
  printableString: 0x13,
  ia5String: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
} as const;

/** The identifier octet of a context-specific tag below 31, constructed or primitive. */
export function contextTag(number: number, constructed: boolean): number {
  return (constructed ? 0xa0 : 0x80) | number;
}

/** Octets of the longest OBJECT IDENTIFIER that is read: a long arc costs the square of its length. */
const MAX_OID = 64;

/** Ends a decoding; never leaves this module because {@link decodeDer} turns it into a refusal. */
class DerFault {
  readonly message: string;
  constructor(message: string) {
    this.message = message;
  }
}

/** Gives up a decoding for a reason that the DER rules do not know, such as a field out of range. */
export function derFault(message: string): never {
  throw new DerFault(message);
}

/**
 * Runs a decoder over a whole input; all bytes must be consumed.
 *
 * @param bytes the encoding
 * @param decode reads from the reader and returns the value
 * @param reason the reason of a refusal, `encoding.der` unless given
 */
export function decodeDer<T>(
  bytes: Uint8Array,
  decode: (reader: DerReader) => T,
  reason: Reason = "encoding.der",
): Verdict<T> {
  try {
    const reader = new DerReader(bytes, 0, bytes.length, 0);
    const value = decode(reader);
    reader.end();
    return accept(value);
  } catch (fault) {
    if (fault instanceof DerFault) return refuse(reason, `Expected DER, but ${fault.message}`);
    throw fault;
  }
}

/** A cursor over consecutive DER elements. Every method either consumes what it names or ends the decoding. */
export class DerReader {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  readonly #depth: number;
  #at: number;
  #start = 0;
  #contentStart = 0;
  #contentEnd = 0;

  constructor(bytes: Uint8Array, start: number, end: number, depth: number) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
    this.#depth = depth;
  }

  /** Whether everything is consumed. */
  get atEnd(): boolean {
    return this.#at === this.#end;
  }

  /** The identifier octet of the next element, or -1 at the end. */
  get next(): number {
    return this.#at < this.#end ? this.#bytes[this.#at]! : -1;
  }

  /** Requires that nothing is left. */
  end(): void {
    if (this.#at !== this.#end) derFault(`${this.#end - this.#at} bytes are left over at byte ${this.#at}`);
  }

  /** Reads identifier and length at the cursor; `tag` -1 takes any. */
  #header(tag: number): void {
    const bytes = this.#bytes;
    const end = this.#end;
    let at = (this.#start = this.#at);
    if (at >= end) derFault(`an element is missing at byte ${at}`);
    const identifier = bytes[at++]!;
    if (tag !== -1 && identifier !== tag) {
      derFault(`tag 0x${identifier.toString(16)} stands where 0x${tag.toString(16)} belongs, at byte ${at - 1}`);
    }
    if ((identifier & 0x1f) === 0x1f) at = this.#highTag(at);
    if (at >= end) derFault(`a length is missing at byte ${at}`);
    let length = bytes[at++]!;
    if (length >= 0x80) {
      const count = length & 0x7f;
      if (count === 0) derFault(`the length at byte ${at - 1} is indefinite`);
      if (count > 4 || at + count > end) derFault(`the length at byte ${at - 1} is out of bounds`);
      if (bytes[at] === 0) derFault(`the length at byte ${at - 1} is not minimal`);
      length = 0;
      for (let i = 0; i < count; i++) length = length * 256 + bytes[at++]!;
      if (length < 0x80) derFault(`the length before byte ${at} is not minimal`);
    }
    if (length > end - at) derFault(`the element at byte ${this.#at} reaches past its container`);
    this.#contentStart = at;
    this.#contentEnd = at + length;
  }

  /** Passes the next element, which must have this tag, and says where its content starts. */
  #pass(tag: number): number {
    this.#header(tag);
    this.#at = this.#contentEnd;
    return this.#contentStart;
  }

  /** Passes the further identifier octets of a tag number of 31 or more. */
  #highTag(start: number): number {
    const bytes = this.#bytes;
    let at = start;
    let number = 0;
    for (;;) {
      if (at >= this.#end || at - start === 4) derFault(`the tag before byte ${at} is out of bounds`);
      const octet = bytes[at++]!;
      if (at - 1 === start && octet === 0x80) derFault(`the tag at byte ${at - 1} is not minimal`);
      number = number * 128 + (octet & 0x7f);
      if (octet < 0x80) break;
    }
    if (number < 31) derFault(`the tag before byte ${at} is not minimal`);
    return at;
  }

  /** Enters the next element, which must have this tag, and returns a reader of its content: DER within it or within an OCTET STRING. */
  enter(tag: number): DerReader {
    if (this.#depth >= LIMITS.derDepth) derFault(`nesting exceeds ${LIMITS.derDepth} levels`);
    this.#header(tag);
    this.#at = this.#contentEnd;
    return new DerReader(this.#bytes, this.#contentStart, this.#contentEnd, this.#depth + 1);
  }

  /** The content of the next element, which must have this tag. */
  value(tag: number): Uint8Array {
    const start = this.#pass(tag);
    return this.#bytes.subarray(start, this.#contentEnd);
  }

  /** The content of the element that this reader has passed or entered last. */
  get lastContent(): Uint8Array {
    return this.#bytes.subarray(this.#contentStart, this.#contentEnd);
  }

  /** The whole next element, identifier and length included; any tag unless one is given. */
  element(tag = -1): Uint8Array {
    this.#pass(tag);
    return this.last;
  }

  /** The element that this reader has passed or entered last, identifier and length included. */
  get last(): Uint8Array {
    return this.#bytes.subarray(this.#start, this.#contentEnd);
  }

  sequence(): DerReader {
    return this.enter(TAG.sequence);
  }

  /** Passes the next element, whatever it is. */
  skip(): void {
    this.#pass(-1);
  }

  /** The content octets of an INTEGER in minimal two's complement. */
  integer(tag: number = TAG.integer): Uint8Array {
    const content = this.value(tag);
    if (content.length === 0) derFault("an INTEGER is empty");
    if (
      content.length > 1 &&
      ((content[0] === 0 && content[1]! < 0x80) || (content[0] === 0xff && content[1]! >= 0x80))
    ) {
      derFault("an INTEGER is not minimal");
    }
    return content;
  }

  /** A non-negative INTEGER without its sign octet. */
  unsigned(): Uint8Array {
    const content = this.integer();
    if (content[0]! >= 0x80) derFault("an INTEGER is negative");
    return content[0] === 0 && content.length > 1 ? content.subarray(1) : content;
  }

  /** A non-negative INTEGER below 2^31. */
  smallInteger(tag: number = TAG.integer): number {
    const content = this.integer(tag);
    if (content[0]! >= 0x80) derFault("an INTEGER is negative");
    if (content.length > 4) derFault("an INTEGER is too large");
    let number = 0;
    for (const octet of content) number = number * 256 + octet;
    return number;
  }

  boolean(): boolean {
    const at = this.#pass(TAG.boolean);
    const octet = this.#bytes[at];
    if (this.#contentEnd !== at + 1 || (octet !== 0 && octet !== 0xff)) derFault("a BOOLEAN is neither 00 nor FF");
    return octet === 0xff;
  }

  null(): void {
    if (this.value(TAG.null).length !== 0) derFault("a NULL has content");
  }

  octetString(): Uint8Array {
    return this.value(TAG.octetString);
  }

  /** A BIT STRING: its octets and how many bits of the last one are unused (these are zero). */
  bitString(tag: number = TAG.bitString): { bytes: Uint8Array; unused: number } {
    const start = this.#pass(tag);
    const end = this.#contentEnd;
    const unused = start < end ? this.#bytes[start]! : 8;
    if (unused > 7 || (unused > 0 && end === start + 1)) derFault("a BIT STRING has a wrong count of unused bits");
    if (unused > 0 && (this.#bytes[end - 1]! & ((1 << unused) - 1)) !== 0) {
      derFault("unused bits of a BIT STRING are set");
    }
    return { bytes: this.#bytes.subarray(start + 1, end), unused };
  }

  /** A BIT STRING of whole octets, as signatures and keys are. */
  bitOctets(): Uint8Array {
    const { bytes, unused } = this.bitString();
    if (unused !== 0) derFault("a BIT STRING is not of whole octets");
    return bytes;
  }

  /** Passes an OBJECT IDENTIFIER, whose content octets must be minimal. */
  skipOid(): void {
    const start = this.#pass(TAG.oid);
    const bytes = this.#bytes;
    const end = this.#contentEnd;
    if (end - start > MAX_OID) derFault(`an OBJECT IDENTIFIER exceeds ${MAX_OID} octets`);
    if (end === start || bytes[end - 1]! >= 0x80) derFault("an OBJECT IDENTIFIER is cut off");
    let first = true;
    for (let at = start; at < end; at++) {
      const octet = bytes[at]!;
      if (first && octet === 0x80) derFault("an OBJECT IDENTIFIER is not minimal");
      first = octet < 0x80;
    }
  }

  /** Passes an OBJECT IDENTIFIER; its third content octet, where it has three and begins with these two, else -1. */
  arcBelow(first: number, second: number): number {
    this.skipOid();
    const bytes = this.#bytes;
    const start = this.#contentStart;
    const below = this.#contentEnd === start + 3 && bytes[start] === first && bytes[start + 1] === second;
    return below ? bytes[start + 2]! : -1;
  }

  /** An OBJECT IDENTIFIER's content octets, minimal. */
  oidBytes(): Uint8Array {
    this.skipOid();
    return this.lastContent;
  }

  /** An OBJECT IDENTIFIER in dotted form. */
  oid(): string {
    return dottedOid(this.oidBytes());
  }

  /** A UTCTime or GeneralizedTime as RFC 5280 §4.1.2.5 has them (seconds, `Z`, no fraction), in ms since the epoch. */
  time(): number {
    const tag = this.next;
    if (tag !== TAG.utcTime && tag !== TAG.generalizedTime) derFault("a time is neither UTCTime nor GeneralizedTime");
    let at = this.#pass(tag);
    const bytes = this.#bytes;
    const utc = tag === TAG.utcTime;
    if (this.#contentEnd - at !== (utc ? 13 : 15) || bytes[this.#contentEnd - 1] !== 0x5a)
      derFault("a time is not of the form YYMMDDHHMMSSZ");
    const two = () => {
      const high = bytes[at++]! - 0x30;
      const low = bytes[at++]! - 0x30;
      if (high < 0 || high > 9 || low < 0 || low > 9) derFault("a time holds something else than digits");
      return high * 10 + low;
    };
    let year = two();
    if (utc) year += year < 50 ? 2000 : 1900;
    else year = year * 100 + two();
    const month = two();
    const day = two();
    const hour = two();
    const minute = two();
    const second = two();
    if (month < 1 || month > 12 || day < 1 || day > daysIn(year, month) || hour > 23 || minute > 59 || second > 59) {
      derFault("a time does not exist");
    }
    // Date.UTC takes years below 100 for 19xx
    return year >= 100
      ? Date.UTC(year, month - 1, day, hour, minute, second)
      : new Date(0).setUTCFullYear(year, month - 1, day) + ((hour * 60 + minute) * 60 + second) * 1000;
  }
}

function daysIn(year: number, month: number): number {
  if (month === 2) return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28;
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31;
}

/** The dotted form of an OBJECT IDENTIFIER's content octets, which a reader has checked. */
export function dottedOid(content: Uint8Array): string {
  let text = "";
  let arc = 0n;
  let small = 0;
  let octets = 0;
  for (let i = 0; i < content.length; i++) {
    const octet = content[i]!;
    octets++;
    if (octets <= 7) small = small * 128 + (octet & 0x7f);
    else arc = (octets === 8 ? BigInt(small) : arc) * 128n + BigInt(octet & 0x7f);
    if (octet >= 0x80) continue;
    if (text === "" && octets <= 7) text = small < 80 ? `${Math.floor(small / 40)}.${small % 40}` : `2.${small - 80}`;
    else if (text === "") text = `2.${arc - 80n}`;
    else text += octets <= 7 ? `.${small}` : `.${arc}`;
    small = octets = 0;
  }
  return text;
}

/** Splits concatenated DER SEQUENCEs, such as the certificates of a Workload API answer; nothing may be left over. */
export function splitDer(concatenated: Uint8Array, maxElements: number = LIMITS.bundleKeys): Verdict<Uint8Array[]> {
  if (!(concatenated instanceof Uint8Array)) return refuse("encoding.der", "Expected DER in a Uint8Array");
  if (concatenated.length > LIMITS.bundle) {
    return refuse("encoding.too-large", `Expected at most ${LIMITS.bundle} bytes of DER, got ${concatenated.length}`);
  }
  const elements: Uint8Array[] = [];
  const read = decodeDer(concatenated, (reader) => {
    while (!reader.atEnd) {
      const element = reader.element(TAG.sequence);
      if (elements.length <= maxElements) elements.push(element);
    }
  });
  if (!read.ok) return read;
  if (elements.length > maxElements)
    return refuse("encoding.too-large", `Expected at most ${maxElements} DER elements`);
  return accept(elements);
}
