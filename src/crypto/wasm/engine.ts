/** The compiled verifier with its memory: numbers and addresses in, answers out. */
import { SpiffeError } from "../../base/index.ts";
import { type Curve, HASH_LENGTH, type Hash, isHash } from "../algorithms.ts";
import { CURVES } from "../curves.ts";
import { equalOctets, fromBigInt, octetsOf, toBigInt } from "../octets.ts";
import { ALIGNMENT, compile, type Exports, instantiate } from "./instance.ts";

/** An RSA key as the module takes it. */
export interface RsaKey {
  /** 256 to 512 octets, the first of which is not 0. */
  readonly modulus: Uint8Array;
  readonly exponent: number;
  /** As {@link Engine.rsaLift} gives it for the modulus. */
  readonly lift: Uint8Array;
}

/** Octets of the moduli that the module takes: 2,048 to 4,096 bits. */
const RSA_OCTETS = { least: 256, most: 512 } as const;

const PAGE = 65_536;
const CURVE_CODE: Readonly<Record<Curve, number>> = { "P-256": 256, "P-384": 384, "P-521": 521 };
const HASH_CODE: Readonly<Record<Hash, number>> = { "SHA-256": 256, "SHA-384": 384, "SHA-512": 512 };

/** A place for a key's table: it means something only to the engine that gave it. */
export type Place = Readonly<Record<never, never>>;

/** A signature of a batch, as {@link Engine.verify} takes it. */
export interface BatchMember {
  readonly point: Uint8Array;
  readonly place: Place | undefined;
  readonly signature: Uint8Array;
  /** What is signed, or its hash as {@link Engine.verifyDigest} takes it. */
  readonly signed: { readonly hash: Hash; readonly data: Uint8Array } | { readonly digest: Uint8Array };
}

/** What an engine knows of a place. */
interface Slot {
  readonly curve: Curve;
  readonly key: number;
  readonly table: number;
  /** The key whose table is there; a table is used for no other. */
  point: Uint8Array | undefined;
  /** The octets of which {@link point} is a copy: the same key as long as nobody has written to them. */
  given: Uint8Array | undefined;
}

/** Octets as they came. */
const asTheyAre = (octets: Uint8Array): Uint8Array | undefined => octets;

/**
 * One instance of the module. It is synchronous and has one caller at a time.
 *
 * It holds public keys and public tables only, and its time depends on them.
 */
export class Engine {
  readonly #exports: Exports;
  readonly #input: number;
  readonly #inputSize: number;
  readonly #signature: number;
  readonly #rsa: number;
  readonly #scratch: Readonly<Record<Curve, number>>;
  readonly #generators = new Map<Curve, number>();
  readonly #slots = new WeakMap<Place, Slot>();
  #octets: Uint8Array;
  #end: number;

  /**
   * @param module a compiled `WebAssembly.Module` of `ecdsa.wasm`; the package's own, compiled here, unless given
   * @throws SpiffeError `ERR_SPIFFE_BACKEND` where WebAssembly is missing or not allowed to compile, and for another module
   */
  constructor(module?: object) {
    const scratch = (curve: Curve) => this.#reserve(this.#exports.keySize(CURVE_CODE[curve]));
    try {
      this.#exports = instantiate(module === undefined ? compile() : module);
      this.#octets = new Uint8Array(this.#exports.memory.buffer);
      this.#end = this.#exports.heapBase();
      this.#input = this.#exports.inputArea();
      this.#inputSize = this.#exports.inputSize.value;
      this.#signature = this.#exports.signatureArea();
      this.#rsa = this.#exports.rsaArea();
      this.#scratch = { "P-256": scratch("P-256"), "P-384": scratch("P-384"), "P-521": scratch("P-521") };
    } catch (cause) {
      const own = module === undefined;
      const wanted = own ? "a runtime that compiles WebAssembly" : "a compiled WebAssembly.Module of ecdsa.wasm";
      throw new SpiffeError("ERR_SPIFFE_BACKEND", `Expected ${wanted}`, {
        cause,
        hint: own
          ? "Pass a module that the host compiled, or use another backend."
          : "Import the file ecdsa.wasm of this very version of the package.",
      });
    }
  }

  /** Octets of the module's memory. */
  get memoryBytes(): number {
    return this.#octets.length;
  }

  /** Octets that a place for a key's table takes. */
  placeBytes(curve: Curve): number {
    return aligned(this.#exports.keySize(CURVE_CODE[curve])) + aligned(this.#exports.keyTableSize(CURVE_CODE[curve]));
  }

  /** A new place; it is never given back, only used again. Throws when the memory has reached its bound. */
  newPlace(curve: Curve): Place {
    const key = this.#reserve(this.#exports.keySize(CURVE_CODE[curve]));
    const table = this.#reserve(this.#exports.keyTableSize(CURVE_CODE[curve]));
    const place: Place = Object.freeze({});
    this.#slots.set(place, { curve, key, table, point: undefined, given: undefined });
    return place;
  }

  hasGeneratorTable(curve: Curve): boolean {
    return this.#generators.has(curve);
  }

  buildGeneratorTable(curve: Curve): void {
    const table = this.#reserve(this.#exports.generatorTableSize(CURVE_CODE[curve]));
    if (this.#exports.buildGeneratorTable(CURVE_CODE[curve], table) !== 0) this.#generators.set(curve, table);
  }

  /** Makes the table of a point; whether it is one of the curve. */
  buildTable(curve: Curve, point: Uint8Array, place: Place): boolean {
    const slot = this.#slots.get(place);
    const octets = octetsOf(point);
    if (slot === undefined || slot.curve !== curve || octets === undefined) return false;
    slot.point = undefined;
    slot.given = undefined;
    const { key, table } = slot;
    if (!this.#readKey(curve, octets, key)) return false;
    if (this.#exports.buildKeyTable(CURVE_CODE[curve], table, key) === 0) return false;
    slot.point = new Uint8Array(octets);
    slot.given = point;
    return true;
  }

  /**
   * Checks a signature. What is no `Uint8Array` of its right length, and a hash, curve or place that this engine does not
   * know, make it invalid.
   *
   * @param point x and y of the key
   * @param place where the key has its table, if it has one
   * @param signature r and s, each of a coordinate's length
   */
  verify(
    curve: Curve,
    hash: Hash,
    point: Uint8Array,
    place: Place | undefined,
    signature: Uint8Array,
    data: Uint8Array,
  ): boolean {
    const length = this.#hash(hash, data);
    return length !== undefined && this.#check(curve, length, point, place, signature);
  }

  /** {@link verify} for a hash that is at hand: 32 to 64 octets. */
  verifyDigest(
    curve: Curve,
    digest: Uint8Array,
    point: Uint8Array,
    place: Place | undefined,
    signature: Uint8Array,
  ): boolean {
    const length = this.#setDigest(digest);
    return length !== undefined && this.#check(curve, length, point, place, signature);
  }

  /**
   * Checks signatures of one curve together, which is faster than {@link verify} one by one and gives the same verdicts: each
   * signature has its own, whatever the others are. Those without a table are checked one by one.
   *
   * @param own says that all octets are the caller's own: views that tell their true length ({@link octetsOf}), to which nobody
   *   writes
   */
  verifyBatch(curve: Curve, members: readonly BatchMember[], own = false): boolean[] {
    const verdicts: boolean[] = [];
    const generator = Object.hasOwn(CURVE_CODE, curve) ? this.#generators.get(curve) : undefined;
    for (const member of members) {
      verdicts.push((generator === undefined || member.place === undefined) && this.#alone(curve, member));
    }
    if (generator === undefined) return verdicts;
    for (let next = 0; next < members.length; ) {
      const room = this.#exports.batchStart(CURVE_CODE[curve]);
      const taken: number[] = [];
      for (; next < members.length && taken.length < room; next++)
        if (this.#add(curve, members[next]!, own)) taken.push(next);
      const bits = this.#exports.batchFinish(generator);
      for (const [bit, index] of taken.entries()) verdicts[index] = ((bits >>> bit) & 1) === 1;
    }
    return verdicts;
  }

  #alone(curve: Curve, { point, place, signature, signed }: BatchMember): boolean {
    if ("digest" in signed) return this.verifyDigest(curve, signed.digest, point, place, signature);
    return this.verify(curve, signed.hash, point, place, signature, signed.data);
  }

  /**
   * Puts a signature into the batch that has begun; whether it has a number there, as what is invalid at sight and what has no
   * table have not.
   */
  #add(curve: Curve, { point, place, signature, signed }: BatchMember, own: boolean): boolean {
    if (place === undefined) return false;
    const read = own ? asTheyAre : octetsOf;
    const made = read(signature);
    const octets = read(point);
    if (made === undefined || octets === undefined || made.length !== 2 * CURVES[curve].size) return false;
    const slot = this.#slotOf(curve, octets, place, own);
    const length =
      slot && ("digest" in signed ? this.#setDigest(signed.digest, read) : this.#hash(signed.hash, signed.data, read));
    if (slot === undefined || length === undefined) return false;
    this.#octets.set(made, this.#signature);
    return this.#exports.batchAdd(length, slot.table) === 1;
  }

  /** Puts the hash of data where checks find it; its length, or `undefined` for a hash or data that are none. */
  #hash(hash: Hash, data: Uint8Array, read: typeof asTheyAre = octetsOf): number | undefined {
    const octets = read(data);
    return octets === undefined || !isHash(hash) ? undefined : this.#digest(hash, octets);
  }

  /** Puts a hash where checks find it; its length, or `undefined` for one that is too short or too long. */
  #setDigest(digest: Uint8Array, read: typeof asTheyAre = octetsOf): number | undefined {
    const octets = read(digest);
    if (octets === undefined) return undefined;
    if (octets.length < HASH_LENGTH["SHA-256"] || octets.length > HASH_LENGTH["SHA-512"]) return undefined;
    this.#octets.set(octets, this.#exports.digestArea());
    return octets.length;
  }

  /** What is known of a place, if it has the table of that very point. */
  #slotOf(curve: Curve, point: Uint8Array, place: Place, own = false): Slot | undefined {
    const slot = this.#slots.get(place);
    if (own && slot?.given === point && slot.curve === curve) return slot;
    if (slot?.point === undefined || slot.curve !== curve || !equalOctets(slot.point, point)) return undefined;
    return slot;
  }

  /** What checks with a modulus want beside it, or `undefined` for a modulus that the module does not take. */
  rsaLift(modulus: Uint8Array): Uint8Array | undefined {
    const octets = octetsOf(modulus);
    const length = octets?.length ?? 0;
    if (length < RSA_OCTETS.least || length > RSA_OCTETS.most || octets![0] === 0) return undefined;
    return fromBigInt((1n << BigInt(this.#exports.rsaLift(length))) % toBigInt(octets!), length);
  }

  /**
   * Checks an RSA signature: PKCS#1 v1.5, or PSS with MGF1 of the same hash and a salt of its length. What is no `Uint8Array` of
   * the modulus's length, and a hash that this engine does not know, make it invalid.
   */
  verifyRsa(
    scheme: "rsa-pkcs1" | "rsa-pss",
    hash: Hash,
    key: RsaKey,
    signature: Uint8Array,
    data: Uint8Array,
  ): boolean {
    const parts = [octetsOf(key.modulus), octetsOf(key.lift), octetsOf(signature)];
    const octets = octetsOf(data);
    const length = parts[0]?.length ?? 0;
    if (octets === undefined || !isHash(hash) || (scheme !== "rsa-pkcs1" && scheme !== "rsa-pss")) return false;
    if (length < RSA_OCTETS.least || length > RSA_OCTETS.most) return false;
    if (parts.some((part) => part?.length !== length)) return false;
    this.#digest(hash, octets);
    for (const [index, part] of parts.entries()) this.#octets.set(part!, this.#rsa + index * length);
    return this.#exports.verifyRsa(length, key.exponent, HASH_CODE[hash], scheme === "rsa-pss" ? 1 : 0) === 1;
  }

  #check(curve: Curve, length: number, point: Uint8Array, place: Place | undefined, signature: Uint8Array): boolean {
    const [made, octets] = [octetsOf(signature), octetsOf(point)];
    if (made === undefined || octets === undefined || !Object.hasOwn(CURVE_CODE, curve)) return false;
    if (made.length !== 2 * CURVES[curve].size) return false;
    let key = this.#scratch[curve];
    let table = 0;
    if (place !== undefined) {
      const slot = this.#slotOf(curve, octets, place);
      if (slot === undefined) return false;
      ({ key, table } = slot);
    } else if (!this.#readKey(curve, octets, key)) return false;
    this.#octets.set(made, this.#signature);
    const generator = this.#generators.get(curve) ?? 0;
    return this.#exports.verifyDigest(CURVE_CODE[curve], length, key, table, generator) === 1;
  }

  #readKey(curve: Curve, point: Uint8Array, to: number): boolean {
    if (point.length !== 2 * CURVES[curve].size) return false;
    this.#octets.set(point, this.#signature);
    return this.#exports.readKeyOf(CURVE_CODE[curve], to) === 1;
  }

  #digest(hash: Hash, data: Uint8Array): number {
    this.#exports.hashStart(HASH_CODE[hash]);
    const size = this.#inputSize;
    if (data.length <= size) {
      this.#octets.set(data, this.#input);
      this.#exports.hashUpdate(data.length);
    } else {
      for (let at = 0; at < data.length; at += size) {
        const piece = data.subarray(at, at + size);
        this.#octets.set(piece, this.#input);
        this.#exports.hashUpdate(piece.length);
      }
    }
    return this.#exports.hashFinish();
  }

  #reserve(size: number): number {
    const at = this.#end;
    const end = at + aligned(size);
    const missing = end - this.#octets.length;
    if (missing > 0) {
      this.#exports.memory.grow(Math.ceil(missing / PAGE));
      // the old buffer is gone once the memory has grown
      this.#octets = new Uint8Array(this.#exports.memory.buffer);
    }
    this.#end = end;
    return at;
  }
}

function aligned(size: number): number {
  return Math.ceil(size / ALIGNMENT) * ALIGNMENT;
}
