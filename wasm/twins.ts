/** Points of P-256 two by two, in the lanes of vectors: sums of two pairs of points take the time of little more than one. */
import { DENOMINATORS, PRODUCTS, plannedLeft, plannedOut, plannedRight } from "./affine";
import { one, P256, width } from "./curves";
import { mul, reciprocal } from "./field";
import { copyPair, mulPair, mulSubPair, ofLane, PAIR, pair, pairLimbs, sqrSubSubPair, subPair } from "./lanes";
import { addToSum } from "./point";

/** Octets of two points: the pair of their x, and that of their y. */
export const TWIN: i32 = 2 * PAIR;

const INVERSE = memory.data(72, 16);
const SLOPE = memory.data(72, 16);
const X = memory.data(72, 16);
const SPARE = memory.data(72, 16);
const FIRST = memory.data(9 * 8, 8);
const SECOND = memory.data(9 * 8, 8);
const BOTH = memory.data(9 * 8, 8);
const POINT = memory.data(2 * 9 * 8, 8);

/** The twin of two entries of tables, or of their opposites where a sign is −1. */
export function setTwin(twin: usize, a: usize, signOfA: i32, b: usize, signOfB: i32): void {
  pairLimbs(twin, a, 1, b, 1);
  pairLimbs(twin + PAIR, a + PAIR / 2, signOfA, b + PAIR / 2, signOfB);
}

/** Does the first `count` planned sums of twins: `addPlanned` of affine.ts in both lanes, without doublings. */
export function addPlannedTwins(count: i32): bool {
  let denominator = DENOMINATORS;
  let before = PRODUCTS;
  pair(before, one<P256>(), one<P256>());
  for (let i = 0; i < count; i++) {
    subPair(denominator, plannedRight(i), plannedLeft(i));
    mulPair(before + PAIR, before, denominator);
    before += PAIR;
    denominator += PAIR;
  }
  // one inverse for both lanes
  ofLane(FIRST, before, 0);
  ofLane(SECOND, before, 1);
  mul<P256>(BOTH, FIRST, SECOND);
  if (!reciprocal<P256>(BOTH, BOTH)) return false;
  mul<P256>(SECOND, BOTH, SECOND);
  mul<P256>(FIRST, BOTH, FIRST);
  pair(INVERSE, SECOND, FIRST);
  for (let i = count - 1; i >= 0; i--) {
    const left = plannedLeft(i);
    const right = plannedRight(i);
    const out = plannedOut(i);
    before -= PAIR;
    denominator -= PAIR;
    mulPair(SLOPE, INVERSE, before);
    mulPair(INVERSE, INVERSE, denominator);
    subPair(SPARE, right + PAIR, left + PAIR);
    mulPair(SLOPE, SLOPE, SPARE);
    sqrSubSubPair(X, SLOPE, left, right);
    subPair(SPARE, left, X);
    mulSubPair(out + PAIR, SLOPE, SPARE, left + PAIR);
    copyPair(out, X);
  }
  return true;
}

/** Makes the x of both points small again: see `settle` of field.ts. */
export function settleTwin(twin: usize): void {
  pair(SPARE, one<P256>(), one<P256>());
  mulPair(twin, SPARE, twin);
}

/** sum += one point of a twin. */
export function addLaneToSum(twin: usize, lane: i32): void {
  ofLane(POINT, twin, lane);
  ofLane(POINT + width<P256>(), twin + PAIR, lane);
  addToSum<P256>(POINT);
}
