/**
 * Signature encodings, checked before any backend sees them.
 *
 * Backends of the runtimes differ in what they let pass; here is one rule for all: ECDSA r and s from 1 to n − 1 in
 * minimal DER or in exactly two coordinates' octets, RSA exactly as long as the modulus and below it, Ed25519
 * 64 octets with S below the group order.
 */
import { decodeDer, TAG } from "../encoding/der.ts";
import { encodeDer, encodeDerUnsigned } from "../encoding/encode-der.ts";
import { type Hash, isHash, type SignatureAlgorithm } from "./algorithms.ts";
import { CURVES, type CurveParameters, modPow } from "./curves.ts";
import { ED25519_ORDER, isSmallOrder } from "./edwards.ts";
import { compareOctets, fromBigInt, octetsOf, toBigInt } from "./octets.ts";
import { numbersOf, type PublicKey } from "./public-key.ts";

const ED25519_ORDER_OCTETS = fromBigInt(ED25519_ORDER, 32);

/** What a check works on: octets that stand still, and an algorithm that was read once. */
export interface SignatureInput {
  readonly alg: SignatureAlgorithm;
  /** As {@link normalSignature} gives it. */
  readonly signature: Uint8Array<ArrayBuffer>;
  /** The signature as it came. */
  readonly given: Uint8Array<ArrayBuffer>;
  readonly data: Uint8Array<ArrayBuffer>;
}

/**
 * Reads what a backend was given, or `undefined` when no signature can verify: a hash that is none of the three, octets
 * that are no `Uint8Array`, a signature whose encoding breaks a rule. Every backend begins with it.
 */
export function readInput(
  alg: SignatureAlgorithm,
  key: PublicKey,
  signature: Uint8Array,
  data: Uint8Array,
): SignatureInput | undefined {
  const known = knownAlgorithm(alg);
  const [given, signed] = [octetsOf(signature), octetsOf(data)];
  if (known === undefined || given === undefined || signed === undefined) return undefined;
  const normal = normalSignature(known, key, given);
  return normal && { alg: known, signature: normal as Uint8Array<ArrayBuffer>, given, data: signed };
}

/** The algorithm with each member read once, or `undefined` for one that does not exist. */
function knownAlgorithm(alg: SignatureAlgorithm): SignatureAlgorithm | undefined {
  if (typeof alg !== "object" || alg === null) return undefined;
  const { family, hash, encoding } = alg as { family: string; hash?: Hash; encoding?: string };
  if (family === "ed25519") return { family };
  if (!isHash(hash)) return undefined;
  if (family === "rsa-pkcs1" || family === "rsa-pss") return { family, hash };
  if (family !== "ecdsa" || (encoding !== "der" && encoding !== "p1363")) return undefined;
  return { family, hash, encoding };
}

/**
 * The signature in the form that backends take, or `undefined` when its encoding breaks a rule or the key does not fit.
 *
 * @returns for ECDSA r and s in P1363 form, for others the octets as they came
 */
export function normalSignature(
  alg: SignatureAlgorithm,
  key: PublicKey,
  signature: Uint8Array,
): Uint8Array | undefined {
  if (!key.fits(alg)) return undefined;
  const numbers = numbersOf(key);
  switch (numbers.kind) {
    case "ec": {
      const curve = CURVES[numbers.curve];
      if (alg.family === "ecdsa" && alg.encoding === "der") return ecdsaDerToP1363(signature, curve);
      return inRange(signature, curve) ? signature : undefined;
    }
    case "rsa": {
      const { modulus, exponent, bits } = numbers;
      if (signature.length !== modulus.length || compareOctets(signature, modulus) >= 0) return undefined;
      const shorter = alg.family === "rsa-pss" && bits % 8 === 1;
      return shorter && !hasZeroOnTop(signature, modulus, exponent) ? undefined : signature;
    }
    case "ed25519": {
      if (signature.length !== 64 || isSmallOrder(signature.subarray(0, 32))) return undefined;
      const s = Uint8Array.from(signature.subarray(32)).reverse();
      return compareOctets(s, ED25519_ORDER_OCTETS) < 0 ? signature : undefined;
    }
  }
}

/**
 * Whether a signature's power is an octet shorter than the modulus, as a PSS encoding for a modulus of 8k + 1 bits is (RFC 8017
 * §8.1.2, step 2c). Deno's own does not look at that octet.
 */
function hasZeroOnTop(signature: Uint8Array, modulus: Uint8Array, exponent: Uint8Array): boolean {
  const power = modPow(toBigInt(signature), toBigInt(exponent), toBigInt(modulus));
  return power >> BigInt(8 * (modulus.length - 1)) === 0n;
}

/** Whether octets are r and s of one coordinate's length each, both from 1 to n − 1. */
function inRange(p1363: Uint8Array, { size, order }: CurveParameters): boolean {
  return p1363.length === 2 * size && isBelow(p1363, 0, order) && isBelow(p1363, size, order);
}

/** Whether the octets from a place on are a number from 1 to n − 1. */
function isBelow(octets: Uint8Array, start: number, order: Uint8Array): boolean {
  const size = order.length;
  let at = 0;
  while (at < size && octets[start + at] === order[at]) at++;
  if (at === size || octets[start + at]! > order[at]!) return false;
  for (at = 0; at < size; at++) if (octets[start + at] !== 0) return true;
  return false;
}

/** Converts Ecdsa-Sig-Value (RFC 3279 §2.2.3) in strict DER to P1363. */
export function ecdsaDerToP1363(der: Uint8Array, curve: CurveParameters): Uint8Array | undefined {
  const { size } = curve;
  const verdict = decodeDer(der, (reader) => {
    const sequence = reader.sequence();
    const [r, s] = [sequence.unsigned(), sequence.unsigned()];
    sequence.end();
    return { r, s };
  });
  if (!verdict.ok) return undefined;
  const { r, s } = verdict.value;
  if (r.length > size || s.length > size) return undefined;
  const p1363 = new Uint8Array(2 * size);
  p1363.set(r, size - r.length);
  p1363.set(s, 2 * size - s.length);
  return inRange(p1363, curve) ? p1363 : undefined;
}

/** Converts a P1363 signature that is in range to Ecdsa-Sig-Value. */
export function ecdsaP1363ToDer(p1363: Uint8Array): Uint8Array<ArrayBuffer> {
  const size = p1363.length / 2;
  return encodeDer(TAG.sequence, encodeDerUnsigned(p1363.subarray(0, size)), encodeDerUnsigned(p1363.subarray(size)));
}
