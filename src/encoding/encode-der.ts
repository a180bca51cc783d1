/** The few encoders of DER that key conversion needs. */
import { TAG } from "./der.ts";

const ZERO = new Uint8Array(1);

/** Concatenates DER elements; `splitDer` takes them apart. */
export function joinDer(elements: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const joined = new Uint8Array(elements.reduce((length, element) => length + element.length, 0));
  let at = 0;
  for (const element of elements) {
    joined.set(element, at);
    at += element.length;
  }
  return joined;
}

/** Encodes one element from its identifier octet and the parts of its content. */
export function encodeDer(tag: number, ...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  let length = 0;
  for (const part of parts) length += part.length;
  const sizeOctets = length < 0x80 ? 0 : length < 0x100 ? 1 : length < 0x1_0000 ? 2 : length < 0x100_0000 ? 3 : 4;
  const element = new Uint8Array(2 + sizeOctets + length);
  element[0] = tag;
  element[1] = sizeOctets === 0 ? length : 0x80 | sizeOctets;
  for (let i = 0; i < sizeOctets; i++) element[2 + i] = Math.floor(length / 256 ** (sizeOctets - 1 - i)) % 256;
  let at = 2 + sizeOctets;
  for (const part of parts) {
    element.set(part, at);
    at += part.length;
  }
  return element;
}

/** Encodes a non-negative INTEGER from its big-endian octets; leading zeros are dropped. */
export function encodeDerUnsigned(octets: Uint8Array): Uint8Array<ArrayBuffer> {
  let start = 0;
  while (start < octets.length - 1 && octets[start] === 0) start++;
  const content = octets.subarray(start);
  if (content.length === 0 || content[0]! >= 0x80) return encodeDer(TAG.integer, ZERO, content);
  return encodeDer(TAG.integer, content);
}
