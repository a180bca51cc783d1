/** The three NIST curves (SP 800-186 §3.2.1) and the arithmetic that checks a point; public data only. */
import type { Curve } from "./algorithms.ts";
import { fromBigInt } from "./octets.ts";

/** A curve y² = x³ − 3x + b over the integers modulo p, of prime order n with generator (gx, gy). */
export interface CurveParameters {
  readonly name: Curve;
  /** Octets of a coordinate, and of r and s in a P1363 signature. */
  readonly size: number;
  readonly p: bigint;
  readonly b: bigint;
  readonly n: bigint;
  /** n as octets of a coordinate's length. */
  readonly order: Uint8Array;
  readonly gx: bigint;
  readonly gy: bigint;
}

function curve(name: Curve, size: number, p: bigint, b: bigint, n: bigint, gx: bigint, gy: bigint): CurveParameters {
  return { name, size, p, b, n, order: fromBigInt(n, size), gx, gy };
}

export const CURVES: Readonly<Record<Curve, CurveParameters>> = {
  "P-256": curve(
    "P-256",
    32,
    2n ** 256n - 2n ** 224n + 2n ** 192n + 2n ** 96n - 1n,
    0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn,
    0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
    0x6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296n,
    0x4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5n,
  ),
  "P-384": curve(
    "P-384",
    48,
    2n ** 384n - 2n ** 128n - 2n ** 96n + 2n ** 32n - 1n,
    0xb3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aefn,
    0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n,
    0xaa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab7n,
    0x3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5fn,
  ),
  "P-521": curve(
    "P-521",
    66,
    2n ** 521n - 1n,
    0x51953eb9618e1c9a1f929a21a0b68540eea2da725b99b315f3b8b489918ef109e156193951ec7e937b1652c0bd3bb1bf073573df883d2c34f1ef451fd46b503f00n,
    0x1fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409n,
    0xc6858e06b70404e9cd9e3ecb662395b4429c648139053fb521f828af606b4d3dbaa14b5e77efe75928fe1dc127a2ffa8de3348b3c1856a429bf97e7e31c2e5bd66n,
    0x11839296a789a3bc0045c8a5fb42c7d1bd998f54449579b446817afbd17273e662c97ee72995ef42640c550b9013fad0761353c7086a272c24088be94769fd16650n,
  ),
};

/** Whether coordinates are in range and satisfy the curve's equation (SP 800-56A §5.6.2.3.4). */
export function isOnCurve(curve: CurveParameters, x: bigint, y: bigint): boolean {
  const { p, b } = curve;
  return x < p && y < p && (y * y - (x * x - 3n) * x - b) % p === 0n;
}

/** The remainder of a division as a number from 0 to m − 1. */
export function mod(a: bigint, m: bigint): bigint {
  const r = a % m;
  return r < 0n ? r + m : r;
}

/** Whether a, no multiple of the odd prime m, is a square modulo m: its Jacobi symbol is 1. */
export function isSquare(a: bigint, m: bigint): boolean {
  let [top, bottom] = [mod(a, m), m];
  let square = true;
  while (top !== 0n) {
    for (; (top & 1n) === 0n; top >>= 1n) {
      // 2 is a square exactly modulo ±1 (mod 8)
      if ((bottom & 7n) === 3n || (bottom & 7n) === 5n) square = !square;
    }
    // quadratic reciprocity
    if ((top & 3n) === 3n && (bottom & 3n) === 3n) square = !square;
    [top, bottom] = [bottom % top, top];
  }
  return square;
}

/** The inverse of a modulo a prime m, by the extended Euclidean algorithm; a is not a multiple of m. */
export function modInverse(a: bigint, m: bigint): bigint {
  let [r0, r1] = [m, mod(a, m)];
  let [t0, t1] = [0n, 1n];
  while (r1 !== 0n) {
    const q = r0 / r1;
    [r0, r1] = [r1, r0 - q * r1];
    [t0, t1] = [t1, t0 - q * t1];
  }
  return mod(t0, m);
}

/** base^exponent modulo m, for an exponent from 0. */
export function modPow(base: bigint, exponent: bigint, m: bigint): bigint {
  let result = 1n;
  let power = mod(base, m);
  for (let e = exponent; e > 0n; e >>= 1n) {
    if (e & 1n) result = (result * power) % m;
    power = (power * power) % m;
  }
  return result;
}
