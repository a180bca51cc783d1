/** Public keys, taken from SubjectPublicKeyInfo (RFC 5280 §4.1.2.7) or JWK (RFC 7517), with the checks of S-15. */
import { accept, refuse, SpiffeError, type Verdict } from "../base/index.ts";
import { decodeBase64Url, encodeBase64Url } from "../encoding/base64.ts";
import { decodeDer, TAG } from "../encoding/der.ts";
import { encodeDer, encodeDerUnsigned } from "../encoding/encode-der.ts";
import {
  type Curve,
  EC_KEY_IDENTIFIERS,
  ED25519_IDENTIFIER,
  type Hash,
  PSS_KEY_IDENTIFIER,
  pssIdentifiers,
  RSA_KEY_IDENTIFIER,
  type SignatureAlgorithm,
} from "./algorithms.ts";
import { CURVES, isOnCurve } from "./curves.ts";
import { ed25519KeyFault } from "./edwards.ts";
import { binaryString, octetsOf, toBigInt } from "./octets.ts";

/** The numbers of a key as big-endian octets: coordinates of full length, modulus and exponent without leading zeros. */
export type KeyNumbers =
  | { readonly kind: "ec"; readonly curve: Curve; readonly x: Uint8Array; readonly y: Uint8Array }
  | { readonly kind: "rsa"; readonly modulus: Uint8Array; readonly exponent: Uint8Array; readonly bits: number }
  | { readonly kind: "ed25519"; readonly point: Uint8Array };

/** A public key as a JWK has it, without members that say what it is for. */
export type PublicJwk =
  | { kty: "EC"; crv: Curve; x: string; y: string }
  | { kty: "RSA"; n: string; e: string }
  | { kty: "OKP"; crv: "Ed25519"; x: string };

const RSA_MIN_BITS = 2_048;
const RSA_MAX_BITS = 8_192;
/** The longest public exponent that every backend takes; a longer one only costs time. */
const RSA_MAX_EXPONENT_OCTETS = 4;
const MAX_SPKI = 2_048;
const PRIVATE_MEMBERS = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

type KeyAlgorithm = { kind: "ec"; curve: Curve } | { kind: "rsa"; pss?: Hash | "any" } | { kind: "ed25519" };

const KEY_ALGORITHMS: ReadonlyMap<string, KeyAlgorithm> = new Map<string, KeyAlgorithm>([
  ...(Object.keys(EC_KEY_IDENTIFIERS) as Curve[]).map((curve): [string, KeyAlgorithm] => [
    binaryString(EC_KEY_IDENTIFIERS[curve]),
    { kind: "ec", curve },
  ]),
  [binaryString(RSA_KEY_IDENTIFIER), { kind: "rsa" }],
  [binaryString(ED25519_IDENTIFIER), { kind: "ed25519" }],
  [binaryString(PSS_KEY_IDENTIFIER), { kind: "rsa", pss: "any" }],
  ...(["SHA-256", "SHA-384", "SHA-512"] as const).flatMap((hash) =>
    pssIdentifiers(hash).map((id): [string, KeyAlgorithm] => [binaryString(id), { kind: "rsa", pss: hash }]),
  ),
]);

const CURVE_NAMES = Object.keys(EC_KEY_IDENTIFIERS) as Curve[];

/** An EC key's SubjectPublicKeyInfo has one encoding, in which only the point at its end is free. */
const EC_SPKI = Object.fromEntries(
  CURVE_NAMES.map((curve) => {
    const point = 1 + 2 * CURVES[curve].size;
    const spki = encodeSpki(EC_KEY_IDENTIFIERS[curve], new Uint8Array(point));
    return [curve, { length: spki.length, head: spki.subarray(0, -point) }];
  }),
) as Readonly<Record<Curve, { readonly length: number; readonly head: Uint8Array }>>;

function startsWith(octets: Uint8Array, head: Uint8Array): boolean {
  for (let i = 0; i < head.length; i++) if (octets[i] !== head[i]) return false;
  return true;
}

/** What a DER AlgorithmIdentifier of a key says, or `undefined` when such keys are not taken. */
export function keyAlgorithm(identifier: Uint8Array): KeyAlgorithm | undefined {
  return KEY_ALGORITHMS.get(binaryString(identifier));
}

/** The constructor, for this module alone: a key exists only after its checks. */
let makeKey: (numbers: KeyNumbers, spki: Uint8Array, pss?: Hash | "any") => PublicKey;

/** Throws `ERR_SPIFFE_USAGE` for what only looks like a key. */
export let requireKey: (key: PublicKey) => void;
/** The key's own numbers, for the backends: nobody else holds these octets. */
export let numbersOf: (key: PublicKey) => KeyNumbers;
/** A text that two keys share exactly when they are the same key with the same restrictions: their own octets. */
export let nameOfKey: (key: PublicKey) => string;

/** What a constructor gets from this module alone. */
const MADE: unique symbol = Symbol("made after its checks");

/**
 * A public key that passed the checks of S-15: RSA of 2,048 to 8,192 bits with an odd exponent above 3, a point on one
 * of the three named curves, or an Ed25519 point of large order. It never changes: octets that it gives are copies.
 *
 * @example
 * ```ts
 * import { PublicKey } from "spiffe-edge/crypto";
 * const pair = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"]);
 * const verdict = PublicKey.fromSpki(new Uint8Array(await crypto.subtle.exportKey("spki", pair.publicKey)));
 * console.assert(verdict.ok && verdict.value.curve === "P-256");
 * ```
 */
export class PublicKey {
  readonly kind: "ec" | "rsa" | "ed25519";
  /** The curve of an `ec` key. */
  readonly curve: Curve | undefined;
  /** Bits of the modulus of an `rsa` key. */
  readonly bits: number | undefined;
  /** Set for an id-RSASSA-PSS key, which makes PSS signatures only: with this hash, or with any. */
  readonly pss: Hash | "any" | undefined;
  readonly #numbers: KeyNumbers;
  readonly #spki: Uint8Array;
  #name: string | undefined;

  private constructor(made: typeof MADE, numbers: KeyNumbers, spki: Uint8Array, pss?: Hash | "any") {
    // a constructor is public where types are gone, and a key under another's name would be taken for it
    if (made !== MADE)
      throw new SpiffeError("ERR_SPIFFE_USAGE", "Expected a key to come from PublicKey.fromSpki or fromJwk");
    this.kind = numbers.kind;
    this.curve = numbers.kind === "ec" ? numbers.curve : undefined;
    this.bits = numbers.kind === "rsa" ? numbers.bits : undefined;
    this.pss = pss;
    this.#numbers = numbers;
    this.#spki = spki;
    Object.freeze(this);
  }

  /** The SubjectPublicKeyInfo in DER. */
  get spki(): Uint8Array {
    return new Uint8Array(this.#spki);
  }

  get numbers(): KeyNumbers {
    return copyOf(this.#numbers);
  }

  /**
   * Takes a key from a SubjectPublicKeyInfo.
   *
   * @param der the whole structure in DER
   * @returns the key, or a refusal: `key.invalid`, `key.unsupported`, `key.weak`, `key.not-on-curve`
   */
  static fromSpki(der: Uint8Array): Verdict<PublicKey> {
    const given = octetsOf(der);
    if (given === undefined || given.length === 0) return refuse("key.invalid", "Expected a key in a Uint8Array");
    if (given.length > MAX_SPKI) return refuse("key.unsupported", `Expected a key of at most ${MAX_SPKI} bytes`);
    // before the first look: a backend gets the bytes that were judged
    const spki = new Uint8Array(given);
    const curve = CURVE_NAMES.find(
      (name) => spki.length === EC_SPKI[name].length && startsWith(spki, EC_SPKI[name].head),
    );
    if (curve !== undefined) return ecKey(curve, spki.subarray(EC_SPKI[curve].head.length), spki);
    const parts = decodeDer(
      spki,
      (reader) => {
        const sequence = reader.sequence();
        const algorithm = sequence.element(TAG.sequence);
        const key = sequence.bitOctets();
        sequence.end();
        return { algorithm, key };
      },
      "key.invalid",
    );
    if (!parts.ok) return parts;
    const { algorithm, key } = parts.value;
    const known = keyAlgorithm(algorithm);
    if (known === undefined) {
      return refuse(
        "key.unsupported",
        "Expected a P-256, P-384, P-521, RSA or Ed25519 key with its standard parameters",
      );
    }
    if (known.kind === "ec") return ecKey(known.curve, key, spki);
    if (known.kind === "ed25519") return edKey(key, spki);
    const numbers = decodeDer(
      key,
      (reader) => {
        const sequence = reader.sequence();
        const modulus = sequence.unsigned();
        const exponent = sequence.unsigned();
        sequence.end();
        return { modulus, exponent };
      },
      "key.invalid",
    );
    return numbers.ok ? rsaKey(numbers.value.modulus, numbers.value.exponent, spki, known.pss) : numbers;
  }

  /**
   * Takes a key from the parameters of a public JWK (RFC 7518 §6, RFC 8037 §2); `use`, `alg` and the like are not looked at.
   *
   * @param jwk the members; one with private parameters is refused
   * @returns the key, or a refusal: `key.invalid`, `key.unsupported`, `key.weak`, `key.not-on-curve`
   */
  static fromJwk(jwk: Readonly<Record<string, unknown>>): Verdict<PublicKey> {
    if (typeof jwk !== "object" || jwk === null) return refuse("key.invalid", "Expected a JWK as an object");
    const member = (name: string): unknown => (Object.hasOwn(jwk, name) ? jwk[name] : undefined);
    if (PRIVATE_MEMBERS.some((name) => Object.hasOwn(jwk, name))) {
      return refuse("key.invalid", "Expected a public JWK, but it holds private parameters");
    }
    const octets = (name: string): Uint8Array => {
      const text = member(name);
      const decoded = typeof text === "string" && text.length <= MAX_SPKI ? decodeBase64Url(text) : undefined;
      return decoded?.ok ? decoded.value : NONE;
    };
    const kty = member("kty");
    if (kty === "EC") {
      const crv = member("crv");
      if (crv !== "P-256" && crv !== "P-384" && crv !== "P-521") {
        return refuse("key.unsupported", 'Expected "crv" to be P-256, P-384 or P-521');
      }
      const [x, y] = [octets("x"), octets("y")];
      const { size } = CURVES[crv];
      if (x.length !== size || y.length !== size) {
        return refuse("key.invalid", `Expected "x" and "y" to be ${size} bytes each in base64url`);
      }
      return ecKey(crv, concat(Uint8Array.of(4), x, y));
    }
    if (kty === "RSA") {
      const [n, e] = [octets("n"), octets("e")];
      if (n.length === 0 || e.length === 0 || n[0] === 0 || e[0] === 0) {
        return refuse("key.invalid", 'Expected "n" and "e" in base64url without leading zeros');
      }
      return rsaKey(n, e);
    }
    if (kty === "OKP" && member("crv") === "Ed25519") return edKey(octets("x"));
    return refuse("key.unsupported", 'Expected "kty" to be EC, RSA, or OKP with Ed25519');
  }

  /** The SubjectPublicKeyInfo that every backend takes: as {@link spki}, but rsaEncryption in place of id-RSASSA-PSS. */
  get importSpki(): Uint8Array {
    const numbers = this.#numbers;
    return numbers.kind === "rsa" && this.pss !== undefined ? rsaSpki(numbers.modulus, numbers.exponent) : this.spki;
  }

  /** Whether a signature of this algorithm can be this key's: kind, and for id-RSASSA-PSS keys scheme and hash. */
  fits(algorithm: SignatureAlgorithm): boolean {
    switch (algorithm.family) {
      case "ecdsa":
        return this.kind === "ec";
      case "ed25519":
        return this.kind === "ed25519";
      case "rsa-pkcs1":
        return this.kind === "rsa" && this.pss === undefined;
      case "rsa-pss":
        return this.kind === "rsa" && (this.pss === undefined || this.pss === "any" || this.pss === algorithm.hash);
    }
  }

  /** The key's parameters as a JWK. */
  toJwk(): PublicJwk {
    const numbers = this.#numbers;
    switch (numbers.kind) {
      case "ec":
        return { kty: "EC", crv: numbers.curve, x: encodeBase64Url(numbers.x), y: encodeBase64Url(numbers.y) };
      case "rsa":
        return { kty: "RSA", n: encodeBase64Url(numbers.modulus), e: encodeBase64Url(numbers.exponent) };
      case "ed25519":
        return { kty: "OKP", crv: "Ed25519", x: encodeBase64Url(numbers.point) };
    }
  }

  /** Whether both are the same key with the same restrictions. */
  equals(other: PublicKey): boolean {
    return nameOfKey(this) === nameOfKey(other);
  }

  static {
    makeKey = (numbers, spki, pss) => new PublicKey(MADE, numbers, spki, pss);
    requireKey = (key) => {
      if (typeof key === "object" && key !== null && #numbers in key) return;
      throw new SpiffeError("ERR_SPIFFE_USAGE", "Expected a PublicKey, got something else");
    };
    numbersOf = (key) => {
      requireKey(key);
      return key.#numbers;
    };
    nameOfKey = (key) => {
      requireKey(key);
      return (key.#name ??= binaryString(key.#spki));
    };
  }
}

const NONE = new Uint8Array(0);

function copyOf(numbers: KeyNumbers): KeyNumbers {
  switch (numbers.kind) {
    case "ec":
      return { ...numbers, x: new Uint8Array(numbers.x), y: new Uint8Array(numbers.y) };
    case "rsa":
      return { ...numbers, modulus: new Uint8Array(numbers.modulus), exponent: new Uint8Array(numbers.exponent) };
    case "ed25519":
      return { ...numbers, point: new Uint8Array(numbers.point) };
  }
}

function ecKey(name: Curve, encoded: Uint8Array, spki?: Uint8Array): Verdict<PublicKey> {
  const curve = CURVES[name];
  if (encoded.length !== 1 + 2 * curve.size || encoded[0] !== 4) {
    return refuse("key.unsupported", `Expected an uncompressed ${name} point of ${1 + 2 * curve.size} bytes`);
  }
  const point = new Uint8Array(encoded);
  const x = point.subarray(1, 1 + curve.size);
  const y = point.subarray(1 + curve.size);
  if (!isOnCurve(curve, toBigInt(x), toBigInt(y))) {
    return refuse("key.not-on-curve", `Expected a point on ${name}, but the coordinates do not satisfy its equation`);
  }
  const numbers: KeyNumbers = { kind: "ec", curve: name, x, y };
  return accept(makeKey(numbers, spki ?? encodeSpki(EC_KEY_IDENTIFIERS[name], point)));
}

function rsaKey(modulus: Uint8Array, exponent: Uint8Array, spki?: Uint8Array, pss?: Hash | "any"): Verdict<PublicKey> {
  const bits = modulus.length === 0 ? 0 : modulus.length * 8 - Math.clz32(modulus[0]!) + 24;
  if (bits < RSA_MIN_BITS || bits > RSA_MAX_BITS) {
    return refuse("key.weak", `Expected an RSA modulus of ${RSA_MIN_BITS} to ${RSA_MAX_BITS} bits, got ${bits}`);
  }
  if ((modulus[modulus.length - 1]! & 1) === 0) return refuse("key.invalid", "Expected an odd RSA modulus");
  const small = exponent.length === 1 && exponent[0]! <= 3;
  if (small || exponent.length > RSA_MAX_EXPONENT_OCTETS || (exponent[exponent.length - 1]! & 1) === 0) {
    return refuse("key.weak", "Expected an odd RSA exponent above 3 of at most 32 bits");
  }
  const numbers: KeyNumbers = {
    kind: "rsa",
    modulus: new Uint8Array(modulus),
    exponent: new Uint8Array(exponent),
    bits,
  };
  return accept(makeKey(numbers, spki ?? rsaSpki(modulus, exponent), pss));
}

function edKey(encoded: Uint8Array, spki?: Uint8Array): Verdict<PublicKey> {
  if (encoded.length !== 32) return refuse("key.invalid", `Expected 32 bytes of an Ed25519 key, got ${encoded.length}`);
  const fault = ed25519KeyFault(encoded);
  if (fault === "not-on-curve") return refuse("key.not-on-curve", "Expected a point on Ed25519's curve");
  if (fault === "small-order") return refuse("key.weak", "Expected an Ed25519 point of large order");
  if (fault === "encoding") return refuse("key.invalid", "Expected a canonical Ed25519 point");
  const point = new Uint8Array(encoded);
  return accept(makeKey({ kind: "ed25519", point }, spki ?? encodeSpki(ED25519_IDENTIFIER, point)));
}

function rsaSpki(modulus: Uint8Array, exponent: Uint8Array): Uint8Array {
  const key = encodeDer(TAG.sequence, encodeDerUnsigned(modulus), encodeDerUnsigned(exponent));
  return encodeSpki(RSA_KEY_IDENTIFIER, key);
}

function encodeSpki(identifier: Uint8Array, key: Uint8Array): Uint8Array {
  return encodeDer(TAG.sequence, identifier, encodeDer(TAG.bitString, Uint8Array.of(0), key));
}

function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}
