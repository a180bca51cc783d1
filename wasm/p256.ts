/**
 * The field of P-256: p = 2^256 − 2^224 + 2^192 + 2^96 − 1 (SP 800-186 §3.2.1.3), 9 limbs of 29 bits in i64.
 *
 * Limbs are signed. "Tight" limbs lie in ±2^28, as every function here leaves them; "loose" ones in ±2^29, the sum or
 * difference of two tight ones. Montgomery's reduction (1985) with R = 2^261: p is −1 modulo 2^29, so the multiple of p
 * that clears a limb is that limb itself, and only shifts are left. A column is at most 9 · 2^28 · 2^29 plus shifts,
 * below 2^61. Rows run in a loop, because long straight code makes JavaScriptCore spill.
 */

/** r = a · b / 2^261 (K = u8), − c (K = u16), − c − d (K = u32). a tight, b loose. */
export function mul256<K>(r: usize, a: usize, b: usize, c: usize, d: usize): void {
  const b0 = load<i64>(b, 0);
  const b1 = load<i64>(b, 8);
  const b2 = load<i64>(b, 16);
  const b3 = load<i64>(b, 24);
  const b4 = load<i64>(b, 32);
  const b5 = load<i64>(b, 40);
  const b6 = load<i64>(b, 48);
  const b7 = load<i64>(b, 56);
  const b8 = load<i64>(b, 64);
  let t0: i64 = 0;
  let t1: i64 = 0;
  let t2: i64 = 0;
  let t3: i64 = 0;
  let t4: i64 = 0;
  let t5: i64 = 0;
  let t6: i64 = 0;
  let t7: i64 = 0;
  let t8: i64 = 0;
  for (let end = a + 72; a < end; a += 8) {
    const x = load<i64>(a);
    t0 += x * b0;
    const m = (t0 << 35) >> 35;
    const carry = (t0 - m) >> 29;
    t0 = t1 + x * b1 + carry;
    t1 = t2 + x * b2;
    t2 = t3 + x * b3 + (m << 9);
    t3 = t4 + x * b4;
    t4 = t5 + x * b5;
    t5 = t6 + x * b6 + (m << 18);
    t6 = t7 + x * b7 - (m << 21);
    t7 = t8 + x * b8 + (m << 24);
    t8 = 0;
  }
  if (sizeof<K>() >= 2) {
    t0 -= load<i64>(c, 0);
    t1 -= load<i64>(c, 8);
    t2 -= load<i64>(c, 16);
    t3 -= load<i64>(c, 24);
    t4 -= load<i64>(c, 32);
    t5 -= load<i64>(c, 40);
    t6 -= load<i64>(c, 48);
    t7 -= load<i64>(c, 56);
    t8 -= load<i64>(c, 64);
  }
  if (sizeof<K>() >= 4) {
    t0 -= load<i64>(d, 0);
    t1 -= load<i64>(d, 8);
    t2 -= load<i64>(d, 16);
    t3 -= load<i64>(d, 24);
    t4 -= load<i64>(d, 32);
    t5 -= load<i64>(d, 40);
    t6 -= load<i64>(d, 48);
    t7 -= load<i64>(d, 56);
    t8 -= load<i64>(d, 64);
  }
  let k: i64;
  k = (t0 + 0x10000000) >> 29;
  store<i64>(r, t0 - (k << 29), 0);
  t1 += k;
  k = (t1 + 0x10000000) >> 29;
  store<i64>(r, t1 - (k << 29), 8);
  t2 += k;
  k = (t2 + 0x10000000) >> 29;
  store<i64>(r, t2 - (k << 29), 16);
  t3 += k;
  k = (t3 + 0x10000000) >> 29;
  store<i64>(r, t3 - (k << 29), 24);
  t4 += k;
  k = (t4 + 0x10000000) >> 29;
  store<i64>(r, t4 - (k << 29), 32);
  t5 += k;
  k = (t5 + 0x10000000) >> 29;
  store<i64>(r, t5 - (k << 29), 40);
  t6 += k;
  k = (t6 + 0x10000000) >> 29;
  store<i64>(r, t6 - (k << 29), 48);
  t7 += k;
  k = (t7 + 0x10000000) >> 29;
  store<i64>(r, t7 - (k << 29), 56);
  t8 += k;
  store<i64>(r, t8, 64);
}

/** r = a² / 2^261 (K = u8), − c − d (K = u32). a tight. */
export function sqr256<K>(r: usize, a: usize, c: usize, d: usize): void {
  let t: i64 = 0;
  let k: i64;
  t += load<i64>(a, 0) * load<i64>(a, 0);
  const m0 = (t << 35) >> 35;
  t = (t - m0) >> 29;
  t += (load<i64>(a, 0) * load<i64>(a, 8)) << 1;
  const m1 = (t << 35) >> 35;
  t = (t - m1) >> 29;
  t += (load<i64>(a, 0) * load<i64>(a, 16)) << 1;
  t += load<i64>(a, 8) * load<i64>(a, 8);
  const m2 = (t << 35) >> 35;
  t = (t - m2) >> 29;
  t += (load<i64>(a, 0) * load<i64>(a, 24) + load<i64>(a, 8) * load<i64>(a, 16)) << 1;
  t += m0 << 9;
  const m3 = (t << 35) >> 35;
  t = (t - m3) >> 29;
  t += (load<i64>(a, 0) * load<i64>(a, 32) + load<i64>(a, 8) * load<i64>(a, 24)) << 1;
  t += load<i64>(a, 16) * load<i64>(a, 16);
  t += m1 << 9;
  const m4 = (t << 35) >> 35;
  t = (t - m4) >> 29;
  t +=
    (load<i64>(a, 0) * load<i64>(a, 40) + load<i64>(a, 8) * load<i64>(a, 32) + load<i64>(a, 16) * load<i64>(a, 24)) <<
    1;
  t += m2 << 9;
  const m5 = (t << 35) >> 35;
  t = (t - m5) >> 29;
  t +=
    (load<i64>(a, 0) * load<i64>(a, 48) + load<i64>(a, 8) * load<i64>(a, 40) + load<i64>(a, 16) * load<i64>(a, 32)) <<
    1;
  t += load<i64>(a, 24) * load<i64>(a, 24);
  t += m3 << 9;
  t += m0 << 18;
  const m6 = (t << 35) >> 35;
  t = (t - m6) >> 29;
  t +=
    (load<i64>(a, 0) * load<i64>(a, 56) +
      load<i64>(a, 8) * load<i64>(a, 48) +
      load<i64>(a, 16) * load<i64>(a, 40) +
      load<i64>(a, 24) * load<i64>(a, 32)) <<
    1;
  t += m4 << 9;
  t += m1 << 18;
  t -= m0 << 21;
  const m7 = (t << 35) >> 35;
  t = (t - m7) >> 29;
  t +=
    (load<i64>(a, 0) * load<i64>(a, 64) +
      load<i64>(a, 8) * load<i64>(a, 56) +
      load<i64>(a, 16) * load<i64>(a, 48) +
      load<i64>(a, 24) * load<i64>(a, 40)) <<
    1;
  t += load<i64>(a, 32) * load<i64>(a, 32);
  t += m5 << 9;
  t += m2 << 18;
  t -= m1 << 21;
  t += m0 << 24;
  const m8 = (t << 35) >> 35;
  t = (t - m8) >> 29;
  t +=
    (load<i64>(a, 8) * load<i64>(a, 64) +
      load<i64>(a, 16) * load<i64>(a, 56) +
      load<i64>(a, 24) * load<i64>(a, 48) +
      load<i64>(a, 32) * load<i64>(a, 40)) <<
    1;
  t += m6 << 9;
  t += m3 << 18;
  t -= m2 << 21;
  t += m1 << 24;
  if (sizeof<K>() == 4) t -= load<i64>(c, 0) + load<i64>(d, 0);
  k = (t + 0x10000000) >> 29;
  store<i64>(r, t - (k << 29), 0);
  t = k;
  t +=
    (load<i64>(a, 16) * load<i64>(a, 64) + load<i64>(a, 24) * load<i64>(a, 56) + load<i64>(a, 32) * load<i64>(a, 48)) <<
    1;
  t += load<i64>(a, 40) * load<i64>(a, 40);
  t += m7 << 9;
  t += m4 << 18;
  t -= m3 << 21;
  t += m2 << 24;
  if (sizeof<K>() == 4) t -= load<i64>(c, 8) + load<i64>(d, 8);
  k = (t + 0x10000000) >> 29;
  store<i64>(r, t - (k << 29), 8);
  t = k;
  t +=
    (load<i64>(a, 24) * load<i64>(a, 64) + load<i64>(a, 32) * load<i64>(a, 56) + load<i64>(a, 40) * load<i64>(a, 48)) <<
    1;
  t += m8 << 9;
  t += m5 << 18;
  t -= m4 << 21;
  t += m3 << 24;
  if (sizeof<K>() == 4) t -= load<i64>(c, 16) + load<i64>(d, 16);
  k = (t + 0x10000000) >> 29;
  store<i64>(r, t - (k << 29), 16);
  t = k;
  t += (load<i64>(a, 32) * load<i64>(a, 64) + load<i64>(a, 40) * load<i64>(a, 56)) << 1;
  t += load<i64>(a, 48) * load<i64>(a, 48);
  t += m6 << 18;
  t -= m5 << 21;
  t += m4 << 24;
  if (sizeof<K>() == 4) t -= load<i64>(c, 24) + load<i64>(d, 24);
  k = (t + 0x10000000) >> 29;
  store<i64>(r, t - (k << 29), 24);
  t = k;
  t += (load<i64>(a, 40) * load<i64>(a, 64) + load<i64>(a, 48) * load<i64>(a, 56)) << 1;
  t += m7 << 18;
  t -= m6 << 21;
  t += m5 << 24;
  if (sizeof<K>() == 4) t -= load<i64>(c, 32) + load<i64>(d, 32);
  k = (t + 0x10000000) >> 29;
  store<i64>(r, t - (k << 29), 32);
  t = k;
  t += (load<i64>(a, 48) * load<i64>(a, 64)) << 1;
  t += load<i64>(a, 56) * load<i64>(a, 56);
  t += m8 << 18;
  t -= m7 << 21;
  t += m6 << 24;
  if (sizeof<K>() == 4) t -= load<i64>(c, 40) + load<i64>(d, 40);
  k = (t + 0x10000000) >> 29;
  store<i64>(r, t - (k << 29), 40);
  t = k;
  t += (load<i64>(a, 56) * load<i64>(a, 64)) << 1;
  t -= m8 << 21;
  t += m7 << 24;
  if (sizeof<K>() == 4) t -= load<i64>(c, 48) + load<i64>(d, 48);
  k = (t + 0x10000000) >> 29;
  store<i64>(r, t - (k << 29), 48);
  t = k;
  t += load<i64>(a, 64) * load<i64>(a, 64);
  t += m8 << 24;
  if (sizeof<K>() == 4) t -= load<i64>(c, 56) + load<i64>(d, 56);
  k = (t + 0x10000000) >> 29;
  store<i64>(r, t - (k << 29), 56);
  t = k;
  if (sizeof<K>() == 4) t -= load<i64>(c, 64) + load<i64>(d, 64);
  store<i64>(r, t, 64);
}
