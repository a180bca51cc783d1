/** Numbers modulo a group's order, in words of 30 bits: Montgomery's product (1985), row by row. */

const MASK: u64 = 0x3fffffff;
const T = memory.data(20 * 8, 8);

/** −1, 0 or 1 as a is below, equal to or above b. */
export function compare(a: usize, b: usize, length: i32): i32 {
  for (let i = length - 1; i >= 0; i--) {
    const x = load<u64>(a + 8 * i);
    const y = load<u64>(b + 8 * i);
    if (x != y) return x < y ? -1 : 1;
  }
  return 0;
}

export function isZeroWords(a: usize, length: i32): bool {
  let all: u64 = 0;
  for (let i = 0; i < length; i++) all |= load<u64>(a + 8 * i);
  return all == 0;
}

/** r = a + b, without a modulus. */
export function addWords(r: usize, a: usize, b: usize, length: i32): void {
  let carry: u64 = 0;
  for (let i = 0; i < length; i++) {
    carry += load<u64>(a + 8 * i) + load<u64>(b + 8 * i);
    store<u64>(r + 8 * i, i < length - 1 ? carry & MASK : carry);
    carry >>= 30;
  }
}

/** r = a · b / 2^(30 · length) modulo n; a of that many words, b below n. */
export function mulOrder(r: usize, a: usize, b: usize, n: usize, inverse: i64, length: i32): void {
  memory.fill(T, 0, 8 * length);
  const negative: u64 = <u64>-inverse;
  for (let i = 0; i < length; i++) {
    const x = load<u64>(a + 8 * i);
    let carry = load<u64>(T) + x * load<u64>(b);
    const m = (carry * negative) & MASK;
    carry = (carry + m * load<u64>(n)) >> 30;
    for (let j = 1; j < length; j++) {
      carry += load<u64>(T + 8 * j) + x * load<u64>(b + 8 * j) + m * load<u64>(n + 8 * j);
      store<u64>(T + 8 * j - 8, carry & MASK);
      carry >>= 30;
    }
    store<u64>(T + 8 * length - 8, carry);
  }
  if (compare(T, n, length) >= 0) {
    let borrow: i64 = 0;
    for (let i = 0; i < length; i++) {
      borrow += load<i64>(T + 8 * i) - load<i64>(n + 8 * i);
      store<i64>(T + 8 * i, borrow & <i64>MASK);
      borrow >>= 30;
    }
  }
  memory.copy(r, T, 8 * length);
}
