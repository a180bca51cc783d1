/**
 * What the host may call. Curves are told by the bits of their hash's usual partner: 256, 384, 521. What is not on a list
 * (a curve, a hash, a length) traps, so that no default stands in for it.
 *
 * The host owns the memory from `heapBase()` on and puts keys and tables there; their sizes come from here. Input goes to
 * `inputArea()` and `signatureArea()`. One call at a time: the module has no other state than one hash and its scratch.
 */
import { P256, P384, P521, width } from "./curves";
import { roomFor, take, verifyTogether } from "./batch";
import { buildGenerator, buildKey, readKey, verify } from "./ecdsa";
import { isPkcs1, isPss } from "./emsa";
import { DIGEST, finish, start, update } from "./hash";
import { limbsOf, power } from "./rsa";
import { generatorWindow, keyWindow, tableSize } from "./table";

const INPUT = memory.data(4096, 8);
const SIGNATURE = memory.data(136, 8);
const RSA = memory.data(4 * 512, 8);

/** Octets at `inputArea()`. */
export const inputSize: i32 = 4096;

function checkCurve(curve: i32): void {
  if (curve != 256 && curve != 384 && curve != 521) unreachable();
}

export function heapBase(): usize {
  return (__heap_base + 63) & ~63;
}

export function inputArea(): usize {
  return INPUT;
}

/** Where r and s go, and a key's coordinates before `readKeyOf`. */
export function signatureArea(): usize {
  return SIGNATURE;
}

/** Where a hash's value comes out, and where the host may put one of its own. */
export function digestArea(): usize {
  return DIGEST;
}

export function keySize(curve: i32): i32 {
  checkCurve(curve);
  return 2 * (curve == 256 ? width<P256>() : curve == 384 ? width<P384>() : width<P521>());
}

export function keyTableSize(curve: i32): i32 {
  checkCurve(curve);
  if (curve == 256) return tableSize<P256>(keyWindow<P256>());
  return curve == 384 ? tableSize<P384>(keyWindow<P384>()) : tableSize<P521>(keyWindow<P521>());
}

export function generatorTableSize(curve: i32): i32 {
  checkCurve(curve);
  if (curve == 256) return tableSize<P256>(generatorWindow<P256>());
  return curve == 384 ? tableSize<P384>(generatorWindow<P384>()) : tableSize<P521>(generatorWindow<P521>());
}

/** Makes the generator's table, which every verification on that curve needs. */
export function buildGeneratorTable(curve: i32, table: usize): bool {
  checkCurve(curve);
  if (curve == 256) return buildGenerator<P256>(table);
  return curve == 384 ? buildGenerator<P384>(table) : buildGenerator<P521>(table);
}

/** Takes the coordinates at `signatureArea()` to `key`; 0 for what is no point of the curve. */
export function readKeyOf(curve: i32, key: usize): bool {
  checkCurve(curve);
  if (curve == 256) return readKey<P256>(key, SIGNATURE);
  return curve == 384 ? readKey<P384>(key, SIGNATURE) : readKey<P521>(key, SIGNATURE);
}

export function buildKeyTable(curve: i32, table: usize, key: usize): bool {
  checkCurve(curve);
  if (curve == 256) return buildKey<P256>(table, key);
  return curve == 384 ? buildKey<P384>(table, key) : buildKey<P521>(table, key);
}

export function hashStart(bits: i32): void {
  start(bits);
}

/** Takes the first `length` octets at `inputArea()`. */
export function hashUpdate(length: i32): void {
  if (length < 0 || length > inputSize) unreachable();
  update(INPUT, length);
}

export function hashFinish(): i32 {
  return finish();
}

/** The curve of the batch that is being taken, 0 between batches, and how many signatures it has. */
let batchCurve: i32 = 0;
let batchCount: i32 = 0;

/** Begins a batch on a curve; returns how many signatures it may have. Any other check ends it. */
export function batchStart(curve: i32): i32 {
  checkCurve(curve);
  batchCurve = curve;
  batchCount = 0;
  if (curve == 256) return roomFor<P256>();
  return curve == 384 ? roomFor<P384>() : roomFor<P521>();
}

/**
 * Takes r and s at `signatureArea()` over the `length` octets at `digestArea()`, for a key that has its table; 0 for what is
 * invalid at sight, which has no number in the batch.
 */
export function batchAdd(length: i32, table: usize): bool {
  if (length < 32 || length > 64 || table == 0) unreachable();
  let taken = false;
  if (batchCurve == 256) taken = add<P256>(length, table);
  else if (batchCurve == 384) taken = add<P384>(length, table);
  else if (batchCurve == 521) taken = add<P521>(length, table);
  else unreachable();
  if (taken) batchCount++;
  return taken;
}

function add<C>(length: i32, table: usize): bool {
  if (batchCount >= roomFor<C>()) unreachable();
  return take<C>(batchCount, SIGNATURE, DIGEST, length, table);
}

/** Ends the batch: bit i tells whether signature number i, counted from 0, is valid. */
export function batchFinish(generatorTable: usize): i32 {
  const curve = batchCurve;
  const count = batchCount;
  batchCurve = 0;
  if (curve == 0 || generatorTable == 0) unreachable();
  if (count == 0) return 0;
  if (curve == 256) return verifyTogether<P256>(count, generatorTable);
  return curve == 384 ? verifyTogether<P384>(count, generatorTable) : verifyTogether<P521>(count, generatorTable);
}

/** Checks r and s at `signatureArea()` over the `length` octets, 32 to 64, at `digestArea()`. Tables that are not there are 0. */
export function verifyDigest(curve: i32, length: i32, key: usize, table: usize, generatorTable: usize): bool {
  checkCurve(curve);
  if (length < 32 || length > 64) unreachable();
  batchCurve = 0;
  if (curve == 256) return verify<P256>(SIGNATURE, DIGEST, length, key, table, generatorTable);
  if (curve == 384) return verify<P384>(SIGNATURE, DIGEST, length, key, table, generatorTable);
  return verify<P521>(SIGNATURE, DIGEST, length, key, table, generatorTable);
}

/** Where an RSA check finds the modulus, the square of R modulo it, and the signature: one after the other, of its length. */
export function rsaArea(): usize {
  return RSA;
}

function checkModulus(octets: i32): void {
  if (octets < 256 || octets > 512) unreachable();
}

/** The power of two, modulo the modulus, that an RSA check wants beside it: the square of R. */
export function rsaLift(octets: i32): i32 {
  checkModulus(octets);
  return 54 * limbsOf(octets);
}

/** Checks an RSA signature over the hash at `digestArea()`, PKCS#1 v1.5 or PSS; modulus from 256 to 512 octets. */
export function verifyRsa(octets: i32, exponent: i32, bits: i32, pss: bool): bool {
  checkModulus(octets);
  if (bits != 256 && bits != 384 && bits != 512) unreachable();
  const modulusBits = 8 * octets - <i32>clz<u32>(load<u8>(RSA)) + 24;
  const encoded = RSA + 3 * octets;
  // two that are none: no leading zeros, and an exponent that does something
  if (modulusBits <= 8 * octets - 8 || <u32>exponent < 3) return false;
  if (!power(encoded, RSA + 2 * octets, RSA, RSA + octets, octets, <u32>exponent)) return false;
  return pss ? isPss(encoded, octets, modulusBits, bits) : isPkcs1(encoded, octets, bits);
}
