/**
 * Powers modulo an RSA modulus of 2,048 to 4,096 bits: Montgomery's product (1985), the double-length product first and its
 * reduction after it, two rows of each at a time.
 *
 * Numbers have limbs of 27 bits from 0, an even count of them with at least one bit to spare, so n is below R / 2. A column
 * of a product and its reduction is at most 2 · 152 · 2^54 and a carry, below 2^63. The reduction of a product of two numbers
 * below n leaves less than 2n, and a conditional subtraction less than n.
 */

/** Limbs of the largest modulus. */
const MOST: i32 = 152;
/** Bits of a limb. */
const LIMB: i32 = 27;
const MASK: u64 = (1 << 27) - 1;

const COLUMNS = memory.data((2 * 152 + 2) * 8, 8);
const N = memory.data(152 * 8, 8);
const BASE = memory.data(152 * 8, 8);
const LIFTED = memory.data(152 * 8, 8);
const POWER = memory.data(152 * 8, 8);

/** −1 / n modulo 2^27. */
let negated: u64 = 0;
let length: i32 = 0;

/** r = limbs of a big-endian number. */
function readLimbs(r: usize, from: usize, octets: i32): void {
  let held: u64 = 0;
  let bits = 0;
  let at = octets;
  for (let i = 0; i < length; i++) {
    while (bits < LIMB && at > 0) {
      held |= (<u64>load<u8>(from + --at)) << bits;
      bits += 8;
    }
    store<u64>(r + 8 * i, held & MASK);
    held >>= LIMB;
    bits -= LIMB;
  }
}

/** A number as big-endian octets. */
function writeLimbs(to: usize, octets: i32, from: usize): void {
  let held: u64 = 0;
  let bits = 0;
  let next = 0;
  for (let at = octets - 1; at >= 0; at--) {
    if (bits < 8 && next < length) {
      held |= load<u64>(from + 8 * next++) << bits;
      bits += LIMB;
    }
    store<u8>(to + at, <u8>held);
    held >>= 8;
    bits -= 8;
  }
}

/** Columns = a · b, two limbs of a at a time. */
function product(a: usize, b: usize): void {
  memory.fill(COLUMNS, 0, 16 * length);
  for (let i = 0; i < length; i += 2) {
    const x = load<u64>(a + 8 * i);
    const y = load<u64>(a + 8 * i, 8);
    let c = COLUMNS + 8 * i;
    let low = load<u64>(b);
    store<u64>(c, load<u64>(c) + x * low);
    for (let p = b + 8, end = b + 8 * length; p < end; p += 8) {
      const high = load<u64>(p);
      store<u64>(c, load<u64>(c, 8) + x * high + y * low, 8);
      low = high;
      c += 8;
    }
    store<u64>(c, load<u64>(c, 8) + y * low, 8);
  }
}

/** Columns = a², each product of two limbs once and doubled. */
function square(a: usize): void {
  memory.fill(COLUMNS, 0, 16 * length);
  for (let i = 0; i < length; i += 2) {
    const x = load<u64>(a + 8 * i);
    const y = load<u64>(a + 8 * i, 8);
    let c = COLUMNS + 16 * i;
    const twice = x << 1;
    const other = y << 1;
    store<u64>(c, load<u64>(c) + x * x);
    store<u64>(c, load<u64>(c, 8) + twice * y, 8);
    if (i + 2 < length) {
      let low = load<u64>(a + 8 * i, 16);
      store<u64>(c, load<u64>(c, 16) + y * y + twice * low, 16);
      for (let p = a + 8 * i + 24, end = a + 8 * length; p < end; p += 8) {
        const high = load<u64>(p);
        store<u64>(c, load<u64>(c, 24) + twice * high + other * low, 24);
        low = high;
        c += 8;
      }
      store<u64>(c, load<u64>(c, 24) + other * low, 24);
    } else store<u64>(c, load<u64>(c, 16) + y * y, 16);
  }
}

/** r = columns / R modulo n, below n. */
function reduce(r: usize): void {
  for (let i = 0; i < length; i += 2) {
    let c = COLUMNS + 8 * i;
    let low = load<u64>(N);
    let high = load<u64>(N, 8);
    let t = load<u64>(c);
    const x = (t * negated) & MASK;
    t = load<u64>(c, 8) + x * high + ((t + x * low) >> LIMB);
    const y = (t * negated) & MASK;
    t = (t + y * low) >> LIMB;
    store<u64>(c, load<u64>(c, 16) + t, 16);
    low = high;
    for (let p = N + 16, end = N + 8 * length; p < end; p += 8) {
      high = load<u64>(p);
      store<u64>(c, load<u64>(c, 16) + x * high + y * low, 16);
      low = high;
      c += 8;
    }
    store<u64>(c, load<u64>(c, 16) + y * low, 16);
  }
  const from = COLUMNS + 8 * length;
  let carry: u64 = 0;
  for (let i = 0; i < length; i++) {
    carry += load<u64>(from + 8 * i);
    store<u64>(r + 8 * i, carry & MASK);
    carry >>= LIMB;
  }
  if (reaches(r)) subtract(r);
}

/** Whether a number is at least n. */
function reaches(a: usize): bool {
  for (let i = length - 1; i >= 0; i--) {
    const x = load<u64>(a + 8 * i);
    const y = load<u64>(N + 8 * i);
    if (x != y) return x > y;
  }
  return true;
}

/** a −= n. */
function subtract(a: usize): void {
  let borrow: i64 = 0;
  for (let i = 0; i < length; i++) {
    borrow += load<i64>(a + 8 * i) - load<i64>(N + 8 * i);
    store<i64>(a + 8 * i, borrow & <i64>MASK);
    borrow >>= LIMB;
  }
}

function multiply(r: usize, a: usize, b: usize): void {
  product(a, b);
  reduce(r);
}

/** Limbs that a modulus of so many octets takes: an even count, with room for one bit more. */
export function limbsOf(octets: i32): i32 {
  return ((8 * octets) / LIMB + 2) & ~1;
}

/**
 * to = base^exponent modulo n, all big-endian and of `octets` octets.
 *
 * @param squareOfR 2^(54 · limbs) modulo n
 * @param exponent odd, above 1
 * @returns whether base is below n, which is odd
 */
export function power(to: usize, base: usize, modulus: usize, squareOfR: usize, octets: i32, exponent: u32): bool {
  length = limbsOf(octets);
  if (length > MOST) unreachable();
  readLimbs(N, modulus, octets);
  readLimbs(BASE, base, octets);
  const lowest = load<u64>(N);
  if ((lowest & 1) == 0 || (exponent & 1) == 0 || reaches(BASE)) return false;
  // Newton's steps from three right bits: 6, 12, 24, 48
  let inverse = lowest;
  for (let i = 0; i < 4; i++) inverse *= 2 - lowest * inverse;
  negated = (0 - inverse) & MASK;

  readLimbs(POWER, squareOfR, octets);
  multiply(LIFTED, BASE, POWER);
  memory.copy(POWER, LIFTED, 8 * length);
  for (let bit = 30 - <i32>clz(exponent); bit >= 0; bit--) {
    square(POWER);
    reduce(POWER);
    // the last factor is the base itself, which takes the R out of the power
    if (((exponent >> bit) & 1) == 1) multiply(POWER, POWER, bit == 0 ? BASE : LIFTED);
  }
  writeLimbs(to, octets, POWER);
  return true;
}
