/**
 * Signatures that are checked together, each with its own verdict and as if it were alone: what they share are inversions.
 *
 * The numbers s are inverted at once, and so are the denominators of affine sums (Montgomery's trick, see affine.ts). A
 * signature's points, one entry per window of both tables, are added pairwise, in rounds of all signatures, while a round
 * saves more than its inversions cost; the rest in Jacobian coordinates. On P-256 they lie and are added two by two (twins.ts):
 * there a pair is one of twins, and of an odd number of points the last one waits for the end.
 */
import {
  bits,
  lanes,
  limbs,
  octets,
  orderInverse,
  orderSquare,
  orderWords,
  primeWords,
  squareOfR,
  width,
  words,
} from "./curves";
import { addPlanned, plan, together } from "./affine";
import { isZero, mul, mulSub, settle, sqr } from "./field";
import { invert } from "./inverse";
import { addToSum, clearSum, SUM, sumIsInfinity } from "./point";
import { addWords, compare, isZeroWords, mulOrder } from "./scalar";
import { collect, find, generatorWindow, keyWindow, POINTS, POINTS_SIZE, windows } from "./table";
import { addLaneToSum, addPlannedTwins, settleTwin, TWIN } from "./twins";
import { pack, reverse, unpack } from "./words";

/** Signatures of a batch at most. */
const MOST: i32 = 32;
/** As many pairs of points as still make a round of affine sums cheaper than Jacobian ones. */
const WORTH_A_ROUND: i32 = 14;
/** Rounds after which an x is made small again, as each may double it. */
const ROUNDS_UNSETTLED: i32 = 3;

/** Octets of a number's words. */
const NUMBER = 20 * 8;
const R = memory.data(32 * 20 * 8, 8);
const S = memory.data(32 * 20 * 8, 8);
const E = memory.data(32 * 20 * 8, 8);
const TABLES = memory.data(32 * 4, 8);
/** How many points, or twins, of a signature are left to be added, and how far they are apart. */
const COUNTS = memory.data(32 * 4, 8);
const STRIDES = memory.data(32 * 4, 8);
/** Where a signature has the point that has no twin; 0 for none. */
const SINGLES = memory.data(32 * 4, 8);
/** A bit for each signature whose points met in a round. */
let stuck: i32 = 0;

const SO_FAR = memory.data(32 * 20 * 8, 8);
const INVERSE = memory.data(20 * 8, 8);
const W = memory.data(20 * 8, 8);
const BYTES = memory.data(88, 8);
const X = memory.data(18 * 8, 8);
const Y = memory.data(18 * 8, 8);
/** The multiples of one signature, little-endian. */
export const U1 = memory.data(88, 8);
export const U2 = memory.data(88, 8);

/** Octets of a point, or of a twin. */
function unit<C>(): i32 {
  return lanes<C>() == 2 ? TWIN : 2 * width<C>();
}

/** Octets of a signature's points. */
function pointsSize<C>(): i32 {
  return ((windows<C>(generatorWindow<C>()) + windows<C>(keyWindow<C>()) + lanes<C>() - 1) / lanes<C>()) * unit<C>();
}

/** Signatures on a curve that are checked together at most: of the larger ones fewer, whose points take more room. */
export function roomFor<C>(): i32 {
  return min(MOST, POINTS_SIZE / pointsSize<C>());
}

/**
 * Takes a signature to a place from 0 to {@link roomFor} − 1.
 *
 * @param signature r and s, big-endian, each of a coordinate's length
 * @param digest at least `length` octets
 * @param table of its key
 * @returns whether r and s are from 1 to n − 1; if not it is invalid, and the place still free
 */
export function take<C>(place: i32, signature: usize, digest: usize, length: i32, table: usize): bool {
  const count = words<C>();
  const r = R + place * NUMBER;
  const s = S + place * NUMBER;
  reverse(BYTES, signature, octets<C>());
  unpack(r, count, 30, BYTES);
  reverse(BYTES, signature + octets<C>(), octets<C>());
  unpack(s, count, 30, BYTES);
  const order = orderWords<C>();
  if (isZeroWords(r, count) || compare(r, order, count) >= 0) return false;
  if (isZeroWords(s, count) || compare(s, order, count) >= 0) return false;
  // the leftmost bits of a hash that is longer than the order: whole octets for all three curves
  reverse(BYTES, digest, min(length, octets<C>()));
  unpack(E + place * NUMBER, count, 30, BYTES);
  store<u32>(TABLES + 4 * place, <u32>table);
  store<i32>(COUNTS + 4 * place, 0);
  return true;
}

/** s = 1 / s for the first `many` signatures. */
function invertAll<C>(many: i32): void {
  const count = words<C>();
  const order = orderWords<C>();
  const size = 8 * count;
  // s0 … si / 2^(30 · words · i); the powers of two go away on the way back
  memory.copy(SO_FAR, S, size);
  for (let i = 1; i < many; i++) {
    mulOrder(SO_FAR + i * NUMBER, SO_FAR + (i - 1) * NUMBER, S + i * NUMBER, order, orderInverse<C>(), count);
  }
  memory.copy(INVERSE, SO_FAR + (many - 1) * NUMBER, size);
  invert(INVERSE, order, orderInverse<C>(), count);
  for (let i = many - 1; i > 0; i--) {
    const s = S + i * NUMBER;
    mulOrder(W, INVERSE, SO_FAR + (i - 1) * NUMBER, order, orderInverse<C>(), count);
    mulOrder(INVERSE, INVERSE, s, order, orderInverse<C>(), count);
    memory.copy(s, W, size);
  }
  memory.copy(S, INVERSE, size);
}

/** U1 = e/s and U2 = r/s of a signature whose s is inverted. */
function multiply<C>(place: i32): void {
  const count = words<C>();
  const order = orderWords<C>();
  const s = S + place * NUMBER;
  mulOrder(s, s, orderSquare<C>(), order, orderInverse<C>(), count);
  mulOrder(W, E + place * NUMBER, s, order, orderInverse<C>(), count);
  pack(U1, W, count, 30);
  mulOrder(W, R + place * NUMBER, s, order, orderInverse<C>(), count);
  pack(U2, W, count, 30);
}

/** U1 and U2 of the signature that is alone. */
export function multipliers<C>(): void {
  invertAll<C>(1);
  multiply<C>(0);
}

/** The points of a signature: entries of the generator's table, if there is one, and of its key's, if there are both. */
export function collectPoints<C>(place: i32, generatorTable: usize): void {
  const points = POINTS + place * pointsSize<C>();
  const table: usize = load<u32>(TABLES + 4 * place);
  let count = 0;
  if (generatorTable != 0) {
    count = find<C>(0, U1, generatorTable, generatorWindow<C>());
    if (table != 0) count = find<C>(count, U2, table, keyWindow<C>());
    collect<C>(points, count);
  }
  const units = count / lanes<C>();
  store<i32>(COUNTS + 4 * place, units);
  store<i32>(STRIDES + 4 * place, unit<C>());
  store<u32>(SINGLES + 4 * place, count % lanes<C>() == 0 ? 0 : <u32>(points + units * unit<C>()));
}

function pairsOf(place: i32): i32 {
  return (stuck >> place) & 1 ? 0 : load<i32>(COUNTS + 4 * place) >> 1;
}

/** Plans the sums of a signature's pairs behind the first `planned`. */
function planPairs<C>(place: i32, planned: i32): i32 {
  const pairs = pairsOf(place);
  const stride = load<i32>(STRIDES + 4 * place);
  let left = POINTS + place * pointsSize<C>();
  for (let i = 0; i < pairs; i++, left += 2 * stride) plan(planned + i, left, left + stride, left);
  return planned + pairs;
}

/** What a round leaves of a signature's points. */
function halve<C>(place: i32, round: i32): void {
  const pairs = pairsOf(place);
  if (pairs == 0) return;
  const count = load<i32>(COUNTS + 4 * place) - pairs;
  const stride = load<i32>(STRIDES + 4 * place) << 1;
  store<i32>(COUNTS + 4 * place, count);
  store<i32>(STRIDES + 4 * place, stride);
  if (round % ROUNDS_UNSETTLED != 0) return;
  let point = POINTS + place * pointsSize<C>();
  for (let i = 0; i < count; i++, point += stride) {
    if (lanes<C>() == 2) settleTwin(point);
    else settle<C>(point, point);
  }
}

/** Adds points pairwise, round by round, in the first `many` signatures. */
export function sumUp<C>(many: i32): void {
  stuck = 0;
  for (let round = 1; ; round++) {
    let pairs = 0;
    for (let i = 0; i < many; i++) pairs += pairsOf(i);
    if (pairs * lanes<C>() < WORTH_A_ROUND) return;
    for (let first = 0, next = 0; first < many; first = next) {
      let planned = 0;
      while (next < many && planned + pairsOf(next) <= together<C>()) planned = planPairs<C>(next++, planned);
      const done = lanes<C>() == 2 ? addPlannedTwins(planned) : addPlanned<C>(planned);
      for (let i = first; i < next; i++) {
        // what does not fit the round's formula is left to the complete one
        if (done) halve<C>(i, round);
        else stuck |= 1 << i;
      }
    }
  }
}

/** sum += the points that are left of a signature, and whether the sum's x is its r. */
export function judge<C>(place: i32): bool {
  const count = load<i32>(COUNTS + 4 * place);
  const stride = load<i32>(STRIDES + 4 * place);
  let point = POINTS + place * pointsSize<C>();
  for (let i = 0; i < count; i++, point += stride) {
    if (lanes<C>() == 2) {
      addLaneToSum(point, 0);
      addLaneToSum(point, 1);
    } else addToSum<C>(point);
  }
  const single: usize = load<u32>(SINGLES + 4 * place);
  if (lanes<C>() == 2 && single != 0) addLaneToSum(single, 0);
  return sumHasX<C>(R + place * NUMBER);
}

/** Whether x of the sum is r modulo n: X is r · Z², or (r + n) · Z² where r + n is below p. */
function sumHasX<C>(r: usize): bool {
  if (sumIsInfinity) return false;
  sqr<C>(Y, SUM + 2 * width<C>());
  for (let turn = 0; turn < 2; turn++) {
    if (compare(r, primeWords<C>(), words<C>()) >= 0) return false;
    pack(BYTES, r, words<C>(), 30);
    unpack(X, limbs<C>(), bits<C>(), BYTES);
    mul<C>(X, squareOfR<C>(), X);
    mulSub<C>(X, X, Y, SUM);
    if (isZero<C>(X)) return true;
    addWords(r, r, orderWords<C>(), words<C>());
  }
  return false;
}

/** Checks the first `many` signatures that were taken, all of whose keys have tables; bit i is the verdict of number i. */
export function verifyTogether<C>(many: i32, generatorTable: usize): i32 {
  invertAll<C>(many);
  for (let i = 0; i < many; i++) {
    multiply<C>(i);
    collectPoints<C>(i, generatorTable);
  }
  sumUp<C>(many);
  let valid = 0;
  for (let i = 0; i < many; i++) {
    clearSum();
    if (judge<C>(i)) valid |= 1 << i;
  }
  return valid;
}
