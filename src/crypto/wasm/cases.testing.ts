/** Seeded ECDSA cases whose verdict is known by the way they were made: plain ones, and those that break implementations. */
import { createECDH, createHash } from "node:crypto";
import process from "node:process";
import type { Curve, Hash } from "../algorithms.ts";
import { CURVES, type CurveParameters, mod, modInverse, modPow } from "../curves.ts";
import { twoMultiples } from "../ecdsa.ts";
import { fromBigInt, toBigInt } from "../octets.ts";
import { Seeded } from "./seeded.testing.ts";

export interface EcdsaCase {
  readonly kind: Kind;
  readonly curve: Curve;
  readonly hash: Hash;
  /** x and y. */
  readonly point: Uint8Array;
  /** Whether the key comes again, so that a table of it is worth while. */
  readonly stays: boolean;
  readonly signature: Uint8Array;
  /** What is signed; absent where only a hash is given. */
  readonly data?: Uint8Array;
  readonly digest: Uint8Array;
  readonly valid: boolean;
}

export const KINDS = [
  "valid",
  "valid-twin",
  "signature-bit",
  "data-bit",
  "other-key",
  "random-scalars",
  "edge-s",
  "small-key",
  "infinity",
  "doubling",
  "large-x",
  "extreme-hash",
  "out-of-range",
  "tiny-multiples",
  "collision",
] as const;
export type Kind = (typeof KINDS)[number];

const NODE_CURVE: Readonly<Record<Curve, string>> = {
  "P-256": "prime256v1",
  "P-384": "secp384r1",
  "P-521": "secp521r1",
};
const HASH_OF: Readonly<Record<Curve, Hash>> = { "P-256": "SHA-256", "P-384": "SHA-384", "P-521": "SHA-512" };
const HASHES: readonly Hash[] = ["SHA-256", "SHA-384", "SHA-512"];

interface Nonce {
  readonly k: bigint;
  readonly r: bigint;
}

interface Pool {
  readonly curve: CurveParameters;
  readonly keys: readonly { readonly d: bigint; readonly point: Uint8Array }[];
  readonly nonces: readonly Nonce[];
}

/** A stream of cases that depends on the seed alone. */
export class Cases {
  readonly #seeded: Seeded;
  readonly #pools = new Map<Curve, Pool>();

  constructor(seed: number) {
    this.#seeded = new Seeded(seed);
  }

  /** A case of a kind on a curve. */
  make(kind: Kind, name: Curve): EcdsaCase {
    const pool = this.#pool(name);
    const { curve } = pool;
    const { n, p, size } = curve;
    const hash = this.#below(5) === 0 ? this.#pick(HASHES) : HASH_OF[name];
    const data = this.#octets(this.#below(4) === 0 ? this.#pick([0, 55, 56, 63, 64, 111, 112, 128, 4096, 4097]) : 480);
    const digest = hashOf(hash, data);
    const e = hashNumber(curve, digest);
    const key = this.#pick(pool.keys);
    const nonce = this.#pick(pool.nonces);
    const { k, r } = nonce;
    const s = mod((e + r * key.d) * modInverse(k, n), n);
    const base = { kind, curve: name, hash, point: key.point, stays: true, data, digest, valid: true };
    const written = (one: bigint, other: bigint) => join(fromBigInt(one, size), fromBigInt(other, size));
    const scalar = () => 1n + mod(toBigInt(this.#octets(size + 8)), n - 1n);
    switch (kind) {
      case "valid":
        return { ...base, signature: written(r, s) };
      case "valid-twin":
        return { ...base, signature: written(r, n - s) };
      case "signature-bit":
        return { ...base, signature: this.#flipped(written(r, s)), valid: false };
      case "data-bit": {
        const spoilt = this.#flipped(data.length === 0 ? Uint8Array.of(0) : data);
        return { ...base, signature: written(r, s), data: spoilt, digest: hashOf(hash, spoilt), valid: false };
      }
      case "other-key": {
        const other = this.#pick(pool.keys.filter(({ d }) => d !== key.d && d !== n - key.d));
        return { ...base, point: other.point, signature: written(r, s), valid: false };
      }
      case "random-scalars":
        return { ...base, signature: written(scalar(), scalar()), valid: false };
      case "edge-s": {
        const edge = this.#pick([
          1n,
          2n,
          3n,
          n - 1n,
          n - 2n,
          n >> 1n,
          (n >> 1n) + 1n,
          1n << 128n,
          1n << 29n,
          1n << 30n,
        ]);
        const d = mod((edge * k - e) * modInverse(r, n), n);
        return { ...base, point: pointOf(name, d), stays: false, signature: written(r, edge) };
      }
      case "small-key": {
        const power = 1n << BigInt(this.#below(size * 8 - 8));
        const d = this.#pick([1n, n - 1n, 2n, n - 2n, 3n, n - 3n, 16n, 31n, 32n, 33n, power, n - power]);
        const made = mod((e + r * d) * modInverse(k, n), n);
        return { ...base, point: pointOf(name, d), stays: false, signature: written(r, made) };
      }
      case "infinity": {
        const d = mod(-e * modInverse(r, n), n);
        return { ...base, point: pointOf(name, d), stays: false, signature: written(r, scalar()), valid: false };
      }
      case "doubling": {
        const d = mod(e * modInverse(r, n), n);
        // both multiples are the same for any s; only one s has the r of their sum
        const valid = this.#below(2) === 0;
        const made = valid ? mod(2n * e * modInverse(k, n), n) : scalar();
        return { ...base, point: pointOf(name, d), stays: false, signature: written(r, made), valid };
      }
      case "large-x": {
        const { x, y } = this.#pointAbove(curve);
        const small = x - n;
        const made = scalar();
        const inverse = modInverse(small, n);
        const u = mod(-e * inverse, n);
        const point = affine(curve, twoMultiples(curve, u, mod(made * inverse, n), [x, y, 1n]));
        return { ...base, point, stays: false, signature: written(small, made) };
      }
      case "extreme-hash": {
        const bits = 1n << BigInt(8 * Math.min(size, 64));
        const edge = this.#pick([0n, 1n, bits - 1n, bits >> 1n, n % bits, (n - 1n) % bits, (n + 1n) % bits, p % bits]);
        const given = fromBigInt(edge, Math.min(size, 64));
        const made = mod((hashNumber(curve, given) + r * key.d) * modInverse(k, n), n);
        const { data: _, ...rest } = base;
        return { ...rest, digest: given, signature: written(r, made) };
      }
      case "out-of-range":
        return this.#outOfRange(base, pool, e, written);
      case "tiny-multiples":
        return this.#meeting(kind, pool, false) ?? this.make("doubling", name);
      case "collision":
        return this.#meeting(kind, pool, true) ?? this.make("doubling", name);
    }
  }

  /**
   * Chosen u1 and u2 with keys that make their multiples meet: the sum is a doubling or infinity, at the end or, with
   * `collide`, in a round of sums that assumes neither. The hash follows, so P-521, whose hashes are shorter, has none.
   */
  #meeting(kind: Kind, { curve }: Pool, collide: boolean): EcdsaCase | undefined {
    const { n, size, name } = curve;
    if (name === "P-521") return undefined;
    const invert = this.#below(2) === 0;
    let [u1, u2, d] = [1n + BigInt(this.#below(40)), 1n + BigInt(this.#below(40)), 1n];
    if (collide) {
      // the generator's last entry and one of the key's that the first round adds to it: its neighbour, or on P-256, where two
      // neighbours lie in the lanes of a twin, the next but one
      const [w, v, apart] = name === "P-256" ? [8, 7, 2] : [6, 5, 1];
      let [digits, others]: [number[], number[]] = [[], []];
      const filled = (list: readonly number[]) => [...list.keys()].filter((at) => list[at] !== 0);
      do {
        [u1, u2] = [1n, 2n].map(() => 1n + mod(toBigInt(this.#octets(size + 8)), n - 1n)) as [bigint, bigint];
        [digits, others] = [windowDigits(u1, w, size * 8), windowDigits(u2, v, size * 8)];
      } while ((filled(digits).length - 1) % (2 * apart) >= apart);
      const [last, first] = [filled(digits).at(-1)!, filled(others)[apart - 1]!];
      const entry = (list: readonly number[], at: number, bits: number) => BigInt(list[at]!) << BigInt(bits * at);
      d = mod(entry(digits, last, w) * modInverse(mod(entry(others, first, v), n), n), n);
    }
    if (invert) d = n - d;
    // twice the same point, or two that are opposite
    if (!collide && this.#below(2) === 0) u2 = u1;
    const k = mod(u1 + u2 * d, n);
    // infinity has no x: any r, as for a lie, and the s and e that lead there
    const lie = k === 0n || this.#below(3) === 0;
    const xOf = (of: bigint) => mod(toBigInt(pointOf(name, of).subarray(0, size)), n);
    // the r of one of two opposite points passes where their sum is taken for that point
    const near = k === 0n && this.#below(4) > 0;
    const r = near ? xOf(u1) : lie ? 5n + BigInt(this.#below(1 << 30)) : xOf(k);
    const s = mod(r * modInverse(u2, n), n);
    const digest = fromBigInt(mod(u1 * s, n), size);
    const signature = join(fromBigInt(r, size), fromBigInt(s, size));
    const hash = HASH_OF[name];
    return { kind, curve: name, hash, point: pointOf(name, d), stays: false, signature, digest, valid: !lie };
  }

  /** Numbers that are right modulo n but not from 1 to n − 1. */
  #outOfRange(
    base: Omit<EcdsaCase, "signature">,
    { curve, nonces }: Pool,
    e: bigint,
    written: (r: bigint, s: bigint) => Uint8Array,
  ): EcdsaCase {
    const { n, name } = curve;
    const { k, r } = this.#pick(nonces);
    const refused = { ...base, stays: false, valid: false };
    const room = (1n << BigInt(8 * curve.size)) - n;
    switch (this.#below(4)) {
      case 0: {
        // s + n for an s that is small
        const s = 1n + BigInt(this.#below(1 << 20));
        const d = mod((s * k - e) * modInverse(r, n), n);
        return { ...refused, point: pointOf(name, d), signature: written(r, s + n) };
      }
      case 1: {
        // r + n where it is the very x of the point
        const { x, y } = this.#pointAbove(curve);
        const inverse = modInverse(x - n, n);
        const s = 1n + BigInt(this.#below(1 << 20));
        const point = affine(curve, twoMultiples(curve, mod(-e * inverse, n), mod(s * inverse, n), [x, y, 1n]));
        return { ...refused, point, signature: written(x, s) };
      }
      case 2:
        return { ...refused, signature: written(this.#pick([0n, n, n + 1n, n + room - 1n]), 1n) };
      default:
        return { ...refused, signature: written(r, this.#pick([0n, n, n + 1n, n + room - 1n])) };
    }
  }

  /** A point whose x is from n to p − 1. */
  #pointAbove({ p, b, n }: CurveParameters): { x: bigint; y: bigint } {
    for (;;) {
      const x = n + 1n + BigInt(this.#below(1 << 30));
      const square = mod(x * x * x - 3n * x + b, p);
      const y = modPow(square, (p + 1n) / 4n, p);
      if ((y * y) % p === square) return { x, y };
    }
  }

  #pool(name: Curve): Pool {
    let pool = this.#pools.get(name);
    if (pool === undefined) {
      const curve = CURVES[name];
      const { n } = curve;
      const random = () => 1n + mod(toBigInt(this.#octets(curve.size + 8)), n - 1n);
      const keys = Array.from({ length: 8 }, random).map((d) => ({ d, point: pointOf(name, d) }));
      const special = [1n, 2n, 3n, n - 1n, n - 2n, 1n << 64n, (1n << 64n) - 1n];
      const nonces = [...special, ...Array.from({ length: 40 }, random)].map((k) => {
        return { k, r: mod(toBigInt(pointOf(name, k).subarray(0, curve.size)), n) };
      });
      this.#pools.set(name, (pool = { curve, keys, nonces }));
    }
    return pool;
  }

  #flipped(octets: Uint8Array): Uint8Array {
    const spoilt = Uint8Array.from(octets);
    // not the top octet, where P-521 has bits that say nothing
    const at = spoilt.length < 3 ? 0 : 1 + this.#below(spoilt.length - 1);
    spoilt[at]! ^= 1 << this.#below(8);
    return spoilt;
  }

  #pick<T>(list: readonly T[]): T {
    return this.#seeded.pick(list);
  }

  #octets(length: number): Uint8Array {
    return this.#seeded.octets(length);
  }

  #below(bound: number): number {
    return this.#seeded.below(bound);
  }
}

/** Signed digits of w bits, as the module takes numbers apart. */
function windowDigits(value: bigint, w: number, bits: number): number[] {
  const digits: number[] = [];
  let carry = 0;
  for (let at = 0; at <= bits; at += w) {
    let digit = Number((value >> BigInt(at)) & ((1n << BigInt(w)) - 1n)) + carry;
    carry = digit > 1 << (w - 1) ? 1 : 0;
    digit -= carry << w;
    digits.push(digit);
  }
  return digits;
}

function hashOf(hash: Hash, data: Uint8Array): Uint8Array {
  return new Uint8Array(createHash(hash.replace("SHA-", "sha")).update(data).digest());
}

function hashNumber({ size }: CurveParameters, digest: Uint8Array): bigint {
  return toBigInt(digest.subarray(0, size));
}

/** d · G by the runtime's own key agreement; by BigInt where that lacks the curve, as Deno's lacks P-521. */
function pointOf(name: Curve, d: bigint): Uint8Array {
  const curve = CURVES[name];
  if (name === "P-521" && process.versions.deno !== undefined) {
    return affine(curve, twoMultiples(curve, d, 0n, [curve.gx, curve.gy, 1n]));
  }
  const party = createECDH(NODE_CURVE[name]);
  party.setPrivateKey(fromBigInt(d, curve.size));
  return new Uint8Array(party.getPublicKey()).subarray(1);
}

function affine({ p, size }: CurveParameters, [x, y, z]: readonly [bigint, bigint, bigint]): Uint8Array {
  const inverse = modInverse(z, p);
  const square = (inverse * inverse) % p;
  return join(fromBigInt((x * square) % p, size), fromBigInt((y * ((square * inverse) % p)) % p, size));
}

function join(a: Uint8Array, b: Uint8Array): Uint8Array {
  const joined = new Uint8Array(a.length + b.length);
  joined.set(a);
  joined.set(b, a.length);
  return joined;
}
