/**
 * Elements of the field of P-256 two by two, one in each lane of a vector, so that one instruction does for both what p256.ts
 * does for one: the same limbs, products and rules of tight and loose.
 *
 * A pair lies in memory as limbs of 32 bits, in turn one of the first and one of the second: a loose limb has 30 and a sign.
 * Vectors have no signed shift of 64 bits that is fast on all engines. So a column carries 2^62 + 2^28 beside its value, which
 * makes it positive: then its lowest bits less 2^28 are the limb that is nearest to 0, and the rest is the carry plus 2^33.
 */
import { limbs, P256 } from "./curves";

/** Octets of a pair of elements. */
export const PAIR: i32 = 72;

/** What a column carries beside its value, and before it has taken its carry. */
const BIAS: i64 = ((<i64>1) << 62) + ((<i64>1) << 28);
const BIAS_LESS_CARRY: i64 = BIAS - ((<i64>1) << 33);

/** The pair of two elements, each of tight limbs. */
export function pair(r: usize, a: usize, b: usize): void {
  for (let i = 0; i < limbs<P256>(); i++) {
    store<i32>(r + 8 * i, <i32>load<i64>(a + 8 * i));
    store<i32>(r + 8 * i, <i32>load<i64>(b + 8 * i), 4);
  }
}

/** r = the pair of two elements as tables have them, limbs of 32 bits in a row, each element times a sign. */
export function pairLimbs(r: usize, a: usize, signOfA: i32, b: usize, signOfB: i32): void {
  const s = i32x4.splat(signOfA);
  const t = i32x4.splat(signOfB);
  for (let i = 0; i < 32; i += 16) {
    const x = i32x4.mul(v128.load(a + i), s);
    const y = i32x4.mul(v128.load(b + i), t);
    v128.store(r + 2 * i, v128.shuffle<i32>(x, y, 0, 4, 1, 5));
    v128.store(r + 2 * i, v128.shuffle<i32>(x, y, 2, 6, 3, 7), 16);
  }
  store<i32>(r, load<i32>(a, 32) * signOfA, 64);
  store<i32>(r, load<i32>(b, 32) * signOfB, 68);
}

/** r = the first of a pair (lane 0) or the second (lane 1). */
export function ofLane(r: usize, a: usize, lane: i32): void {
  for (let i = 0; i < limbs<P256>(); i++) store<i64>(r + 8 * i, <i64>load<i32>(a + 8 * i + 4 * lane));
}

/** r = a. */
export function copyPair(r: usize, a: usize): void {
  for (let i = 0; i < 64; i += 16) v128.store(r + i, v128.load(a + i));
  v128.store64_lane(r, v128.load64_zero(a, 64), 0, 64);
}

/** r = a − b, loose. */
export function subPair(r: usize, a: usize, b: usize): void {
  for (let i = 0; i < 64; i += 16) v128.store(r + i, i32x4.sub(v128.load(a + i), v128.load(b + i)));
  v128.store64_lane(r, i32x4.sub(v128.load64_zero(a, 64), v128.load64_zero(b, 64)), 0, 64);
}

/** r = a · b. a tight, b loose. */
export function mulPair(r: usize, a: usize, b: usize): void {
  product<u8>(r, a, b, 0, 0);
}

/** r = a · b − c. a tight, b loose. */
export function mulSubPair(r: usize, a: usize, b: usize, c: usize): void {
  product<u16>(r, a, b, c, 0);
}

/** r = a² − c − d. a tight. */
export function sqrSubSubPair(r: usize, a: usize, c: usize, d: usize): void {
  product<u32>(r, a, a, c, d);
}

/** The largest limb of a pair in units of a tight one, rounded up. */
function sizeOfPair(a: usize): i32 {
  let most = 0;
  for (let i = 0; i < PAIR; i += 4) most = max(most, abs(load<i32>(a + i)));
  return (most + 0x0fffffff) >> 28;
}

/** r = a · b / 2^261 (K = u8), − c (K = u16), − c − d (K = u32). */
function product<K>(r: usize, a: usize, b: usize, c: usize, d: usize): void {
  if (CHECK) if (sizeOfPair(a) * sizeOfPair(b) > 2) unreachable();
  const next = i64x2.splat(BIAS_LESS_CARRY);
  let t0 = i64x2.splat(BIAS);
  let t1 = next;
  let t2 = next;
  let t3 = next;
  let t4 = next;
  let t5 = next;
  let t6 = next;
  let t7 = next;
  let t8 = next;
  // limbs of b are read anew in each row: beside nine columns there are no registers for them
  for (let end = a + PAIR; a < end; a += 8) {
    const x = v128.load64_splat(a);
    t0 = i64x2.add(t0, i64x2.extmul_low_i32x4_s(x, v128.load(b)));
    const m = i64x2.sub(v128.and(t0, i64x2.splat(0x1fffffff)), i64x2.splat(0x10000000));
    const carry = i64x2.shr_u(t0, 29);
    t0 = i64x2.add(i64x2.add(t1, i64x2.extmul_high_i32x4_s(x, v128.load(b))), carry);
    t1 = i64x2.add(t2, i64x2.extmul_low_i32x4_s(x, v128.load(b, 16)));
    t2 = i64x2.add(i64x2.add(t3, i64x2.extmul_high_i32x4_s(x, v128.load(b, 16))), i64x2.shl(m, 9));
    t3 = i64x2.add(t4, i64x2.extmul_low_i32x4_s(x, v128.load(b, 32)));
    t4 = i64x2.add(t5, i64x2.extmul_high_i32x4_s(x, v128.load(b, 32)));
    t5 = i64x2.add(i64x2.add(t6, i64x2.extmul_low_i32x4_s(x, v128.load(b, 48))), i64x2.shl(m, 18));
    t6 = i64x2.sub(i64x2.add(t7, i64x2.extmul_high_i32x4_s(x, v128.load(b, 48))), i64x2.shl(m, 21));
    t7 = i64x2.add(i64x2.add(t8, i64x2.extmul_low_i32x4_s(x, v128.load64_zero(b, 64))), i64x2.shl(m, 24));
    t8 = next;
  }
  if (sizeof<K>() >= 2) {
    t0 = i64x2.sub(t0, v128.load_ext<i32>(c));
    t1 = i64x2.sub(t1, v128.load_ext<i32>(c, 8));
    t2 = i64x2.sub(t2, v128.load_ext<i32>(c, 16));
    t3 = i64x2.sub(t3, v128.load_ext<i32>(c, 24));
    t4 = i64x2.sub(t4, v128.load_ext<i32>(c, 32));
    t5 = i64x2.sub(t5, v128.load_ext<i32>(c, 40));
    t6 = i64x2.sub(t6, v128.load_ext<i32>(c, 48));
    t7 = i64x2.sub(t7, v128.load_ext<i32>(c, 56));
    t8 = i64x2.sub(t8, v128.load_ext<i32>(c, 64));
  }
  if (sizeof<K>() >= 4) {
    t0 = i64x2.sub(t0, v128.load_ext<i32>(d));
    t1 = i64x2.sub(t1, v128.load_ext<i32>(d, 8));
    t2 = i64x2.sub(t2, v128.load_ext<i32>(d, 16));
    t3 = i64x2.sub(t3, v128.load_ext<i32>(d, 24));
    t4 = i64x2.sub(t4, v128.load_ext<i32>(d, 32));
    t5 = i64x2.sub(t5, v128.load_ext<i32>(d, 40));
    t6 = i64x2.sub(t6, v128.load_ext<i32>(d, 48));
    t7 = i64x2.sub(t7, v128.load_ext<i32>(d, 56));
    t8 = i64x2.sub(t8, v128.load_ext<i32>(d, 64));
  }
  t1 = i64x2.add(t1, i64x2.shr_u(t0, 29));
  putLimbs(r, t0, t1);
  t2 = i64x2.add(t2, i64x2.shr_u(t1, 29));
  t3 = i64x2.add(t3, i64x2.shr_u(t2, 29));
  putLimbs(r + 16, t2, t3);
  t4 = i64x2.add(t4, i64x2.shr_u(t3, 29));
  t5 = i64x2.add(t5, i64x2.shr_u(t4, 29));
  putLimbs(r + 32, t4, t5);
  t6 = i64x2.add(t6, i64x2.shr_u(t5, 29));
  t7 = i64x2.add(t7, i64x2.shr_u(t6, 29));
  putLimbs(r + 48, t6, t7);
  t8 = i64x2.sub(i64x2.add(t8, i64x2.shr_u(t7, 29)), i64x2.splat(BIAS));
  v128.store64_lane(r, v128.shuffle<i32>(t8, t8, 0, 2, 4, 6), 0, 64);
  if (CHECK) if (sizeOfPair(r) > 1) unreachable();
}

/** Stores the limbs of two columns. */
function putLimbs(r: usize, low: v128, high: v128): void {
  const both = v128.and(v128.shuffle<i32>(low, high, 0, 2, 4, 6), i32x4.splat(0x1fffffff));
  v128.store(r, i32x4.sub(both, i32x4.splat(0x10000000)));
}
