/** The few ASN.1 shapes a certificate is written with, on asn1js. Values are DER bytes, so that raw DER can stand anywhere. */
import * as asn1js from "asn1js";

const utf8 = new TextEncoder();

function der(block: asn1js.BaseBlock): Uint8Array {
  return new Uint8Array(block.toBER());
}

/** A constructed value around finished DER, which asn1js would otherwise take apart and write anew. */
function constructed(tagClass: number, tagNumber: number, items: readonly Uint8Array[]): Uint8Array {
  const block = new asn1js.Primitive({ idBlock: { tagClass, tagNumber }, valueHex: concat(items) });
  block.idBlock.isConstructed = true;
  return der(block);
}

export function sequence(...items: Uint8Array[]): Uint8Array {
  return constructed(1, 16, items);
}

export function set(...items: Uint8Array[]): Uint8Array {
  return constructed(1, 17, items);
}

export function oid(value: string): Uint8Array {
  return der(new asn1js.ObjectIdentifier({ value }));
}

export function integer(value: number): Uint8Array {
  return der(new asn1js.Integer({ value }));
}

/** An INTEGER from its content octets, written as they are. */
export function integerBytes(value: Uint8Array): Uint8Array {
  return der(new asn1js.Primitive({ idBlock: { tagClass: 1, tagNumber: 2 }, valueHex: value }));
}

export function boolean(value: boolean): Uint8Array {
  return der(new asn1js.Boolean({ value }));
}

export function nullValue(): Uint8Array {
  return der(new asn1js.Null());
}

export function octetString(value: Uint8Array): Uint8Array {
  return der(new asn1js.OctetString({ valueHex: value }));
}

export function bitString(value: Uint8Array, unusedBits = 0): Uint8Array {
  return der(new asn1js.BitString({ valueHex: value, unusedBits }));
}

export function utf8String(value: string): Uint8Array {
  return der(new asn1js.Utf8String({ value }));
}

export function printableString(value: string): Uint8Array {
  return der(new asn1js.PrintableString({ value }));
}

/** UTCTime until 2049, GeneralizedTime from 2050 on (RFC 5280 §4.1.2.5). */
export function time(value: Date): Uint8Array {
  const year = value.getUTCFullYear();
  if (year >= 1950 && year < 2050) return der(new asn1js.UTCTime({ valueDate: value }));
  return der(new asn1js.GeneralizedTime({ valueDate: value }));
}

/** A context-specific primitive: `[tag] IMPLICIT`. */
export function implicit(tag: number, content: Uint8Array | string): Uint8Array {
  const valueHex = typeof content === "string" ? utf8.encode(content) : content;
  return der(new asn1js.Primitive({ idBlock: { tagClass: 3, tagNumber: tag }, valueHex }));
}

/** A context-specific constructed value: `[tag] EXPLICIT`, or an implicit SEQUENCE. */
export function explicit(tag: number, ...items: Uint8Array[]): Uint8Array {
  return constructed(3, tag, items);
}

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}
