/**
 * ECDSA verification (FIPS 186-5 §6.4.2) of one signature: u1 = e/s, u2 = r/s modulo n, and the x of u1 · G + u2 · Q has to be
 * r modulo n.
 *
 * With tables for G and Q it is a batch of one (batch.ts). A Q without a table is multiplied by doublings and a signed
 * sliding window (Solinas, "Efficient arithmetic on Koblitz curves", 2000). Public numbers only: time depends on them.
 */
import {
  coefficient,
  generator,
  limbs,
  bits,
  octets,
  one,
  orderBits,
  primeWords,
  squareOfR,
  width,
  words,
} from "./curves";
import { opposite, toAffine } from "./affine";
import { collectPoints, judge, multipliers, sumUp, take, U1, U2, verifyTogether } from "./batch";
import { combine, copy, isZero, mul, sqr, subLazy } from "./field";
import { addToSum, clearSum, doubleSum, setSum, SUM } from "./point";
import { compare } from "./scalar";
import { buildTable, generatorWindow, keyWindow } from "./table";
import { bitsAt, reverse, unpack } from "./words";

/** Window bits of a Q without a table. */
const WIDTH: i32 = 5;

const BYTES = memory.data(88, 8);
const WORDS = memory.data(20 * 8, 8);
const DIGITS = memory.data(544, 8);
const DIGITS_OF_G = memory.data(544, 8);
const MULTIPLES = memory.data(8 * 3 * 18 * 8, 8);
const ODD = memory.data(8 * 2 * 18 * 8, 8);
const ODD_OF_G = memory.data(8 * 2 * 18 * 8, 8);
const TWICE = memory.data(2 * 18 * 8, 8);
const X = memory.data(18 * 8, 8);
const Y = memory.data(18 * 8, 8);

/** r = a number below p from big-endian octets, in Montgomery's form; whether it is below p. */
function readElement<C>(r: usize, from: usize): bool {
  reverse(BYTES, from, octets<C>());
  unpack(WORDS, words<C>(), 30, BYTES);
  if (compare(WORDS, primeWords<C>(), words<C>()) >= 0) return false;
  unpack(X, limbs<C>(), bits<C>(), BYTES);
  mul<C>(r, squareOfR<C>(), X);
  return true;
}

/** Takes a key's coordinates, big-endian, to `key`; whether they are a point of the curve (SP 800-56A §5.6.2.3.4). */
export function readKey<C>(key: usize, from: usize): bool {
  const x = key;
  const y = key + width<C>();
  if (!readElement<C>(x, from) || !readElement<C>(y, from + octets<C>())) return false;
  // x³ − 3x + b − y²
  sqr<C>(X, x);
  subLazy<C>(X, X, one<C>());
  subLazy<C>(X, X, one<C>());
  combine<C>(X, 1, X, ZERO);
  subLazy<C>(X, X, one<C>());
  mul<C>(X, x, X);
  combine<C>(X, 1, X, coefficient<C>());
  sqr<C>(Y, y);
  combine<C>(X, -1, Y, X);
  return isZero<C>(X);
}

const ZERO = memory.data(18 * 8, 8);

export function buildGenerator<C>(table: usize): bool {
  return buildTable<C>(table, generator<C>(), generatorWindow<C>());
}

export function buildKey<C>(table: usize, key: usize): bool {
  return buildTable<C>(table, key, keyWindow<C>());
}

/** Signed digits of odd size below 2^(w−1), at least w − 1 zeros between them; returns how many places there are. */
function sparseDigits<C>(digits: usize, scalar: usize): i32 {
  const places = orderBits<C>() + 1;
  memory.fill(digits, 0, places);
  let carry = 0;
  let top = 0;
  for (let at = 0; at < places; ) {
    if (bitsAt(scalar, at, 1) == carry) {
      at++;
      continue;
    }
    let digit = bitsAt(scalar, at, WIDTH) + carry;
    carry = digit >> (WIDTH - 1);
    digit -= carry << WIDTH;
    store<i8>(digits + at, <i8>digit);
    top = at + 1;
    at += WIDTH;
  }
  return top;
}

/**
 * The affine points P, 3P … 15P.
 *
 * 2P is not divided by its Z: on the curve that maps it to (X, Y, 1), P is (x · Z², y · Z³, 1), sums are the same, and a
 * factor Z in each result leads back (Meloni, "New point addition formulae for ECC applications", 2007).
 */
function oddMultiples<C>(to: usize, point: usize): bool {
  const x = SUM;
  const y = SUM + width<C>();
  const z = SUM + 2 * width<C>();
  setSum<C>(point);
  doubleSum<C>();
  copy<C>(TWICE, x);
  copy<C>(TWICE + width<C>(), y);
  copy<C>(X, z);
  sqr<C>(Y, X);
  mul<C>(x, Y, point);
  mul<C>(Y, Y, X);
  mul<C>(y, Y, point + width<C>());
  copy<C>(z, one<C>());
  for (let i = 0; i < 8; i++) {
    const multiple = MULTIPLES + 3 * i * width<C>();
    memory.copy(multiple, SUM, 3 * width<C>());
    mul<C>(multiple + 2 * width<C>(), multiple + 2 * width<C>(), X);
    if (i < 7) addToSum<C>(TWICE);
  }
  return toAffine<C>(to, MULTIPLES, 8);
}

/** sum += digit · P out of P's odd multiples. */
function addDigit<C>(digit: i32, odd: usize): void {
  const size = 2 * width<C>();
  if (digit > 0) addToSum<C>(odd + (digit >> 1) * size);
  else if (digit < 0) {
    opposite<C>(TWICE, odd + (-digit >> 1) * size);
    addToSum<C>(TWICE);
  }
}

/** sum = u1 · G + u2 · key for a key without a table; the part of G only when there is no table of it either. */
function multiplyFresh<C>(key: usize, withGenerator: bool): bool {
  if (!oddMultiples<C>(ODD, key)) return false;
  let places = sparseDigits<C>(DIGITS, U2);
  if (withGenerator) {
    if (!oddMultiples<C>(ODD_OF_G, generator<C>())) return false;
    places = max(places, sparseDigits<C>(DIGITS_OF_G, U1));
  }
  clearSum();
  for (let at = places - 1; at >= 0; at--) {
    doubleSum<C>();
    addDigit<C>(load<i8>(DIGITS + at), ODD);
    if (withGenerator) addDigit<C>(load<i8>(DIGITS_OF_G + at), ODD_OF_G);
  }
  return true;
}

/**
 * Checks a signature.
 *
 * @param signature r and s, big-endian, each of a coordinate's length
 * @param digest at least `length` octets
 * @param key a point that {@link readKey} took
 * @param table of that key, or 0
 * @param generatorTable of the curve's generator, or 0
 */
export function verify<C>(
  signature: usize,
  digest: usize,
  length: i32,
  key: usize,
  table: usize,
  generatorTable: usize,
): bool {
  if (!take<C>(0, signature, digest, length, table)) return false;
  if (table != 0 && generatorTable != 0) return verifyTogether<C>(1, generatorTable) == 1;
  multipliers<C>();
  collectPoints<C>(0, generatorTable);
  if (!multiplyFresh<C>(key, generatorTable == 0)) return false;
  sumUp<C>(1);
  return judge<C>(0);
}
