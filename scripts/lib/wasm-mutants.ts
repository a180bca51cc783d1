/** Faults to plant in the WebAssembly verifier, each of which some case must show. */

export interface Mutant {
  readonly name: string;
  /** Below `wasm/`. */
  readonly file: string;
  /** Exact source text that occurs once. */
  readonly find: string;
  readonly replace: string;
}

function mutant(name: string, file: string, find: string, replace: string): Mutant {
  return { name, file, find, replace };
}

export const MUTANTS: readonly Mutant[] = [
  mutant(
    "r-without-range",
    "ecdsa.ts",
    "isZeroWords(R, count) || compare(R, order, count) >= 0",
    "isZeroWords(R, count)",
  ),
  mutant(
    "s-without-range",
    "ecdsa.ts",
    "isZeroWords(S, count) || compare(S, order, count) >= 0",
    "isZeroWords(S, count)",
  ),
  mutant("no-r-plus-n", "ecdsa.ts", "turn < 2", "turn < 1"),
  mutant("infinity-accepted", "ecdsa.ts", "if (sumIsInfinity) return false;", "if (sumIsInfinity) return true;"),
  mutant("x-not-compared", "ecdsa.ts", "if (isZero<C>(X)) return true;", "return true;"),
  mutant("key-off-curve", "ecdsa.ts", "return isZero<C>(X);", "return true;"),
  mutant("coordinate-without-range", "ecdsa.ts", "if (compare(E, primeWords<C>(), words<C>()) >= 0) return false;", ""),
  mutant(
    "hash-not-cut",
    "ecdsa.ts",
    "reverse(BYTES, digest, min(length, octets<C>()));",
    "reverse(BYTES, digest, length);",
  ),
  mutant("sparse-digit-sign", "ecdsa.ts", "else if (digit < 0) {", "else if (digit < 0 && digit > -15) {"),
  mutant(
    "sparse-carry-lost",
    "ecdsa.ts",
    "carry = digit >> (WIDTH - 1);",
    "carry = at > 200 ? 0 : digit >> (WIDTH - 1);",
  ),
  mutant("doubling-as-addition", "point.ts", "if (isZero<C>(R)) doubleSum<C>();\n    else", ""),
  mutant("opposite-not-infinity", "point.ts", "else sumIsInfinity = true;", "else setSum<C>(point);"),
  mutant("equal-x-not-seen", "point.ts", "if (isZero<C>(H)) {", "if (false) {"),
  mutant("infinity-added-to", "point.ts", "  if (sumIsInfinity) {\n    setSum<C>(point);\n    return;\n  }\n", ""),
  mutant(
    "infinity-doubled",
    "point.ts",
    "  if (sumIsInfinity) return;\n",
    "  if (sumIsInfinity) sumIsInfinity = false;\n",
  ),
  mutant("doubling-slope", "point.ts", "combine<C>(A, 2, A, A);", "combine<C>(A, 1, A, A);"),
  mutant(
    "collision-not-seen",
    "affine.ts",
    "  if (!reciprocal<C>(INVERSE, before)) return false;\n  for (let i = count - 1; i >= 0; i--) {\n    const left",
    "  reciprocal<C>(INVERSE, before);\n  for (let i = count - 1; i >= 0; i--) {\n    const left",
  ),
  mutant(
    "planned-doubling-slope",
    "affine.ts",
    "combine<C>(SPARE, 3, SPARE, ZERO);",
    "combine<C>(SPARE, 2, SPARE, ZERO);",
  ),
  mutant("table-without-doubling", "table.ts", "k == known ? left : left + 2 * width<C>()", "left + 2 * width<C>()"),
  mutant("one-window-less", "table.ts", "orderBits<C>() / w + 1", "orderBits<C>() / w"),
  mutant("digit-sign-lost", "table.ts", "digit < 0 ? -1 : 1);", "1);"),
  mutant("digit-carry-lost", "table.ts", "carry = digit > half ? 1 : 0;", "carry = digit > half && i < 30 ? 1 : 0;"),
  mutant("zero-multiple-missed", "field.ts", "if (low > 64 || low < -64) return false;", "if (low != 0) return false;"),
  mutant("negative-not-lifted", "field.ts", "while (load<i64>(r + 8 * (limbs<C>() - 1)) < 0) addPrimes<C>(r, 1);", ""),
  mutant("p256-carry-dropped", "p256.ts", "  t5 += k;\n", ""),
  mutant("p256-reduction-shift", "p256.ts", "(m << 21)", "(m << 20)"),
  mutant("p256-reduction-carry", "p256.ts", " + carry;", ";"),
  mutant("p256-square-reduction", "p256.ts", "  t -= m0 << 21;\n", "  t -= m1 << 21;\n"),
  mutant("p384-carry-dropped", "p384.ts", "  t9 += k;\n", ""),
  mutant("p384-reduction-shift", "p384.ts", "(m << 24)", "(m << 23)"),
  mutant("p521-fold-not-doubled", "p521.ts", "t0 += k << 1;", "t0 += k;"),
  mutant("p521-last-carry-dropped", "p521.ts", "  store<i64>(r, t1 + k, 8);", "  store<i64>(r, t1, 8);"),
  mutant("p521-square-fold", "p521.ts", "y = load<i64>(COLUMNS) + (k << 1);", "y = load<i64>(COLUMNS) + k;"),
  mutant(
    "inverse-sign-lost",
    "inverse.ts",
    "if (load<i64>(F + 8 * used - 8) < 0) addMultiple(-1, 0, modulus, length);",
    "",
  ),
  mutant(
    "inverse-range-lost",
    "inverse.ts",
    "  md -= (inverse * cd + md) & MASK;\n",
    "  md -= (inverse * cd) & MASK;\n",
  ),
  mutant("inverse-word-lost", "inverse.ts", "load<i64>(G + 8 * used - 8) | (g << WORD)", "load<i64>(G + 8 * used - 8)"),
  mutant(
    "order-carry-lost",
    "scalar.ts",
    "store<u64>(T + 8 * length - 8, carry);",
    "store<u64>(T + 8 * length - 8, carry & 0xff);",
  ),
  mutant("sha256-rotation", "sha256.ts", "rotr(x, 18)", "rotr(x, 17)"),
  mutant("sha512-rotation", "sha512.ts", "rotr(y, 61)", "rotr(y, 60)"),
  mutant("padding-boundary", "hash.ts", "rest + 1 + (size >> 3) > size", "rest + (size >> 3) > size"),
  mutant("sha384-start", "hash.ts", "start512(STATE, bits == 384)", "start512(STATE, false)"),
  mutant("rsa-signature-without-range", "rsa.ts", " || reaches(BASE)", ""),
  mutant("rsa-not-subtracted", "rsa.ts", "  if (reaches(r)) subtract(r);\n", ""),
  mutant("rsa-borrow-lost", "rsa.ts", "  borrow >>= LIMB;", "  borrow = 0;"),
  mutant(
    "rsa-carry-lost",
    "rsa.ts",
    "store<u64>(c, load<u64>(c, 16) + t, 16);",
    "store<u64>(c, load<u64>(c, 16), 16);",
  ),
  mutant("rsa-square-not-doubled", "rsa.ts", "load<u64>(c, 8) + twice * y", "load<u64>(c, 8) + x * y"),
  mutant("rsa-exponent-bit", "rsa.ts", "bit == 0 ? BASE : LIFTED", "LIFTED"),
  mutant("rsa-exponent-top", "rsa.ts", "let bit = 30 -", "let bit = 29 -"),
  mutant("rsa-product-row", "rsa.ts", "store<u64>(c, load<u64>(c, 8) + y * low, 8);", ""),
  mutant(
    "pkcs1-padding-not-compared",
    "emsa.ts",
    "return equal(encoded, EXPECTED, octets);",
    "return equal(encoded + info, EXPECTED + info, octets - info);",
  ),
  mutant(
    "pkcs1-info-not-compared",
    "emsa.ts",
    "return equal(encoded, EXPECTED, octets);",
    "return equal(encoded, EXPECTED, info) && equal(encoded + info + 19, EXPECTED + info + 19, size);",
  ),
  mutant(
    "pkcs1-hash-not-compared",
    "emsa.ts",
    "return equal(encoded, EXPECTED, octets);",
    "return equal(encoded, EXPECTED, info + 19);",
  ),
  mutant("pkcs1-hash-name", "emsa.ts", "bits == 256 ? 1 : bits == 384 ? 2 : 3", "1"),
  mutant("pss-top-octet", "emsa.ts", "if (load<u8>(encoded) != 0) return false;", ""),
  mutant("pss-top-bits", "emsa.ts", "if (<u32>load<u8>(encoded) >> (8 - unused) != 0) return false;", ""),
  mutant("pss-trailer-not-compared", "emsa.ts", "if (load<u8>(encoded + octets - 1) != 0xbc) return false;", ""),
  mutant("pss-padding-not-compared", "emsa.ts", "if (load<u8>(at) != 0) return false;", ""),
  mutant("pss-separator-not-compared", "emsa.ts", "if (load<u8>(salt - 1) != 1) return false;", ""),
  mutant("pss-salt-not-hashed", "emsa.ts", "  update(salt, size);\n", ""),
  mutant("pss-mask-counter", "emsa.ts", "bswap(counter)", "counter"),
  mutant("pss-hash-not-compared", "emsa.ts", "return equal(DIGEST, hash, size);", "return true;"),
];
