/**
 * Signature encodings, checked before any backend sees them.
 *
 * Backends of the runtimes differ in what they let pass; here is one rule for all: ECDSA r and s from 1 to n − 1 in
 * minimal DER or in exactly two coordinates' octets, RSA exactly as long as the modulus and below it, Ed25519
 * 64 octets with S below the group order.
 */
import { decodeDer, encodeDer, encodeDerUnsigned, TAG } from "../encoding/der.ts";
import type { SignatureAlgorithm } from "./algorithms.ts";
import { CURVES, type CurveParameters } from "./curves.ts";
import { ED25519_ORDER, isSmallOrder } from "./edwards.ts";
import { compareOctets, fromBigInt } from "./octets.ts";
import type { PublicKey } from "./public-key.ts";

const ED25519_ORDER_OCTETS = fromBigInt(ED25519_ORDER, 32);

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
  const { numbers } = key;
  switch (numbers.kind) {
    case "ec": {
      const curve = CURVES[numbers.curve];
      if (alg.family === "ecdsa" && alg.encoding === "der") return ecdsaDerToP1363(signature, curve);
      return inRange(signature, curve) ? signature : undefined;
    }
    case "rsa": {
      const { modulus } = numbers;
      return signature.length === modulus.length && compareOctets(signature, modulus) < 0 ? signature : undefined;
    }
    case "ed25519": {
      if (signature.length !== 64 || isSmallOrder(signature.subarray(0, 32))) return undefined;
      const s = Uint8Array.from(signature.subarray(32)).reverse();
      return compareOctets(s, ED25519_ORDER_OCTETS) < 0 ? signature : undefined;
    }
  }
}

/** Whether octets are r and s of one coordinate's length each, both from 1 to n − 1. */
function inRange(p1363: Uint8Array, curve: CurveParameters): boolean {
  const { size, order } = curve;
  if (p1363.length !== 2 * size) return false;
  for (const half of [p1363.subarray(0, size), p1363.subarray(size)]) {
    if (compareOctets(half, order) >= 0 || half.every((octet) => octet === 0)) return false;
  }
  return true;
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
