/**
 * The table of a fixed point: k · 2^(wi) · P for every window i and k from 1 to 2^(w−1), so that a multiple of P is a sum
 * of one entry per window and needs no doubling (Yao's method with signed digits: Brickell, Gordon, McCurley and Wilson,
 * "Fast exponentiation with precomputation", 1992). Entries are affine, limbs of 32 bits.
 */
import { lanes, limbs, orderBits, width } from "./curves";
import { addPlanned, plan, toAffine, TOGETHER } from "./affine";
import { settle } from "./field";
import { doubleSum, setSum, SUM } from "./point";
import { setTwin, TWIN } from "./twins";
import { bitsAt } from "./words";

/** Octets of the points below: those of 32 signatures on P-256, as twins. */
export const POINTS_SIZE: i32 = 16 * 70 * 2 * 9 * 8;
/** Points in full width, shared by everything that needs many at once. */
export const POINTS: usize = memory.data(16 * 70 * 2 * 9 * 8, 8);

const JACOBIAN = memory.data(96 * 3 * 18 * 8, 8);
const TARGETS = memory.data(96 * 4, 8);
const SETTLED = memory.data(18 * 8, 8);

/** Window bits of the generator's table and of a key's table. */
export function generatorWindow<C>(): i32 {
  return sizeof<C>() == 1 ? 8 : 6;
}
export function keyWindow<C>(): i32 {
  return sizeof<C>() == 1 ? 7 : 5;
}

/** Windows of w bits that hold a number below the order, the carry of a signed digit included. */
export function windows<C>(w: i32): i32 {
  return orderBits<C>() / w + 1;
}

function entrySize<C>(): i32 {
  return 8 * limbs<C>();
}

/** Octets of a table. */
export function tableSize<C>(w: i32): i32 {
  return (windows<C>(w) << (w - 1)) * entrySize<C>();
}

function packPoint<C>(entry: usize, point: usize): void {
  for (let half = 0; half < 2; half++) {
    settle<C>(SETTLED, point + half * width<C>());
    for (let i = 0; i < limbs<C>(); i++) {
      store<i32>(entry + 4 * (half * limbs<C>() + i), <i32>load<i64>(SETTLED + 8 * i));
    }
  }
}

/** The entry's point, or with sign = −1 its opposite. */
function unpackPoint<C>(point: usize, entry: usize, sign: i64): void {
  const y = limbs<C>();
  for (let i = 0; i < y; i++) {
    store<i64>(point + 8 * i, <i64>load<i32>(entry + 4 * i));
    store<i64>(point + 8 * (y + i), sign * <i64>load<i32>(entry + 4 * (y + i)));
  }
}

/** Makes the table of an affine point that is no multiple of a small order. */
export function buildTable<C>(table: usize, point: usize, w: i32): bool {
  const count = windows<C>(w);
  const span = entrySize<C>() << (w - 1);
  setSum<C>(point);
  for (let first = 0; first < count; first += TOGETHER) {
    const many = min(count - first, TOGETHER);
    for (let i = 0; i < many; i++) {
      memory.copy(JACOBIAN + 3 * i * width<C>(), SUM, 3 * width<C>());
      for (let j = 0; j < w; j++) doubleSum<C>();
    }
    if (!toAffine<C>(POINTS, JACOBIAN, many)) return false;
    for (let i = 0; i < many; i++) packPoint<C>(table + (first + i) * span, POINTS + 2 * i * width<C>());
  }
  for (let known = 1; known < 1 << (w - 1); known <<= 1) {
    let planned = 0;
    for (let i = 0; i < count; i++) {
      const row = table + i * span;
      // the known entries plus the highest of them; that one is doubled
      for (let k = 1; k <= known; k++) {
        const left = POINTS + 4 * planned * width<C>();
        const right = k == known ? left : left + 2 * width<C>();
        unpackPoint<C>(left, row + (k - 1) * entrySize<C>(), 1);
        if (right != left) unpackPoint<C>(right, row + (known - 1) * entrySize<C>(), 1);
        plan(planned, left, right, left);
        store<u32>(TARGETS + 4 * planned, <u32>(row + (known + k - 1) * entrySize<C>()));
        if (++planned == TOGETHER) {
          if (!finish<C>(planned)) return false;
          planned = 0;
        }
      }
    }
    if (planned > 0 && !finish<C>(planned)) return false;
  }
  return true;
}

function finish<C>(planned: i32): bool {
  if (!addPlanned<C>(planned)) return false;
  for (let i = 0; i < planned; i++) packPoint<C>(load<u32>(TARGETS + 4 * i), POINTS + 4 * i * width<C>());
  return true;
}

/** Entries that were found last, in their order; the lowest bit is set for an entry whose opposite is meant. */
const ENTRIES = memory.data(192 * 4, 8);

/**
 * Finds the entries whose sum is scalar · P, behind the first `count` that were found.
 *
 * @param scalar below the order, little-endian
 * @returns how many there are now
 */
export function find<C>(count: i32, scalar: usize, table: usize, w: i32): i32 {
  const rows = windows<C>(w);
  const span = entrySize<C>() << (w - 1);
  const half = 1 << (w - 1);
  let carry = 0;
  for (let i = 0; i < rows; i++) {
    let digit = bitsAt(scalar, i * w, w) + carry;
    carry = digit > half ? 1 : 0;
    digit -= carry << w;
    if (digit == 0) continue;
    const opposite = digit < 0 ? 1 : 0;
    const size = digit < 0 ? -digit : digit;
    store<u32>(ENTRIES + 4 * count++, <u32>(table + i * span + (size - 1) * entrySize<C>()) | opposite);
  }
  return count;
}

function entryAt(index: i32): usize {
  return load<u32>(ENTRIES + 4 * index) & ~1;
}

function signAt(index: i32): i32 {
  return 1 - ((load<u32>(ENTRIES + 4 * index) & 1) << 1);
}

/** Puts the first `count` entries that were found to `points`. */
export function collect<C>(points: usize, count: i32): void {
  if (lanes<C>() == 1) {
    for (let i = 0; i < count; i++) unpackPoint<C>(points + 2 * i * width<C>(), entryAt(i), signAt(i));
    return;
  }
  for (let i = 0; i < count; i += 2) {
    // one that has no twin stands beside itself
    const next = min(i + 1, count - 1);
    setTwin(points + (i >> 1) * TWIN, entryAt(i), signAt(i), entryAt(next), signAt(next));
  }
}
