/**
 * What an RSA signature's power has to look like: EMSA-PKCS1-v1_5 and EMSA-PSS (RFC 8017 §9.2 and §9.1.2).
 *
 * For PKCS#1 the one right encoding is made and compared as a whole, so no octet is read that could be skipped over. For PSS
 * the mask is MGF1 with the signature's own hash, and the salt is as long as the hash (S-15); every octet in front of the
 * salt is compared, the unused bits at the top included.
 */
import { DIGEST, finish, start, update } from "./hash";

const EXPECTED = memory.data(512, 8);
/** The hash of what was signed, kept while others are taken. */
const SIGNED = memory.data(64, 8);
const COUNTER = memory.data(8, 8);
const ZEROS = memory.data(8, 8);
/** DigestInfo up to the hash (RFC 8017 §9.2, note 1) but for its lengths and the last octet of the hash's name. */
const PREFIX = memory.data<u8>([
  0x30, 0, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0, 5, 0, 4, 0,
]);

function equal(a: usize, b: usize, length: i32): bool {
  let difference = 0;
  for (let i = 0; i < length; i++) difference |= load<u8>(a + i) ^ load<u8>(b + i);
  return difference == 0;
}

/** Whether `encoded` is 00 01 FF … FF 00 DigestInfo of the hash at DIGEST. */
export function isPkcs1(encoded: usize, octets: i32, bits: i32): bool {
  const size = bits >> 3;
  const info = octets - size - 19;
  memory.fill(EXPECTED, 0xff, info);
  store<u8>(EXPECTED, 0);
  store<u8>(EXPECTED, 1, 1);
  store<u8>(EXPECTED + info - 1, 0);
  memory.copy(EXPECTED + info, PREFIX, 19);
  store<u8>(EXPECTED + info, <u8>(size + 17), 1);
  store<u8>(EXPECTED + info, bits == 256 ? 1 : bits == 384 ? 2 : 3, 14);
  store<u8>(EXPECTED + info, <u8>size, 18);
  memory.copy(EXPECTED + info + 19, DIGEST, size);
  return equal(encoded, EXPECTED, octets);
}

/** data ^= MGF1(seed) (RFC 8017 §B.2.1). */
function unmask(data: usize, length: i32, seed: usize, bits: i32): void {
  const size = bits >> 3;
  for (let at = 0, counter = 0; at < length; at += size, counter++) {
    store<u32>(COUNTER, bswap(counter));
    start(bits);
    update(seed, size);
    update(COUNTER, 4);
    finish();
    for (let i = 0; i < min(size, length - at); i++) {
      store<u8>(data + at + i, load<u8>(data + at + i) ^ load<u8>(DIGEST + i));
    }
  }
}

/**
 * Whether `encoded`, which is overwritten, is a PSS encoding of the hash at DIGEST.
 *
 * @param modulusBits bits of the modulus, of which the encoding has one less
 */
export function isPss(encoded: usize, octets: i32, modulusBits: i32, bits: i32): bool {
  const size = bits >> 3;
  memory.copy(SIGNED, DIGEST, size);
  // a modulus of 8k + 1 bits has an octet more than the encoding
  if ((modulusBits & 7) == 1) {
    if (load<u8>(encoded) != 0) return false;
    encoded++;
    octets--;
  }
  const unused = 8 * octets - (modulusBits - 1);
  const length = octets - size - 1;
  const hash = encoded + length;
  if (load<u8>(encoded + octets - 1) != 0xbc) return false;
  if (<u32>load<u8>(encoded) >> (8 - unused) != 0) return false;
  unmask(encoded, length, hash, bits);
  store<u8>(encoded, <u8>(<u32>load<u8>(encoded) & (0xff >> unused)));
  const salt = encoded + length - size;
  for (let at = encoded; at < salt - 1; at++) if (load<u8>(at) != 0) return false;
  if (load<u8>(salt - 1) != 1) return false;
  start(bits);
  update(ZEROS, 8);
  update(SIGNED, size);
  update(salt, size);
  finish();
  return equal(DIGEST, hash, size);
}
