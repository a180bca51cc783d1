/** Short octet strings that share a block of memory: a block of its own for each costs engines more than its octets. */

const BLOCK = 65_536;
/** What is longer has a block of its own. */
const LONGEST = 4_096;

let block = new ArrayBuffer(BLOCK);
let used = 0;

/**
 * Octets to write to, all 0. The memory beside them belongs to others of the same process, and none of it is ever given out
 * again; so not for secrets.
 */
export function slabOctets(length: number): Uint8Array<ArrayBuffer> {
  if (length > LONGEST) return new Uint8Array(length);
  if (used + length > BLOCK) {
    block = new ArrayBuffer(BLOCK);
    used = 0;
  }
  const octets = new Uint8Array(block, used, length);
  used += length;
  return octets;
}
