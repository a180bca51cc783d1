/**
 * The field of P-521: p = 2^521 − 1 (SP 800-186 §3.2.1.5), 18 limbs of 29 bits in i64.
 *
 * Plain residues: 2^522 is 2, so a limb that leaves at the top comes back at the bottom, doubled. Tight limbs lie in
 * ±(2^28 + 2^7), loose ones in twice that. A column is at most (1 + 17 · 2) · 2^28 · 2^29, below 2^62.2.
 */

/** 2b and b one after the other, or 2a's upper half and a: what a shifted row reads. */
const ROWS = memory.data(36 * 8, 8);
/** Columns of a square. */
const COLUMNS = memory.data(18 * 8, 8);

/** r = a · b (K = u8), − c (K = u16), − c − d (K = u32). a tight, b loose. */
export function mul521<K>(r: usize, a: usize, b: usize, c: usize, d: usize): void {
  let y: i64;
  y = load<i64>(b, 0);
  store<i64>(ROWS, y << 1, 0);
  store<i64>(ROWS, y, 144);
  y = load<i64>(b, 8);
  store<i64>(ROWS, y << 1, 8);
  store<i64>(ROWS, y, 152);
  y = load<i64>(b, 16);
  store<i64>(ROWS, y << 1, 16);
  store<i64>(ROWS, y, 160);
  y = load<i64>(b, 24);
  store<i64>(ROWS, y << 1, 24);
  store<i64>(ROWS, y, 168);
  y = load<i64>(b, 32);
  store<i64>(ROWS, y << 1, 32);
  store<i64>(ROWS, y, 176);
  y = load<i64>(b, 40);
  store<i64>(ROWS, y << 1, 40);
  store<i64>(ROWS, y, 184);
  y = load<i64>(b, 48);
  store<i64>(ROWS, y << 1, 48);
  store<i64>(ROWS, y, 192);
  y = load<i64>(b, 56);
  store<i64>(ROWS, y << 1, 56);
  store<i64>(ROWS, y, 200);
  y = load<i64>(b, 64);
  store<i64>(ROWS, y << 1, 64);
  store<i64>(ROWS, y, 208);
  y = load<i64>(b, 72);
  store<i64>(ROWS, y << 1, 72);
  store<i64>(ROWS, y, 216);
  y = load<i64>(b, 80);
  store<i64>(ROWS, y << 1, 80);
  store<i64>(ROWS, y, 224);
  y = load<i64>(b, 88);
  store<i64>(ROWS, y << 1, 88);
  store<i64>(ROWS, y, 232);
  y = load<i64>(b, 96);
  store<i64>(ROWS, y << 1, 96);
  store<i64>(ROWS, y, 240);
  y = load<i64>(b, 104);
  store<i64>(ROWS, y << 1, 104);
  store<i64>(ROWS, y, 248);
  y = load<i64>(b, 112);
  store<i64>(ROWS, y << 1, 112);
  store<i64>(ROWS, y, 256);
  y = load<i64>(b, 120);
  store<i64>(ROWS, y << 1, 120);
  store<i64>(ROWS, y, 264);
  y = load<i64>(b, 128);
  store<i64>(ROWS, y << 1, 128);
  store<i64>(ROWS, y, 272);
  y = load<i64>(b, 136);
  store<i64>(ROWS, y << 1, 136);
  store<i64>(ROWS, y, 280);
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
  let t13: i64 = 0;
  let t14: i64 = 0;
  let t15: i64 = 0;
  let t16: i64 = 0;
  let t17: i64 = 0;
  let row = ROWS + 144;
  for (let end = a + 144; a < end; a += 8, row -= 8) {
    const x = load<i64>(a);
    t0 += x * load<i64>(row, 0);
    t1 += x * load<i64>(row, 8);
    t2 += x * load<i64>(row, 16);
    t3 += x * load<i64>(row, 24);
    t4 += x * load<i64>(row, 32);
    t5 += x * load<i64>(row, 40);
    t6 += x * load<i64>(row, 48);
    t7 += x * load<i64>(row, 56);
    t8 += x * load<i64>(row, 64);
    t9 += x * load<i64>(row, 72);
    t10 += x * load<i64>(row, 80);
    t11 += x * load<i64>(row, 88);
    t12 += x * load<i64>(row, 96);
    t13 += x * load<i64>(row, 104);
    t14 += x * load<i64>(row, 112);
    t15 += x * load<i64>(row, 120);
    t16 += x * load<i64>(row, 128);
    t17 += x * load<i64>(row, 136);
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
    t13 -= load<i64>(c, 104);
    t14 -= load<i64>(c, 112);
    t15 -= load<i64>(c, 120);
    t16 -= load<i64>(c, 128);
    t17 -= load<i64>(c, 136);
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
    t13 -= load<i64>(d, 104);
    t14 -= load<i64>(d, 112);
    t15 -= load<i64>(d, 120);
    t16 -= load<i64>(d, 128);
    t17 -= load<i64>(d, 136);
  }
  let k: i64;
  k = (t0 + 0x10000000) >> 29;
  t0 -= k << 29;
  t1 += k;
  k = (t1 + 0x10000000) >> 29;
  t1 -= k << 29;
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
  k = (t8 + 0x10000000) >> 29;
  store<i64>(r, t8 - (k << 29), 64);
  t9 += k;
  k = (t9 + 0x10000000) >> 29;
  store<i64>(r, t9 - (k << 29), 72);
  t10 += k;
  k = (t10 + 0x10000000) >> 29;
  store<i64>(r, t10 - (k << 29), 80);
  t11 += k;
  k = (t11 + 0x10000000) >> 29;
  store<i64>(r, t11 - (k << 29), 88);
  t12 += k;
  k = (t12 + 0x10000000) >> 29;
  store<i64>(r, t12 - (k << 29), 96);
  t13 += k;
  k = (t13 + 0x10000000) >> 29;
  store<i64>(r, t13 - (k << 29), 104);
  t14 += k;
  k = (t14 + 0x10000000) >> 29;
  store<i64>(r, t14 - (k << 29), 112);
  t15 += k;
  k = (t15 + 0x10000000) >> 29;
  store<i64>(r, t15 - (k << 29), 120);
  t16 += k;
  k = (t16 + 0x10000000) >> 29;
  store<i64>(r, t16 - (k << 29), 128);
  t17 += k;
  k = (t17 + 0x10000000) >> 29;
  store<i64>(r, t17 - (k << 29), 136);
  // 2^522 is 2 modulo p
  t0 += k << 1;
  k = (t0 + 0x10000000) >> 29;
  store<i64>(r, t0 - (k << 29));
  store<i64>(r, t1 + k, 8);
}

/** r = a² (K = u8), − c − d (K = u32). a tight. Two columns a round: a pair (i, j) with i + j fixed stands once. */
export function sqr521<K>(r: usize, a: usize, c: usize, d: usize): void {
  let y: i64;
  y = load<i64>(a, 0);
  store<i64>(ROWS, y, 72);
  y = load<i64>(a, 8);
  store<i64>(ROWS, y, 80);
  y = load<i64>(a, 16);
  store<i64>(ROWS, y, 88);
  y = load<i64>(a, 24);
  store<i64>(ROWS, y, 96);
  y = load<i64>(a, 32);
  store<i64>(ROWS, y, 104);
  y = load<i64>(a, 40);
  store<i64>(ROWS, y, 112);
  y = load<i64>(a, 48);
  store<i64>(ROWS, y, 120);
  y = load<i64>(a, 56);
  store<i64>(ROWS, y, 128);
  y = load<i64>(a, 64);
  store<i64>(ROWS, y, 136);
  y = load<i64>(a, 72);
  store<i64>(ROWS, y, 144);
  store<i64>(ROWS, y << 1, 0);
  y = load<i64>(a, 80);
  store<i64>(ROWS, y, 152);
  store<i64>(ROWS, y << 1, 8);
  y = load<i64>(a, 88);
  store<i64>(ROWS, y, 160);
  store<i64>(ROWS, y << 1, 16);
  y = load<i64>(a, 96);
  store<i64>(ROWS, y, 168);
  store<i64>(ROWS, y << 1, 24);
  y = load<i64>(a, 104);
  store<i64>(ROWS, y, 176);
  store<i64>(ROWS, y << 1, 32);
  y = load<i64>(a, 112);
  store<i64>(ROWS, y, 184);
  store<i64>(ROWS, y << 1, 40);
  y = load<i64>(a, 120);
  store<i64>(ROWS, y, 192);
  store<i64>(ROWS, y << 1, 48);
  y = load<i64>(a, 128);
  store<i64>(ROWS, y, 200);
  store<i64>(ROWS, y << 1, 56);
  y = load<i64>(a, 136);
  store<i64>(ROWS, y, 208);
  store<i64>(ROWS, y << 1, 64);
  let k: i64 = 0;
  let to = COLUMNS;
  for (let e: usize = ROWS + 72, end: usize = ROWS + 144; e < end; e += 8, to += 16) {
    let t =
      ((load<i64>(e, 8) * load<i64>(e - 8) +
        load<i64>(e, 16) * load<i64>(e - 16) +
        load<i64>(e, 24) * load<i64>(e - 24) +
        load<i64>(e, 32) * load<i64>(e - 32) +
        load<i64>(e, 40) * load<i64>(e - 40) +
        load<i64>(e, 48) * load<i64>(e - 48) +
        load<i64>(e, 56) * load<i64>(e - 56) +
        load<i64>(e, 64) * load<i64>(e - 64)) <<
        1) +
      load<i64>(e) * load<i64>(e) +
      load<i64>(e, 72) * load<i64>(e - 72) +
      k;
    if (sizeof<K>() == 4) {
      t -= load<i64>(c) + load<i64>(d);
    }
    k = (t + 0x10000000) >> 29;
    store<i64>(to, t - (k << 29));
    t =
      ((load<i64>(e, 8) * load<i64>(e) +
        load<i64>(e, 16) * load<i64>(e - 8) +
        load<i64>(e, 24) * load<i64>(e - 16) +
        load<i64>(e, 32) * load<i64>(e - 24) +
        load<i64>(e, 40) * load<i64>(e - 32) +
        load<i64>(e, 48) * load<i64>(e - 40) +
        load<i64>(e, 56) * load<i64>(e - 48) +
        load<i64>(e, 64) * load<i64>(e - 56) +
        load<i64>(e, 72) * load<i64>(e - 64)) <<
        1) +
      k;
    if (sizeof<K>() == 4) {
      t -= load<i64>(c, 8) + load<i64>(d, 8);
      c += 16;
      d += 16;
    }
    k = (t + 0x10000000) >> 29;
    store<i64>(to, t - (k << 29), 8);
  }
  // 2^522 is 2 modulo p
  y = load<i64>(COLUMNS) + (k << 1);
  k = (y + 0x10000000) >> 29;
  store<i64>(r, y - (k << 29));
  store<i64>(r, load<i64>(COLUMNS, 8) + k, 8);
  store<i64>(r, load<i64>(COLUMNS, 16), 16);
  store<i64>(r, load<i64>(COLUMNS, 24), 24);
  store<i64>(r, load<i64>(COLUMNS, 32), 32);
  store<i64>(r, load<i64>(COLUMNS, 40), 40);
  store<i64>(r, load<i64>(COLUMNS, 48), 48);
  store<i64>(r, load<i64>(COLUMNS, 56), 56);
  store<i64>(r, load<i64>(COLUMNS, 64), 64);
  store<i64>(r, load<i64>(COLUMNS, 72), 72);
  store<i64>(r, load<i64>(COLUMNS, 80), 80);
  store<i64>(r, load<i64>(COLUMNS, 88), 88);
  store<i64>(r, load<i64>(COLUMNS, 96), 96);
  store<i64>(r, load<i64>(COLUMNS, 104), 104);
  store<i64>(r, load<i64>(COLUMNS, 112), 112);
  store<i64>(r, load<i64>(COLUMNS, 120), 120);
  store<i64>(r, load<i64>(COLUMNS, 128), 128);
  store<i64>(r, load<i64>(COLUMNS, 136), 136);
}
