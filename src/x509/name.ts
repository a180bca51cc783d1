/** Distinguished names (RFC 5280 §4.1.2.4): kept as bytes, checked for shape, read only when somebody asks. */
import { binaryString, equalOctets, toHex } from "../crypto/octets.ts";
import { type DerReader, decodeDer, derFault, dottedOid, TAG } from "../encoding/der.ts";

/** One attribute of a relative distinguished name. */
export interface NameAttribute {
  /** Dotted object identifier. */
  readonly type: string;
  /** The value when it is a string type that has one reading (PrintableString, IA5String, valid UTF8String). */
  readonly text: string | undefined;
  /** The whole value in DER. */
  readonly der: Uint8Array;
}

const SHORT: Readonly<Record<string, string>> = {
  "2.5.4.3": "CN",
  "2.5.4.5": "serialNumber",
  "2.5.4.6": "C",
  "2.5.4.7": "L",
  "2.5.4.8": "ST",
  "2.5.4.10": "O",
  "2.5.4.11": "OU",
  "2.5.4.45": "x500UniqueIdentifier",
  "0.9.2342.19200300.100.1.25": "DC",
  "1.2.840.113549.1.9.1": "emailAddress",
};

/** A certificate's subject or issuer. Two names are the same exactly when their bytes are. */
export class DistinguishedName {
  readonly #der: Uint8Array;
  #key: string | undefined;
  #comparable: readonly (string | undefined)[] | undefined;

  /** Takes bytes that {@link readName} has checked, and that nobody else holds. */
  constructor(der: Uint8Array) {
    this.#der = der;
    Object.freeze(this);
  }

  /** The Name in DER: a copy, as the name itself never changes. */
  get der(): Uint8Array {
    return new Uint8Array(this.#der);
  }

  /** Whether the name has no attribute at all. */
  get isEmpty(): boolean {
    return this.#der.length === 2;
  }

  /** A map key: the bytes, one character each. */
  get key(): string {
    return (this.#key ??= binaryString(this.#der));
  }

  /** The relative distinguished names, each a set of attributes, in the order of the encoding. */
  get relativeNames(): readonly (readonly NameAttribute[])[] {
    const verdict = decodeDer(this.der, (reader) => {
      const names: NameAttribute[][] = [];
      const sequence = reader.sequence();
      while (!sequence.atEnd) names.push(readAttributes(sequence.enter(TAG.set)));
      return names;
    });
    return verdict.ok ? verdict.value : [];
  }

  /**
   * The relative names, each as a text that is equal for the same name by RFC 5280 §7.1: attributes sorted, letter case
   * and runs of space folded. `undefined` for one with a value that can not be read, or is above 256 characters.
   */
  get comparable(): readonly (string | undefined)[] {
    return (this.#comparable ??= Object.freeze(
      this.relativeNames.map((attributes) => {
        const texts = attributes.map(({ text }) => text);
        if (!texts.every(isComparable)) return undefined;
        // no comparable text has a line feed
        return attributes
          .map(({ type }, i) => `${type}=${foldText(texts[i]!)}`)
          .sort()
          .join("\n");
      }),
    ));
  }

  equals(other: DistinguishedName): boolean {
    return this === other || equalOctets(this.#der, other.#der);
  }

  /** The name for people, in the order of RFC 4514: `CN=web,O=Example,C=DE`. */
  toString(): string {
    return this.relativeNames
      .map((attributes) => attributes.map(show).join("+"))
      .reverse()
      .join(",");
  }

  toJSON(): string {
    return this.toString();
  }
}

/** What RFC 4518 §2.2 drops before it compares: a name with it can not be judged. */
const INVISIBLE = /[\p{Cc}\p{Default_Ignorable_Code_Point}\uFFFC]/u;
/** Characters of the longest text that is compared: putting accents in order takes time that grows with its square. */
const MAX_COMPARED = 256;

function isComparable(text: string | undefined): text is string {
  return text !== undefined && text.length <= MAX_COMPARED && !INVISIBLE.test(text);
}

function foldText(text: string): string {
  // the dotless i has no other case (RFC 3454 B.2), but upper case of its own in JavaScript
  const folded = text.normalize("NFKC").replace(/[^\u0131]+/g, (part) => part.toUpperCase().toLowerCase());
  return folded.trim().replace(/\s+/g, " ");
}

function show({ type, text, der }: NameAttribute): string {
  const value =
    text === undefined ? `#${toHex(der)}` : text.replace(/[\\",+<>;=#]|^ | $/g, "\\$&").replace(/\p{C}/gu, "�");
  return `${Object.hasOwn(SHORT, type) ? SHORT[type] : type}=${value}`;
}

/** Reads a Name; every relative distinguished name must have an attribute. */
export function readName(reader: DerReader): DistinguishedName {
  const sequence = reader.sequence();
  while (!sequence.atEnd) {
    const set = sequence.enter(TAG.set);
    if (set.atEnd) derFault("a relative distinguished name is empty");
    while (!set.atEnd) {
      const attribute = set.sequence();
      attribute.skipOid();
      attribute.skip();
      attribute.end();
    }
  }
  return new DistinguishedName(reader.last);
}

function readAttributes(set: DerReader): NameAttribute[] {
  const attributes: NameAttribute[] = [];
  while (!set.atEnd) {
    const attribute = set.sequence();
    const type = dottedOid(attribute.oidBytes());
    const tag = attribute.next;
    const der = attribute.element();
    attribute.end();
    attributes.push({ type, text: attributeText(tag, der), der });
  }
  return attributes;
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function attributeText(tag: number, der: Uint8Array): string | undefined {
  if (tag !== TAG.utf8String && tag !== TAG.printableString && tag !== TAG.ia5String) return undefined;
  const content = decodeDer(der, (reader) => reader.value(tag));
  if (!content.ok) return undefined;
  if (tag !== TAG.utf8String && content.value.some((octet) => octet >= 0x80)) return undefined;
  try {
    return utf8.decode(content.value);
  } catch {
    return undefined;
  }
}
