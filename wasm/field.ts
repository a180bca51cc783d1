/**
 * Field elements of any of the three curves: which multiplication a curve has, sums without carries, canonical form.
 *
 * One rule keeps every product inside 64 bits. What a function stores is tight unless its name says `lazy`; a lazy sum or
 * difference of two tight elements is loose, and may be multiplied with a tight one, never with a loose one, and never
 * squared. A build with CHECK = 1 traps where that is broken.
 */
import {
  bits,
  limbs,
  one,
  P256,
  P384,
  P521,
  primeLimbs,
  primeWords,
  primeInverse,
  words,
  cubeOfR,
  octets,
} from "./curves";
import { invert } from "./inverse";
import { mul256, sqr256 } from "./p256";
import { mul384, sqr384 } from "./p384";
import { mul521, sqr521 } from "./p521";
import { pack, unpack } from "./words";

/** The largest absolute limb in units of a tight one, rounded up; the top limb counts like the others. */
function sizeOf<C>(a: usize): i32 {
  const unit: i64 = ((<i64>1) << (bits<C>() - 1)) + (sizeof<C>() == 4 ? 128 : 0);
  let most: i64 = 0;
  for (let i = 0; i < limbs<C>(); i++) {
    const x = load<i64>(a + 8 * i);
    most = max(most, x < 0 ? -x : x);
  }
  return <i32>((most + unit - 1) / unit);
}

function checkProduct<C>(a: usize, b: usize): void {
  if (sizeOf<C>(a) * sizeOf<C>(b) > 2) unreachable();
}

function checkTight<C>(r: usize): void {
  if (sizeOf<C>(r) > 1) unreachable();
}

function product<C, K>(r: usize, a: usize, b: usize, c: usize, d: usize): void {
  if (CHECK) checkProduct<C>(a, b);
  if (sizeof<C>() == 1) mul256<K>(r, a, b, c, d);
  else if (sizeof<C>() == 2) mul384<K>(r, a, b, c, d);
  else mul521<K>(r, a, b, c, d);
  if (CHECK) checkTight<C>(r);
}

function square<C, K>(r: usize, a: usize, c: usize, d: usize): void {
  if (CHECK) checkTight<C>(a);
  if (sizeof<C>() == 1) sqr256<K>(r, a, c, d);
  else if (sizeof<C>() == 2) sqr384<K>(r, a, c, d);
  else sqr521<K>(r, a, c, d);
  if (CHECK) checkTight<C>(r);
}

/** r = a · b. */
export function mul<C>(r: usize, a: usize, b: usize): void {
  product<C, u8>(r, a, b, 0, 0);
}

/** r = a · b − c. */
export function mulSub<C>(r: usize, a: usize, b: usize, c: usize): void {
  product<C, u16>(r, a, b, c, 0);
}

/** r = a · b − c − d. */
export function mulSubSub<C>(r: usize, a: usize, b: usize, c: usize, d: usize): void {
  product<C, u32>(r, a, b, c, d);
}

/** r = a². */
export function sqr<C>(r: usize, a: usize): void {
  square<C, u8>(r, a, 0, 0);
}

/** r = a² − c − d. */
export function sqrSubSub<C>(r: usize, a: usize, c: usize, d: usize): void {
  square<C, u32>(r, a, c, d);
}

/** r = a + b, loose. */
export function addLazy<C>(r: usize, a: usize, b: usize): void {
  for (let i = 0; i < limbs<C>(); i++) store<i64>(r + 8 * i, load<i64>(a + 8 * i) + load<i64>(b + 8 * i));
}

/** r = a − b, loose. */
export function subLazy<C>(r: usize, a: usize, b: usize): void {
  for (let i = 0; i < limbs<C>(); i++) store<i64>(r + 8 * i, load<i64>(a + 8 * i) - load<i64>(b + 8 * i));
}

/** r = −a, as tight as a is. */
export function negate<C>(r: usize, a: usize): void {
  for (let i = 0; i < limbs<C>(); i++) store<i64>(r + 8 * i, -load<i64>(a + 8 * i));
}

/** r = k · a + b; |k| small. */
export function combine<C>(r: usize, k: i64, a: usize, b: usize): void {
  const last = limbs<C>() - 1;
  const half: i64 = (<i64>1) << (bits<C>() - 1);
  let carry: i64 = 0;
  for (let i = 0; i < last; i++) {
    const t = k * load<i64>(a + 8 * i) + load<i64>(b + 8 * i) + carry;
    carry = (t + half) >> bits<C>();
    store<i64>(r + 8 * i, t - (carry << bits<C>()));
  }
  let top = k * load<i64>(a + 8 * last) + load<i64>(b + 8 * last) + carry;
  if (sizeof<C>() == 4) {
    carry = (top + half) >> bits<C>();
    top -= carry << bits<C>();
    store<i64>(r, load<i64>(r) + (carry << 1));
  }
  store<i64>(r + 8 * last, top);
  if (CHECK) checkTight<C>(r);
}

export function copy<C>(r: usize, a: usize): void {
  for (let i = 0; i < limbs<C>(); i++) store<i64>(r + 8 * i, load<i64>(a + 8 * i));
}

/** r = a with a value of little more than p/2, whatever sums it came from. */
export function settle<C>(r: usize, a: usize): void {
  mul<C>(r, one<C>(), a);
}

/** Adds k · p and brings all limbs but the last into [0, 2^bits). */
function addPrimes<C>(r: usize, k: i64): void {
  const last = limbs<C>() - 1;
  let carry: i64 = 0;
  for (let i = 0; i < last; i++) {
    const t = load<i64>(r + 8 * i) + k * load<i64>(primeLimbs<C>() + 8 * i) + carry;
    carry = t >> bits<C>();
    store<i64>(r + 8 * i, t & (((<i64>1) << bits<C>()) - 1));
  }
  const at = r + 8 * last;
  store<i64>(at, load<i64>(at) + k * load<i64>(primeLimbs<C>() + 8 * last) + carry);
}

/** Whether limbs from 0 are a number of at least p. */
function reachesPrime<C>(r: usize): bool {
  for (let i = limbs<C>() - 1; i >= 0; i--) {
    const difference = load<i64>(r + 8 * i) - load<i64>(primeLimbs<C>() + 8 * i);
    if (difference != 0) return difference > 0;
  }
  return true;
}

/** r = a as the one number from 0 to p − 1, in limbs from 0. */
export function canonical<C>(r: usize, a: usize): void {
  settle<C>(r, a);
  addPrimes<C>(r, 0);
  while (load<i64>(r + 8 * (limbs<C>() - 1)) < 0) addPrimes<C>(r, 1);
  while (reachesPrime<C>(r)) addPrimes<C>(r, -1);
}

const SPARE = memory.data(18 * 8, 8);

/** Whether a is a multiple of p. */
export function isZero<C>(a: usize): bool {
  // p is −1 modulo a limb, so a small multiple of it shows as a small lowest limb
  const low = load<i64>(a);
  if (low > 64 || low < -64) return false;
  canonical<C>(SPARE, a);
  let all: i64 = 0;
  for (let i = 0; i < limbs<C>(); i++) all |= load<i64>(SPARE + 8 * i);
  return all == 0;
}

const BYTES = memory.data(88, 8);
const WORDS = memory.data(20 * 8, 8);

/** r = 1 / a, and whether there is one. */
export function reciprocal<C>(r: usize, a: usize): bool {
  if (isZero<C>(a)) return false;
  canonical<C>(SPARE, a);
  pack(BYTES, SPARE, limbs<C>(), bits<C>());
  unpack(WORDS, words<C>(), 30, BYTES);
  invert(WORDS, primeWords<C>(), primeInverse<C>(), words<C>());
  pack(BYTES, WORDS, words<C>(), 30);
  unpack(SPARE, limbs<C>(), bits<C>(), BYTES);
  mul<C>(r, cubeOfR<C>(), SPARE);
  return true;
}
