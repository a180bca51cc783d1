/** ECDSA verification (FIPS 186-5 §6.4.2) by BigInt, for the one case that a runtime's own crypto lacks. */
import { CURVES, type CurveParameters, mod, modInverse } from "./curves.ts";
import { toBigInt } from "./octets.ts";
import { numbersOf, type PublicKey } from "./public-key.ts";

/** A point (X/Z², Y/Z³); Z = 0 is the point at infinity. */
export type Point = readonly [x: bigint, y: bigint, z: bigint];

const INFINITY: Point = [1n, 1n, 0n];

function double([x, y, z]: Point, p: bigint): Point {
  if (z === 0n || y === 0n) return INFINITY;
  const delta = (z * z) % p;
  const gamma = (y * y) % p;
  const beta = (x * gamma) % p;
  const alpha = (3n * (x - delta) * (x + delta)) % p;
  const x3 = mod(alpha * alpha - 8n * beta, p);
  const y3 = mod(alpha * (4n * beta - x3) - 8n * gamma * gamma, p);
  return [x3, y3, mod(2n * y * z, p)];
}

function add(a: Point, b: Point, p: bigint): Point {
  const [x1, y1, z1] = a;
  const [x2, y2, z2] = b;
  if (z1 === 0n) return b;
  if (z2 === 0n) return a;
  const z1z1 = (z1 * z1) % p;
  const z2z2 = (z2 * z2) % p;
  const u1 = (x1 * z2z2) % p;
  const s1 = (((y1 * z2) % p) * z2z2) % p;
  const h = mod(x2 * z1z1 - u1, p);
  const r = mod(((y2 * z1) % p) * z1z1 - s1, p);
  if (h === 0n) return r === 0n ? double(a, p) : INFINITY;
  const hh = (h * h) % p;
  const hhh = (h * hh) % p;
  const v = (u1 * hh) % p;
  const x3 = mod(r * r - hhh - 2n * v, p);
  return [x3, mod(r * (v - x3) - s1 * hhh, p), (((h * z1) % p) * z2) % p];
}

/** u·G + v·Q with one pass over the bits of both. */
export function twoMultiples(curve: CurveParameters, u: bigint, v: bigint, q: Point): Point {
  const { p } = curve;
  const g: Point = [curve.gx, curve.gy, 1n];
  const both = add(g, q, p);
  let sum = INFINITY;
  for (let bit = BigInt(curve.size * 8); bit >= 0n; bit--) {
    sum = double(sum, p);
    const pick = ((u >> bit) & 1n) | (((v >> bit) & 1n) << 1n);
    if (pick !== 0n) sum = add(sum, pick === 1n ? g : pick === 2n ? q : both, p);
  }
  return sum;
}

/**
 * Checks an ECDSA signature whose r and s are in range.
 *
 * @param key an `ec` key
 * @param digest the hash of the data
 * @param p1363 r and s, each of a coordinate's length
 */
export function verifyEcdsa(key: PublicKey, digest: Uint8Array, p1363: Uint8Array): boolean {
  const numbers = numbersOf(key);
  if (numbers.kind !== "ec") return false;
  const curve = CURVES[numbers.curve];
  const { n, p, size } = curve;
  const r = toBigInt(p1363.subarray(0, size));
  const s = toBigInt(p1363.subarray(size));
  if (r === 0n || r >= n || s === 0n || s >= n) return false;
  const orderBits = n.toString(2).length;
  const excess = Math.max(0, digest.length * 8 - orderBits);
  const e = toBigInt(digest) >> BigInt(excess);
  const w = modInverse(s, n);
  const [x, , z] = twoMultiples(curve, mod(e * w, n), mod(r * w, n), [toBigInt(numbers.x), toBigInt(numbers.y), 1n]);
  return z !== 0n && mod(x * modInverse((z * z) % p, p), p) % n === r;
}
