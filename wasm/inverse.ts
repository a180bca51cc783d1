/**
 * Inverses modulo an odd prime by division steps: Bernstein and Yang, "Fast constant-time gcd computation and modular
 * inversion" (2019), in the form for public numbers, where trailing zeros are taken at once.
 *
 * A step takes (f, g) to (f, g/2), (f, (g + f)/2) or (g, (g − f)/2). Thirty steps depend on the lowest thirty bits alone,
 * so their 2 × 2 matrix is found in registers and then applied to the long numbers, whose words have 30 bits, the last one
 * signed. The coefficients d and e, with f = d · x and g = e · x modulo the prime up to powers of two, are halved modulo
 * the prime by adding the multiple of it that clears thirty bits.
 */

const WORD: i64 = 30;
const MASK: i64 = 0x3fffffff;

const F = memory.data(20 * 8, 8);
const G = memory.data(20 * 8, 8);
const D = memory.data(20 * 8, 8);
const E = memory.data(20 * 8, 8);

/** The matrix of thirty steps, times 2^30: (u v; q r). */
let matrixU: i64 = 0;
let matrixV: i64 = 0;
let matrixQ: i64 = 0;
let matrixR: i64 = 0;

/** Thirty steps on the lowest bits; takes and gives the negated step count of the paper, η = −δ. */
function steps(eta: i32, f: i32, g: i32): i32 {
  let u = 1;
  let v = 0;
  let q = 0;
  let r = 1;
  let left = 30;
  while (true) {
    const zeros = ctz(g | (-1 << left));
    g >>= zeros;
    u <<= zeros;
    v <<= zeros;
    eta -= zeros;
    left -= zeros;
    if (left == 0) break;
    let x: i32;
    if (eta < 0) {
      eta = -eta;
      x = f;
      f = g;
      g = -x;
      x = u;
      u = q;
      q = -x;
      x = v;
      v = r;
      r = -x;
    }
    // f · (f² − 2) is −1/f modulo 64: so many low bits of g go away at once
    const limit = min(min(eta + 1, left), 6);
    const w = (f * g * (f * f - 2)) & ((1 << limit) - 1);
    g += f * w;
    q += u * w;
    r += v * w;
  }
  matrixU = u;
  matrixV = v;
  matrixQ = q;
  matrixR = r;
  return eta;
}

/** (f, g) = matrix · (f, g) / 2^30, which divides without rest. */
function apply(length: i32): void {
  const u = matrixU;
  const v = matrixV;
  const q = matrixQ;
  const r = matrixR;
  let f = load<i64>(F);
  let g = load<i64>(G);
  let cf = (u * f + v * g) >> WORD;
  let cg = (q * f + r * g) >> WORD;
  for (let i = 1; i < length; i++) {
    f = load<i64>(F + 8 * i);
    g = load<i64>(G + 8 * i);
    cf += u * f + v * g;
    cg += q * f + r * g;
    store<i64>(F + 8 * i - 8, cf & MASK);
    store<i64>(G + 8 * i - 8, cg & MASK);
    cf >>= WORD;
    cg >>= WORD;
  }
  store<i64>(F + 8 * length - 8, cf);
  store<i64>(G + 8 * length - 8, cg);
}

/** (d, e) = matrix · (d, e) / 2^30 modulo m; both stay in (−2m, m). */
function applyModulo(modulus: usize, inverse: i64, length: i32): void {
  const u = matrixU;
  const v = matrixV;
  const q = matrixQ;
  const r = matrixR;
  const last = 8 * (length - 1);
  const signD = load<i64>(D + last) >> 63;
  const signE = load<i64>(E + last) >> 63;
  let md = (u & signD) + (v & signE);
  let me = (q & signD) + (r & signE);
  let d = load<i64>(D);
  let e = load<i64>(E);
  let cd = u * d + v * e;
  let ce = q * d + r * e;
  md -= (inverse * cd + md) & MASK;
  me -= (inverse * ce + me) & MASK;
  let m = load<i64>(modulus);
  cd = (cd + m * md) >> WORD;
  ce = (ce + m * me) >> WORD;
  for (let i = 1; i < length; i++) {
    d = load<i64>(D + 8 * i);
    e = load<i64>(E + 8 * i);
    m = load<i64>(modulus + 8 * i);
    cd += u * d + v * e + m * md;
    ce += q * d + r * e + m * me;
    store<i64>(D + 8 * i - 8, cd & MASK);
    store<i64>(E + 8 * i - 8, ce & MASK);
    cd >>= WORD;
    ce >>= WORD;
  }
  store<i64>(D + last, cd);
  store<i64>(E + last, ce);
}

/** d = sign · d + k · m, with words from 0 but for the last. */
function addMultiple(sign: i64, k: i64, modulus: usize, length: i32): void {
  let carry: i64 = 0;
  for (let i = 0; i < length - 1; i++) {
    carry += sign * load<i64>(D + 8 * i) + k * load<i64>(modulus + 8 * i);
    store<i64>(D + 8 * i, carry & MASK);
    carry >>= WORD;
  }
  const last = 8 * (length - 1);
  store<i64>(D + last, sign * load<i64>(D + last) + k * load<i64>(modulus + last) + carry);
}

/**
 * x = 1 / x modulo m; 0 for 0.
 *
 * @param inverse of m modulo 2^30
 * @param length words of m and x, x below m
 */
export function invert(x: usize, modulus: usize, inverse: i64, length: i32): void {
  memory.copy(F, modulus, 8 * length);
  memory.copy(G, x, 8 * length);
  memory.fill(D, 0, 8 * length);
  memory.fill(E, 0, 8 * length);
  store<i64>(E, 1);
  let eta = -1;
  let used = length;
  while (true) {
    eta = steps(eta, <i32>load<i64>(F), <i32>load<i64>(G));
    applyModulo(modulus, inverse, length);
    apply(used);
    let any: i64 = 0;
    for (let i = 0; i < used; i++) any |= load<i64>(G + 8 * i);
    if (any == 0) break;
    // words that only repeat the sign go into the one below
    while (used > 1) {
      const f = load<i64>(F + 8 * used - 8);
      const g = load<i64>(G + 8 * used - 8);
      if (f != f >> 63 || g != g >> 63) break;
      used--;
      store<i64>(F + 8 * used - 8, load<i64>(F + 8 * used - 8) | (f << WORD));
      store<i64>(G + 8 * used - 8, load<i64>(G + 8 * used - 8) | (g << WORD));
    }
  }
  const last = 8 * (length - 1);
  if (load<i64>(D + last) < 0) addMultiple(1, 1, modulus, length);
  if (load<i64>(F + 8 * used - 8) < 0) addMultiple(-1, 0, modulus, length);
  if (load<i64>(D + last) < 0) addMultiple(1, 1, modulus, length);
  memory.copy(x, D, 8 * length);
}
