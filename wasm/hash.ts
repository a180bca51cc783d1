/** A hash over any number of pieces (FIPS 180-4 §5): one at a time, as one signature is checked at a time. */
import { block256, start256 } from "./sha256";
import { block512, start512 } from "./sha512";

const STATE = memory.data(64, 8);
const REST = memory.data(256, 8);
/** The value of the last hash that was finished, 64 octets of which the shorter ones use the first. */
export const DIGEST: usize = memory.data(64, 8);

/** Bits of the hash that is being taken; 0 between hashes. */
let kind: i32 = 0;
let rest: i32 = 0;
let total: u64 = 0;

/** @param bits 256, 384 or 512; anything else traps */
export function start(bits: i32): void {
  if (bits != 256 && bits != 384 && bits != 512) unreachable();
  kind = bits;
  rest = 0;
  total = 0;
  if (bits == 256) start256(STATE);
  else start512(STATE, bits == 384);
}

function take(block: usize): void {
  if (kind == 256) block256(STATE, block);
  else block512(STATE, block);
}

export function update(data: usize, length: i32): void {
  if (kind == 0) unreachable();
  const size = kind == 256 ? 64 : 128;
  total += length;
  if (rest > 0) {
    const more = min(size - rest, length);
    memory.copy(REST + rest, data, more);
    rest += more;
    data += more;
    length -= more;
    if (rest < size) return;
    take(REST);
    rest = 0;
  }
  for (; length >= size; length -= size, data += size) take(data);
  memory.copy(REST, data, length);
  rest = length;
}

/** Leaves the value at DIGEST; returns its length in octets. */
export function finish(): i32 {
  if (kind == 0) unreachable();
  const size = kind == 256 ? 64 : 128;
  // one bit, zeros, and the length in bits at the end of a block
  const end = rest + 1 + (size >> 3) > size ? 2 * size : size;
  memory.fill(REST + rest, 0, end - rest);
  store<u8>(REST + rest, 0x80);
  store<u64>(REST + end - 8, bswap(total << 3));
  for (let at = 0; at < end; at += size) take(REST + at);
  if (kind == 256) {
    for (let i = 0; i < 32; i += 4) store<u32>(DIGEST + i, bswap(load<u32>(STATE + i)));
  } else {
    for (let i = 0; i < 64; i += 8) store<u64>(DIGEST + i, bswap(load<u64>(STATE + i)));
  }
  const length = kind >> 3;
  kind = 0;
  return length;
}
