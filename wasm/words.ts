/** Big-endian octets, little-endian octets and limbs of any width, turned into each other. */

/** Room that every little-endian number here has: 528 bits and what an eight-octet access at its end touches. */
const ROOM = 88;

/** r = limbs of `bits` bits of a little-endian number. */
export function unpack(r: usize, count: i32, bits: i32, from: usize): void {
  const mask = ((<u64>1) << bits) - 1;
  for (let i = 0; i < count; i++) {
    const at = i * bits;
    store<u64>(r + 8 * i, (load<u64>(from + (at >> 3)) >> (at & 7)) & mask);
  }
}

/** r = the little-endian number of limbs of `bits` bits, each from 0. */
export function pack(r: usize, from: usize, count: i32, bits: i32): void {
  memory.fill(r, 0, ROOM);
  for (let i = 0; i < count; i++) {
    const at = i * bits;
    const to = r + (at >> 3);
    store<u64>(to, load<u64>(to) | (load<u64>(from + 8 * i) << (at & 7)));
  }
}

/** r = a big-endian number as a little-endian one. */
export function reverse(r: usize, from: usize, length: i32): void {
  memory.fill(r, 0, ROOM);
  for (let i = 0; i < length; i++) store<u8>(r + i, load<u8>(from + length - 1 - i));
}

/** `count` bits of a little-endian number from `at` on; at most 25. */
export function bitsAt(number: usize, at: i32, count: i32): i32 {
  return <i32>((load<u32>(number + (at >> 3)) >> (at & 7)) & ((1 << count) - 1));
}
