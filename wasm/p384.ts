/**
 * The field of P-384: p = 2^384 − 2^128 − 2^96 + 2^32 − 1 (SP 800-186 §3.2.1.4), 13 limbs of 30 bits in i64.
 *
 * As in p256.ts, with R = 2^390: tight limbs in ±2^29, loose ones in ±2^30. A column is at most 13 · 2^29 · 2^30 plus
 * shifts of at most 2^54, below 2^62.8: loose by loose would not fit.
 */

/** r = a · b / 2^390 (K = u8), − c (K = u16), − c − d (K = u32). a tight, b loose. */
export function mul384<K>(r: usize, a: usize, b: usize, c: usize, d: usize): void {
  const b0 = load<i64>(b, 0);
  const b1 = load<i64>(b, 8);
  const b2 = load<i64>(b, 16);
  const b3 = load<i64>(b, 24);
  const b4 = load<i64>(b, 32);
  const b5 = load<i64>(b, 40);
  const b6 = load<i64>(b, 48);
  const b7 = load<i64>(b, 56);
  const b8 = load<i64>(b, 64);
  const b9 = load<i64>(b, 72);
  const b10 = load<i64>(b, 80);
  const b11 = load<i64>(b, 88);
  const b12 = load<i64>(b, 96);
  let t0: i64 = 0;
  let t1: i64 = 0;
  let t2: i64 = 0;
  let t3: i64 = 0;
  let t4: i64 = 0;
  let t5: i64 = 0;
  let t6: i64 = 0;
  let t7: i64 = 0;
  let t8: i64 = 0;
  let t9: i64 = 0;
  let t10: i64 = 0;
  let t11: i64 = 0;
  let t12: i64 = 0;
  for (let end = a + 104; a < end; a += 8) {
    const x = load<i64>(a);
    t0 += x * b0;
    const m = (t0 << 34) >> 34;
    const carry = (t0 - m) >> 30;
    t0 = t1 + x * b1 + (m << 2) + carry;
    t1 = t2 + x * b2;
    t2 = t3 + x * b3 - (m << 6);
    t3 = t4 + x * b4 - (m << 8);
    t4 = t5 + x * b5;
    t5 = t6 + x * b6;
    t6 = t7 + x * b7;
    t7 = t8 + x * b8;
    t8 = t9 + x * b9;
    t9 = t10 + x * b10;
    t10 = t11 + x * b11;
    t11 = t12 + x * b12 + (m << 24);
    t12 = 0;
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
    t9 -= load<i64>(c, 72);
    t10 -= load<i64>(c, 80);
    t11 -= load<i64>(c, 88);
    t12 -= load<i64>(c, 96);
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
    t9 -= load<i64>(d, 72);
    t10 -= load<i64>(d, 80);
    t11 -= load<i64>(d, 88);
    t12 -= load<i64>(d, 96);
  }
  let k: i64;
  k = (t0 + 0x20000000) >> 30;
  store<i64>(r, t0 - (k << 30), 0);
  t1 += k;
  k = (t1 + 0x20000000) >> 30;
  store<i64>(r, t1 - (k << 30), 8);
  t2 += k;
  k = (t2 + 0x20000000) >> 30;
  store<i64>(r, t2 - (k << 30), 16);
  t3 += k;
  k = (t3 + 0x20000000) >> 30;
  store<i64>(r, t3 - (k << 30), 24);
  t4 += k;
  k = (t4 + 0x20000000) >> 30;
  store<i64>(r, t4 - (k << 30), 32);
  t5 += k;
  k = (t5 + 0x20000000) >> 30;
  store<i64>(r, t5 - (k << 30), 40);
  t6 += k;
  k = (t6 + 0x20000000) >> 30;
  store<i64>(r, t6 - (k << 30), 48);
  t7 += k;
  k = (t7 + 0x20000000) >> 30;
  store<i64>(r, t7 - (k << 30), 56);
  t8 += k;
  k = (t8 + 0x20000000) >> 30;
  store<i64>(r, t8 - (k << 30), 64);
  t9 += k;
  k = (t9 + 0x20000000) >> 30;
  store<i64>(r, t9 - (k << 30), 72);
  t10 += k;
  k = (t10 + 0x20000000) >> 30;
  store<i64>(r, t10 - (k << 30), 80);
  t11 += k;
  k = (t11 + 0x20000000) >> 30;
  store<i64>(r, t11 - (k << 30), 88);
  t12 += k;
  store<i64>(r, t12, 96);
}

/** r = a² / 2^390 (K = u8), − c − d (K = u32). a tight. */
export function sqr384<K>(r: usize, a: usize, c: usize, d: usize): void {
  let t: i64 = 0;
  let k: i64;
  t += load<i64>(a, 0) * load<i64>(a, 0);
  const m0 = (t << 34) >> 34;
  t = (t - m0) >> 30;
  t += (load<i64>(a, 0) * load<i64>(a, 8)) << 1;
  t += m0 << 2;
  const m1 = (t << 34) >> 34;
  t = (t - m1) >> 30;
  t += (load<i64>(a, 0) * load<i64>(a, 16)) << 1;
  t += load<i64>(a, 8) * load<i64>(a, 8);
  t += m1 << 2;
  const m2 = (t << 34) >> 34;
  t = (t - m2) >> 30;
  t += (load<i64>(a, 0) * load<i64>(a, 24) + load<i64>(a, 8) * load<i64>(a, 16)) << 1;
  t += m2 << 2;
  t -= m0 << 6;
  const m3 = (t << 34) >> 34;
  t = (t - m3) >> 30;
  t += (load<i64>(a, 0) * load<i64>(a, 32) + load<i64>(a, 8) * load<i64>(a, 24)) << 1;
  t += load<i64>(a, 16) * load<i64>(a, 16);
  t += m3 << 2;
  t -= m1 << 6;
  t -= m0 << 8;
  const m4 = (t << 34) >> 34;
  t = (t - m4) >> 30;
  t +=
    (load<i64>(a, 0) * load<i64>(a, 40) + load<i64>(a, 8) * load<i64>(a, 32) + load<i64>(a, 16) * load<i64>(a, 24)) <<
    1;
  t += m4 << 2;
  t -= m2 << 6;
  t -= m1 << 8;
  const m5 = (t << 34) >> 34;
  t = (t - m5) >> 30;
  t +=
    (load<i64>(a, 0) * load<i64>(a, 48) + load<i64>(a, 8) * load<i64>(a, 40) + load<i64>(a, 16) * load<i64>(a, 32)) <<
    1;
  t += load<i64>(a, 24) * load<i64>(a, 24);
  t += m5 << 2;
  t -= m3 << 6;
  t -= m2 << 8;
  const m6 = (t << 34) >> 34;
  t = (t - m6) >> 30;
  t +=
    (load<i64>(a, 0) * load<i64>(a, 56) +
      load<i64>(a, 8) * load<i64>(a, 48) +
      load<i64>(a, 16) * load<i64>(a, 40) +
      load<i64>(a, 24) * load<i64>(a, 32)) <<
    1;
  t += m6 << 2;
  t -= m4 << 6;
  t -= m3 << 8;
  const m7 = (t << 34) >> 34;
  t = (t - m7) >> 30;
  t +=
    (load<i64>(a, 0) * load<i64>(a, 64) +
      load<i64>(a, 8) * load<i64>(a, 56) +
      load<i64>(a, 16) * load<i64>(a, 48) +
      load<i64>(a, 24) * load<i64>(a, 40)) <<
    1;
  t += load<i64>(a, 32) * load<i64>(a, 32);
  t += m7 << 2;
  t -= m5 << 6;
  t -= m4 << 8;
  const m8 = (t << 34) >> 34;
  t = (t - m8) >> 30;
  t +=
    (load<i64>(a, 0) * load<i64>(a, 72) +
      load<i64>(a, 8) * load<i64>(a, 64) +
      load<i64>(a, 16) * load<i64>(a, 56) +
      load<i64>(a, 24) * load<i64>(a, 48) +
      load<i64>(a, 32) * load<i64>(a, 40)) <<
    1;
  t += m8 << 2;
  t -= m6 << 6;
  t -= m5 << 8;
  const m9 = (t << 34) >> 34;
  t = (t - m9) >> 30;
  t +=
    (load<i64>(a, 0) * load<i64>(a, 80) +
      load<i64>(a, 8) * load<i64>(a, 72) +
      load<i64>(a, 16) * load<i64>(a, 64) +
      load<i64>(a, 24) * load<i64>(a, 56) +
      load<i64>(a, 32) * load<i64>(a, 48)) <<
    1;
  t += load<i64>(a, 40) * load<i64>(a, 40);
  t += m9 << 2;
  t -= m7 << 6;
  t -= m6 << 8;
  const m10 = (t << 34) >> 34;
  t = (t - m10) >> 30;
  t +=
    (load<i64>(a, 0) * load<i64>(a, 88) +
      load<i64>(a, 8) * load<i64>(a, 80) +
      load<i64>(a, 16) * load<i64>(a, 72) +
      load<i64>(a, 24) * load<i64>(a, 64) +
      load<i64>(a, 32) * load<i64>(a, 56) +
      load<i64>(a, 40) * load<i64>(a, 48)) <<
    1;
  t += m10 << 2;
  t -= m8 << 6;
  t -= m7 << 8;
  const m11 = (t << 34) >> 34;
  t = (t - m11) >> 30;
  t +=
    (load<i64>(a, 0) * load<i64>(a, 96) +
      load<i64>(a, 8) * load<i64>(a, 88) +
      load<i64>(a, 16) * load<i64>(a, 80) +
      load<i64>(a, 24) * load<i64>(a, 72) +
      load<i64>(a, 32) * load<i64>(a, 64) +
      load<i64>(a, 40) * load<i64>(a, 56)) <<
    1;
  t += load<i64>(a, 48) * load<i64>(a, 48);
  t += m11 << 2;
  t -= m9 << 6;
  t -= m8 << 8;
  t += m0 << 24;
  const m12 = (t << 34) >> 34;
  t = (t - m12) >> 30;
  t +=
    (load<i64>(a, 8) * load<i64>(a, 96) +
      load<i64>(a, 16) * load<i64>(a, 88) +
      load<i64>(a, 24) * load<i64>(a, 80) +
      load<i64>(a, 32) * load<i64>(a, 72) +
      load<i64>(a, 40) * load<i64>(a, 64) +
      load<i64>(a, 48) * load<i64>(a, 56)) <<
    1;
  t += m12 << 2;
  t -= m10 << 6;
  t -= m9 << 8;
  t += m1 << 24;
  if (sizeof<K>() == 4) t -= load<i64>(c, 0) + load<i64>(d, 0);
  k = (t + 0x20000000) >> 30;
  store<i64>(r, t - (k << 30), 0);
  t = k;
  t +=
    (load<i64>(a, 16) * load<i64>(a, 96) +
      load<i64>(a, 24) * load<i64>(a, 88) +
      load<i64>(a, 32) * load<i64>(a, 80) +
      load<i64>(a, 40) * load<i64>(a, 72) +
      load<i64>(a, 48) * load<i64>(a, 64)) <<
    1;
  t += load<i64>(a, 56) * load<i64>(a, 56);
  t -= m11 << 6;
  t -= m10 << 8;
  t += m2 << 24;
  if (sizeof<K>() == 4) t -= load<i64>(c, 8) + load<i64>(d, 8);
  k = (t + 0x20000000) >> 30;
  store<i64>(r, t - (k << 30), 8);
  t = k;
  t +=
    (load<i64>(a, 24) * load<i64>(a, 96) +
      load<i64>(a, 32) * load<i64>(a, 88) +
      load<i64>(a, 40) * load<i64>(a, 80) +
      load<i64>(a, 48) * load<i64>(a, 72) +
      load<i64>(a, 56) * load<i64>(a, 64)) <<
    1;
  t -= m12 << 6;
  t -= m11 << 8;
  t += m3 << 24;
  if (sizeof<K>() == 4) t -= load<i64>(c, 16) + load<i64>(d, 16);
  k = (t + 0x20000000) >> 30;
  store<i64>(r, t - (k << 30), 16);
  t = k;
  t +=
    (load<i64>(a, 32) * load<i64>(a, 96) +
      load<i64>(a, 40) * load<i64>(a, 88) +
      load<i64>(a, 48) * load<i64>(a, 80) +
      load<i64>(a, 56) * load<i64>(a, 72)) <<
    1;
  t += load<i64>(a, 64) * load<i64>(a, 64);
  t -= m12 << 8;
  t += m4 << 24;
  if (sizeof<K>() == 4) t -= load<i64>(c, 24) + load<i64>(d, 24);
  k = (t + 0x20000000) >> 30;
  store<i64>(r, t - (k << 30), 24);
  t = k;
  t +=
    (load<i64>(a, 40) * load<i64>(a, 96) +
      load<i64>(a, 48) * load<i64>(a, 88) +
      load<i64>(a, 56) * load<i64>(a, 80) +
      load<i64>(a, 64) * load<i64>(a, 72)) <<
    1;
  t += m5 << 24;
  if (sizeof<K>() == 4) t -= load<i64>(c, 32) + load<i64>(d, 32);
  k = (t + 0x20000000) >> 30;
  store<i64>(r, t - (k << 30), 32);
  t = k;
  t +=
    (load<i64>(a, 48) * load<i64>(a, 96) + load<i64>(a, 56) * load<i64>(a, 88) + load<i64>(a, 64) * load<i64>(a, 80)) <<
    1;
  t += load<i64>(a, 72) * load<i64>(a, 72);
  t += m6 << 24;
  if (sizeof<K>() == 4) t -= load<i64>(c, 40) + load<i64>(d, 40);
  k = (t + 0x20000000) >> 30;
  store<i64>(r, t - (k << 30), 40);
  t = k;
  t +=
    (load<i64>(a, 56) * load<i64>(a, 96) + load<i64>(a, 64) * load<i64>(a, 88) + load<i64>(a, 72) * load<i64>(a, 80)) <<
    1;
  t += m7 << 24;
  if (sizeof<K>() == 4) t -= load<i64>(c, 48) + load<i64>(d, 48);
  k = (t + 0x20000000) >> 30;
  store<i64>(r, t - (k << 30), 48);
  t = k;
  t += (load<i64>(a, 64) * load<i64>(a, 96) + load<i64>(a, 72) * load<i64>(a, 88)) << 1;
  t += load<i64>(a, 80) * load<i64>(a, 80);
  t += m8 << 24;
  if (sizeof<K>() == 4) t -= load<i64>(c, 56) + load<i64>(d, 56);
  k = (t + 0x20000000) >> 30;
  store<i64>(r, t - (k << 30), 56);
  t = k;
  t += (load<i64>(a, 72) * load<i64>(a, 96) + load<i64>(a, 80) * load<i64>(a, 88)) << 1;
  t += m9 << 24;
  if (sizeof<K>() == 4) t -= load<i64>(c, 64) + load<i64>(d, 64);
  k = (t + 0x20000000) >> 30;
  store<i64>(r, t - (k << 30), 64);
  t = k;
  t += (load<i64>(a, 80) * load<i64>(a, 96)) << 1;
  t += load<i64>(a, 88) * load<i64>(a, 88);
  t += m10 << 24;
  if (sizeof<K>() == 4) t -= load<i64>(c, 72) + load<i64>(d, 72);
  k = (t + 0x20000000) >> 30;
  store<i64>(r, t - (k << 30), 72);
  t = k;
  t += (load<i64>(a, 88) * load<i64>(a, 96)) << 1;
  t += m11 << 24;
  if (sizeof<K>() == 4) t -= load<i64>(c, 80) + load<i64>(d, 80);
  k = (t + 0x20000000) >> 30;
  store<i64>(r, t - (k << 30), 80);
  t = k;
  t += load<i64>(a, 96) * load<i64>(a, 96);
  t += m12 << 24;
  if (sizeof<K>() == 4) t -= load<i64>(c, 88) + load<i64>(d, 88);
  k = (t + 0x20000000) >> 30;
  store<i64>(r, t - (k << 30), 88);
  t = k;
  if (sizeof<K>() == 4) t -= load<i64>(c, 96) + load<i64>(d, 96);
  store<i64>(r, t, 96);
}
