/**
 * One running sum in Jacobian coordinates, (X/Z², Y/Z³), on y² = x³ − 3x + b.
 *
 * Formulas after Cohen, Miyaji and Ono (1998) and Bernstein's "dbl-2001-b", regrouped so that no product is loose by
 * loose. Every case is handled: the sum at infinity, a point added to itself, a point added to its opposite.
 */
import { one, width } from "./curves";
import { addLazy, combine, copy, isZero, mul, mulSub, mulSubSub, sqr, sqrSubSub, subLazy } from "./field";

/** Octets of a coordinate at most, for areas that all curves share. */
export const WIDEST: i32 = 18 * 8;

export const SUM: usize = memory.data(3 * 18 * 8, 8);
/** Whether the sum is the point at infinity; its coordinates then mean nothing. */
export let sumIsInfinity: bool = true;

const A = memory.data(18 * 8, 8);
const B = memory.data(18 * 8, 8);
const H = memory.data(18 * 8, 8);
const R = memory.data(18 * 8, 8);
const S = memory.data(18 * 8, 8);

export function clearSum(): void {
  sumIsInfinity = true;
}

/** sum = (x, y), an affine point. */
export function setSum<C>(point: usize): void {
  copy<C>(SUM, point);
  copy<C>(SUM + width<C>(), point + width<C>());
  copy<C>(SUM + 2 * width<C>(), one<C>());
  sumIsInfinity = false;
}

/** sum = 2 · sum. The group's order is odd, so no finite point has y = 0. */
export function doubleSum<C>(): void {
  if (sumIsInfinity) return;
  const x = SUM;
  const y = SUM + width<C>();
  const z = SUM + 2 * width<C>();
  sqr<C>(A, z);
  subLazy<C>(B, x, A);
  combine<C>(A, 1, x, A);
  mul<C>(A, A, B);
  // α = 3 · (X − Z²) · (X + Z²)
  combine<C>(A, 2, A, A);
  addLazy<C>(B, y, y);
  // Z' = 2 · Y · Z; β = X · (2Y)²; 2Y² squared twice gives 8 Y⁴
  mul<C>(R, y, B);
  mul<C>(z, z, B);
  addLazy<C>(B, x, x);
  mul<C>(B, R, B);
  sqr<C>(S, R);
  sqrSubSub<C>(x, A, B, B);
  subLazy<C>(B, B, x);
  mulSubSub<C>(y, A, B, S, S);
}

/** sum = sum + (x, y), an affine point. */
export function addToSum<C>(point: usize): void {
  if (sumIsInfinity) {
    setSum<C>(point);
    return;
  }
  const x = SUM;
  const y = SUM + width<C>();
  const z = SUM + 2 * width<C>();
  sqr<C>(A, z);
  mulSub<C>(H, A, point, x);
  mul<C>(A, A, z);
  mulSub<C>(R, A, point + width<C>(), y);
  if (isZero<C>(H)) {
    if (isZero<C>(R)) doubleSum<C>();
    else sumIsInfinity = true;
    return;
  }
  sqr<C>(A, H);
  mul<C>(z, z, H);
  mul<C>(B, x, A);
  mul<C>(A, A, H);
  addLazy<C>(S, A, B);
  sqrSubSub<C>(x, R, S, B);
  mul<C>(A, A, y);
  subLazy<C>(B, B, x);
  mulSub<C>(y, R, B, A);
}
