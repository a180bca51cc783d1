/**
 * The three curves as type markers, so that every function is compiled once per curve with its sizes as constants.
 *
 * AssemblyScript has generics but no static dispatch on classes; the size of a marker type tells the curves apart.
 */
import { BLOCK_256, BLOCK_384, BLOCK_521 } from "./constants";

export type P256 = u8;
export type P384 = u16;
export type P521 = u32;

/** Limbs of a field element. */
export function limbs<C>(): i32 {
  return sizeof<C>() == 1 ? 9 : sizeof<C>() == 2 ? 13 : 18;
}

/** Bits of a limb. */
export function bits<C>(): i32 {
  return sizeof<C>() == 2 ? 30 : 29;
}

/** Octets of a field element in memory. */
export function width<C>(): i32 {
  return 8 * limbs<C>();
}

/** Octets of a coordinate, of r and of s on the wire. */
export function octets<C>(): i32 {
  return sizeof<C>() == 1 ? 32 : sizeof<C>() == 2 ? 48 : 66;
}

/** Bits of the group's order. */
export function orderBits<C>(): i32 {
  return sizeof<C>() == 1 ? 256 : sizeof<C>() == 2 ? 384 : 521;
}

/** Points of a signature that are summed at once, each in its lane of a vector (twins.ts); 1 where there are no vectors. */
export function lanes<C>(): i32 {
  return sizeof<C>() == 1 ? 2 : 1;
}

/** Words of 30 bits of a number modulo the group's order or of a canonical field element. */
export function words<C>(): i32 {
  return sizeof<C>() == 1 ? 9 : sizeof<C>() == 2 ? 13 : 18;
}

function block<C>(): usize {
  return sizeof<C>() == 1 ? BLOCK_256 : sizeof<C>() == 2 ? BLOCK_384 : BLOCK_521;
}

/** R modulo p: one in Montgomery's form. */
export function one<C>(): usize {
  return block<C>();
}

/** R² modulo p: takes a number into Montgomery's form. */
export function squareOfR<C>(): usize {
  return block<C>() + width<C>();
}

/** R³ modulo p: takes the inverse of aR to the inverse of a, times R. */
export function cubeOfR<C>(): usize {
  return block<C>() + 2 * width<C>();
}

/** The curve's coefficient b. */
export function coefficient<C>(): usize {
  return block<C>() + 3 * width<C>();
}

/** The generator, x before y. */
export function generator<C>(): usize {
  return block<C>() + 4 * width<C>();
}

/** p in limbs from 0. */
export function primeLimbs<C>(): usize {
  return block<C>() + 6 * width<C>();
}

/** p in words of 30 bits. */
export function primeWords<C>(): usize {
  return block<C>() + 7 * width<C>();
}

/** The group's order in words of 30 bits. */
export function orderWords<C>(): usize {
  return block<C>() + 7 * width<C>() + 8 * words<C>();
}

/** The square of 2^(30 · words) modulo the order. */
export function orderSquare<C>(): usize {
  return block<C>() + 7 * width<C>() + 16 * words<C>();
}

/** The inverse of p modulo 2^30. */
export function primeInverse<C>(): i64 {
  return load<i64>(block<C>() + 7 * width<C>() + 24 * words<C>());
}

/** The inverse of the order modulo 2^30. */
export function orderInverse<C>(): i64 {
  return load<i64>(block<C>() + 7 * width<C>() + 24 * words<C>() + 8);
}
