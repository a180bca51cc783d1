/** Seeded RSA cases whose verdict is known by the way they were made: plain ones, and encodings that are nearly right. */
import { createHash } from "node:crypto";
import { HASH_LENGTH, type Hash } from "../algorithms.ts";
import { mod, modInverse, modPow } from "../curves.ts";
import { fromBigInt, fromHex, toBigInt } from "../octets.ts";
import { Seeded } from "./seeded.testing.ts";

export interface RsaCase {
  readonly kind: RsaKind;
  readonly scheme: "rsa-pkcs1" | "rsa-pss";
  readonly hash: Hash;
  readonly modulus: Uint8Array;
  readonly exponent: number;
  readonly signature: Uint8Array;
  readonly data: Uint8Array;
  readonly valid: boolean;
}

export const RSA_KINDS = [
  "rsa-valid",
  "rsa-signature-bit",
  "rsa-data-bit",
  "rsa-other-key",
  "rsa-other-scheme",
  "rsa-edge-number",
  "rsa-plus-n",
  "pkcs1-padding",
  "pkcs1-info",
  "pkcs1-trailing",
  "pss-top-bit",
  "pss-trailer",
  "pss-padding",
  "pss-salt-length",
  "pss-mask",
] as const;
export type RsaKind = (typeof RSA_KINDS)[number];

const HASHES: readonly Hash[] = ["SHA-256", "SHA-384", "SHA-512"];
const EXPONENTS = [65_537, 65_537, 17, 5, 4_294_967_291];
/** Sizes that are used, and those beside a whole number of octets. */
const SIZES = [2_048, 2_048, 2_048, 2_049, 2_055, 3_072, 4_089, 4_096];

interface Key {
  readonly n: bigint;
  readonly bits: number;
  readonly octets: number;
  readonly modulus: Uint8Array;
  readonly exponent: number;
  /** With the power that takes a root modulo it, and what makes a number that is 1 modulo it and 0 modulo the others. */
  readonly primes: readonly { readonly p: bigint; readonly d: bigint; readonly unit: bigint }[];
}

/** A stream of cases that depends on the seed alone. */
export class RsaCases {
  readonly #seeded: Seeded;
  readonly #keys: readonly Key[];

  constructor(seed: number) {
    this.#seeded = new Seeded(seed);
    this.#keys = SIZES.map((bits) => this.#makeKey(bits));
  }

  make(kind: RsaKind): RsaCase {
    const seeded = this.#seeded;
    const key = seeded.pick(this.#keys);
    const hash = seeded.pick(HASHES);
    const named = kind.startsWith("pkcs1") ? "rsa-pkcs1" : kind.startsWith("pss") ? "rsa-pss" : undefined;
    const scheme = named ?? seeded.pick(["rsa-pkcs1", "rsa-pss"] as const);
    const data = seeded.octets(seeded.below(4) === 0 ? seeded.pick([0, 55, 56, 64, 111, 112, 4_097]) : 300);
    const { n, modulus, exponent, octets } = key;
    const base = { kind, scheme, hash, modulus, exponent, data, valid: false };
    const signed = (encoded: bigint) => fromBigInt(this.#root(key, encoded), octets);
    const right = this.#encoded(key, scheme, hash, data);
    switch (kind) {
      case "rsa-valid":
        return { ...base, signature: signed(right), valid: true };
      case "rsa-signature-bit":
        return { ...base, signature: this.#flipped(signed(right)) };
      case "rsa-data-bit":
        return { ...base, signature: signed(right), data: data.length === 0 ? Uint8Array.of(0) : this.#flipped(data) };
      case "rsa-other-key": {
        const other = seeded.pick(this.#keys.filter((one) => one !== key));
        const made = fromBigInt(this.#root(other, this.#encoded(other, scheme, hash, data)), 512);
        return { ...base, signature: made.subarray(512 - octets) };
      }
      case "rsa-other-scheme": {
        const other = scheme === "rsa-pss" ? "rsa-pkcs1" : "rsa-pss";
        return { ...base, signature: signed(this.#encoded(key, other, hash, data)) };
      }
      case "rsa-edge-number": {
        const edge = seeded.pick([0n, 1n, 2n, n - 1n, n - 2n, n >> 1n, (n >> 1n) + 1n, mod(seeded.bits(key.bits), n)]);
        return { ...base, signature: fromBigInt(edge, octets) };
      }
      case "rsa-plus-n": {
        // right modulo n; where it has no room for n more, n itself and what is just above
        const more = this.#root(key, right) + n;
        const fits = more >> BigInt(8 * octets) === 0n;
        return { ...base, signature: fromBigInt(fits ? more : n + BigInt(seeded.below(2)), octets) };
      }
      case "pkcs1-padding": {
        const encoded = fromBigInt(right, octets);
        const end = octets - HASH_LENGTH[hash] - 20;
        const at = seeded.pick([0, 1, 2, 3, end - 1, end, 2 + seeded.below(end - 2)]);
        encoded[at]! ^= at === 0 ? 1 : 1 << seeded.below(8);
        return { ...base, signature: signed(mod(toBigInt(encoded), n)) };
      }
      case "pkcs1-info": {
        const digest = hashOf(hash, data);
        const info = this.#wrongInfo(hash, digest);
        return { ...base, signature: signed(toBigInt(padded(octets, info))) };
      }
      case "pkcs1-trailing": {
        // right up to the hash, with what is left of the length behind it
        const info = join(infoOf(hash), hashOf(hash, data));
        const rest = seeded.octets(1 + seeded.below(octets - info.length - 11));
        const front = padded(octets - rest.length, info);
        return { ...base, signature: signed(toBigInt(join(front, rest))) };
      }
      case "pss-top-bit": {
        // a bit that the encoding has not, or in the octet in front of it
        const bit = 1n << BigInt(key.bits - 1);
        const made = right | bit;
        return { ...base, signature: signed(made < n ? made : right ^ (bit >> BigInt(1 + seeded.below(7)))) };
      }
      case "pss-trailer":
        return { ...base, signature: signed(right ^ BigInt(1 + seeded.below(255))) };
      case "pss-padding":
        return { ...base, signature: signed(this.#encoded(key, scheme, hash, data, { padding: true })) };
      case "pss-salt-length": {
        const length = HASH_LENGTH[hash];
        const salt = seeded.pick([0, 1, length - 1, length + 1, 20, octets - length - 3]);
        return { ...base, signature: signed(this.#encoded(key, scheme, hash, data, { salt })) };
      }
      case "pss-mask": {
        const mask = seeded.pick(HASHES.filter((one) => one !== hash));
        return { ...base, signature: signed(this.#encoded(key, scheme, hash, data, { mask })) };
      }
    }
  }

  /** The number that the signature's power has to be, with at most one thing wrong. */
  #encoded(
    { bits, octets }: Key,
    scheme: RsaCase["scheme"],
    hash: Hash,
    data: Uint8Array,
    wrong: { padding?: true; salt?: number; mask?: Hash } = {},
  ): bigint {
    const digest = hashOf(hash, data);
    if (scheme === "rsa-pkcs1") return toBigInt(padded(octets, join(infoOf(hash), digest)));
    const salt = this.#seeded.octets(wrong.salt ?? digest.length);
    const seed = hashOf(hash, join(new Uint8Array(8), digest, salt));
    const length = Math.ceil((bits - 1) / 8) - digest.length - 1;
    const block = new Uint8Array(length);
    block[length - salt.length - 1] = 1;
    block.set(salt, length - salt.length);
    if (wrong.padding === true) {
      const front = length - salt.length;
      block[this.#seeded.pick([1, front - 2, front - 1, this.#seeded.below(front)])]! ^= 1 << this.#seeded.below(8);
    }
    const mask = maskOf(wrong.mask ?? hash, seed, length);
    for (let i = 0; i < length; i++) block[i]! ^= mask[i]!;
    const encoded = toBigInt(join(block, seed, Uint8Array.of(0xbc)));
    return encoded & ((1n << BigInt(bits - 1)) - 1n);
  }

  /** A DigestInfo that some readers take: without its NULL, of another hash, with a long length, or with a bit changed. */
  #wrongInfo(hash: Hash, digest: Uint8Array): Uint8Array {
    const size = digest.length;
    const name = infoOf(hash).subarray(4, 15);
    switch (this.#seeded.below(5)) {
      case 0:
        return join(Uint8Array.of(0x30, size + 15, 0x30, 0x0b), name, Uint8Array.of(4, size), digest);
      case 1: {
        const info = join(infoOf(hash), digest);
        info[14] = this.#seeded.pick([1, 2, 3, 4, 5, 6].filter((one) => one !== info[14]));
        return info;
      }
      case 2:
        return join(Uint8Array.of(0x30, 0x81, size + 17), infoOf(hash).subarray(2), digest);
      case 3:
        return digest;
      default: {
        const info = join(infoOf(hash), digest);
        info[this.#seeded.below(info.length - size)]! ^= 1 << this.#seeded.below(8);
        return info;
      }
    }
  }

  /** The number whose power is `encoded`. */
  #root({ primes, n }: Key, encoded: bigint): bigint {
    return mod(
      primes.reduce((sum, { p, d, unit }) => sum + modPow(encoded % p, d, p) * unit, 0n),
      n,
    );
  }

  /** A modulus of exactly so many bits out of primes of about 128, so that keys and roots take little time. */
  #makeKey(bits: number): Key {
    const exponent = this.#seeded.pick(EXPONENTS);
    const e = BigInt(exponent);
    const primes: bigint[] = [];
    const wanted = (1n << BigInt(bits - 1)) | this.#seeded.bits(bits - 1);
    let n = 1n;
    for (let left = wanted; left >> 192n !== 0n; left = wanted / n) {
      const p = nextPrime((1n << 127n) | this.#seeded.bits(127), e);
      primes.push(p);
      n *= p;
    }
    primes.push(nextPrime(wanted / n, e));
    n *= primes.at(-1)!;
    // the last prime's distance may have taken the product over a power of two
    if (n.toString(2).length !== bits || new Set(primes).size !== primes.length) return this.#makeKey(bits);
    const octets = Math.ceil(bits / 8);
    return {
      ...{ n, bits, octets, exponent, modulus: fromBigInt(n, octets) },
      primes: primes.map((p) => ({ p, d: modInverse(e, p - 1n), unit: (n / p) * modInverse(mod(n / p, p), p) })),
    };
  }

  #flipped(octets: Uint8Array): Uint8Array {
    const spoilt = Uint8Array.from(octets);
    spoilt[this.#seeded.below(spoilt.length)]! ^= 1 << this.#seeded.below(8);
    return spoilt;
  }
}

/** The first prime from a number on that an exponent may have (Miller and Rabin, with bases that suffice in practice). */
function nextPrime(from: bigint, e: bigint): bigint {
  for (let p = from | 1n; ; p += 2n) {
    if ([3n, 5n, 7n, 11n, 13n, 17n, 19n, 23n].some((small) => p % small === 0n) || (p - 1n) % e === 0n) continue;
    if ([2n, 3n, 5n, 7n].every((base) => isProbable(p, base)) && (p - 1n) % e !== 0n) return p;
  }
}

function isProbable(p: bigint, base: bigint): boolean {
  let odd = p - 1n;
  let halvings = 0;
  for (; (odd & 1n) === 0n; odd >>= 1n) halvings++;
  let power = modPow(base, odd, p);
  if (power === 1n || power === p - 1n) return true;
  for (let i = 1; i < halvings; i++) {
    power = (power * power) % p;
    if (power === p - 1n) return true;
  }
  return false;
}

function hashOf(hash: Hash, data: Uint8Array): Uint8Array {
  return new Uint8Array(createHash(hash.replace("SHA-", "sha")).update(data).digest());
}

/** DigestInfo up to the hash (RFC 8017 §9.2, note 1). */
function infoOf(hash: Hash): Uint8Array {
  const size = HASH_LENGTH[hash];
  const info = fromHex("3031300d060960864801650304020105000420");
  info[1] = size + 17;
  info[14] = HASHES.indexOf(hash) + 1;
  info[18] = size;
  return info;
}

/** 00 01 FF … FF 00 and the rest. */
function padded(octets: number, info: Uint8Array): Uint8Array {
  const encoded = new Uint8Array(octets).fill(0xff);
  encoded.set([0, 1]);
  encoded.set([0, ...info], octets - info.length - 1);
  return encoded;
}

/** MGF1 (RFC 8017 §B.2.1). */
function maskOf(hash: Hash, seed: Uint8Array, length: number): Uint8Array {
  const blocks: Uint8Array[] = [];
  for (let i = 0; i * HASH_LENGTH[hash] < length; i++) blocks.push(hashOf(hash, join(seed, Uint8Array.of(0, 0, 0, i))));
  return join(...blocks).subarray(0, length);
}

function join(...parts: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}
