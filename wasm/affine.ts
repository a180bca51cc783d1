/**
 * Many affine sums at the price of one inversion: Montgomery's trick ("Speeding the Pollard and elliptic curve methods",
 * 1987) over the denominators of λ = (y2 − y1) / (x2 − x1), or 3(x² − 1) / 2y where a point is doubled.
 *
 * A sum costs 5 products and a square, against 8 and 3 in Jacobian coordinates.
 */
import { one, width } from "./curves";
import { addLazy, combine, copy, mul, mulSub, negate, reciprocal, sqr, sqrSubSub, subLazy } from "./field";

/** How many points of a table go together at most. */
export const TOGETHER: i32 = 96;

const LEFT = memory.data(384 * 4, 8);
const RIGHT = memory.data(384 * 4, 8);
const OUT = memory.data(384 * 4, 8);
export const DENOMINATORS: usize = memory.data(192 * 18 * 8, 8);
export const PRODUCTS: usize = memory.data(193 * 18 * 8, 8);

/** How many sums go together at most: 384 (of twins as well), 265 or 192. */
export function together<C>(): i32 {
  return (192 * 18 * 8) / width<C>();
}

const INVERSE = memory.data(18 * 8, 8);
const SLOPE = memory.data(18 * 8, 8);
const X = memory.data(18 * 8, 8);
const SPARE = memory.data(18 * 8, 8);
const ZERO = memory.data(18 * 8, 8);

/** The sum number `index` of the next round: out = left + right. The same pointer twice is a doubling. */
export function plan(index: i32, left: usize, right: usize, out: usize): void {
  store<u32>(LEFT + 4 * index, <u32>left);
  store<u32>(RIGHT + 4 * index, <u32>right);
  store<u32>(OUT + 4 * index, <u32>out);
}

export function plannedLeft(index: i32): usize {
  return load<u32>(LEFT + 4 * index);
}
export function plannedRight(index: i32): usize {
  return load<u32>(RIGHT + 4 * index);
}
export function plannedOut(index: i32): usize {
  return load<u32>(OUT + 4 * index);
}

/**
 * Does the first `count` planned sums, and nothing when one of them needs another formula: a sum that is infinity, or a
 * doubling that was not planned as one.
 *
 * @returns whether they were done
 */
export function addPlanned<C>(count: i32): bool {
  let denominator = DENOMINATORS;
  let before = PRODUCTS;
  copy<C>(before, one<C>());
  for (let i = 0; i < count; i++) {
    const left = plannedLeft(i);
    const right = plannedRight(i);
    if (left == right) addLazy<C>(denominator, left + width<C>(), left + width<C>());
    else subLazy<C>(denominator, right, left);
    mul<C>(before + width<C>(), before, denominator);
    before += width<C>();
    denominator += width<C>();
  }
  if (!reciprocal<C>(INVERSE, before)) return false;
  for (let i = count - 1; i >= 0; i--) {
    const left = plannedLeft(i);
    const right = plannedRight(i);
    const out = plannedOut(i);
    before -= width<C>();
    denominator -= width<C>();
    mul<C>(SLOPE, INVERSE, before);
    mul<C>(INVERSE, INVERSE, denominator);
    if (left == right) {
      sqr<C>(SPARE, left);
      subLazy<C>(SPARE, SPARE, one<C>());
      combine<C>(SPARE, 3, SPARE, ZERO);
    } else subLazy<C>(SPARE, right + width<C>(), left + width<C>());
    mul<C>(SLOPE, SLOPE, SPARE);
    sqrSubSub<C>(X, SLOPE, left, right);
    subLazy<C>(SPARE, left, X);
    mulSub<C>(out + width<C>(), SLOPE, SPARE, left + width<C>());
    copy<C>(out, X);
  }
  return true;
}

/**
 * Jacobian points, one after the other at `from`, as affine ones at `to`.
 *
 * @param count at most TOGETHER; no point is infinity
 */
export function toAffine<C>(to: usize, from: usize, count: i32): bool {
  let before = PRODUCTS;
  copy<C>(before, one<C>());
  for (let i = 0; i < count; i++) {
    mul<C>(before + width<C>(), before, from + 3 * i * width<C>() + 2 * width<C>());
    before += width<C>();
  }
  if (!reciprocal<C>(INVERSE, before)) return false;
  for (let i = count - 1; i >= 0; i--) {
    const point = from + 3 * i * width<C>();
    before -= width<C>();
    mul<C>(SLOPE, INVERSE, before);
    mul<C>(INVERSE, INVERSE, point + 2 * width<C>());
    sqr<C>(SPARE, SLOPE);
    mul<C>(to + 2 * i * width<C>(), SPARE, point);
    mul<C>(SPARE, SPARE, SLOPE);
    mul<C>(to + 2 * i * width<C>() + width<C>(), SPARE, point + width<C>());
  }
  return true;
}

/** r = −point. */
export function opposite<C>(r: usize, point: usize): void {
  copy<C>(r, point);
  negate<C>(r + width<C>(), point + width<C>());
}
