import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import type { SignatureAlgorithm } from "../algorithms.ts";
import { signTest, type TestKey, testKey } from "../keys.testing.ts";
import { type Checks, runChecksSync } from "../verifier.ts";
import { MAX_TABLES, TABLE_INTERVAL_MS } from "./tables.ts";
import { WasmVerifier } from "./verifier.ts";

const data = new TextEncoder().encode("what is signed");
const alg: SignatureAlgorithm = { family: "ecdsa", hash: "SHA-384", encoding: "p1363" };

/** A verifier whose timers are fired by hand. */
function byHand() {
  const timers: { task: () => void; delayMs: number }[] = [];
  const verifier = new WasmVerifier({ schedule: (task, delayMs) => void timers.push({ task, delayMs }) });
  const fire = () => {
    const timer = timers.shift();
    timer?.task();
    return timer?.delayMs;
  };
  return { verifier, timers, fire };
}

function* check(key: TestKey, signature: Uint8Array, trusted: boolean): Checks<boolean> {
  const what = { alg, key: key.publicKey, signature, data };
  return yield trusted ? { ...what, trusted } : what;
}

describe("tables of keys", () => {
  let keys: TestKey[];
  let signatures: Uint8Array[];
  before(async () => {
    keys = await Promise.all(Array.from({ length: MAX_TABLES["P-384"] + 2 }, () => testKey("P-384")));
    signatures = await Promise.all(keys.map((key) => signTest(key, alg, data)));
  });

  it("[S-13] are built one in 100 ms, by a timer and never in a check", () => {
    const { verifier, timers, fire } = byHand();
    verifier.preload(
      verifier,
      keys.slice(0, 3).map(({ publicKey }) => publicKey),
    );
    assert.equal(verifier.memory.tables, 0);
    assert.equal(verifier.memory.waiting, 3);
    const prepared = verifier.importKey(keys[0]!.publicKey);
    for (let i = 0; i < 20; i++) assert.ok(verifier.verify(alg, prepared, signatures[0]!, data));
    assert.equal(verifier.memory.tables, 0, "a check builds nothing");
    const seen: [number | undefined, number][] = [];
    while (timers.length > 0) {
      assert.equal(timers.length, 1);
      seen.push([fire(), verifier.memory.tables]);
    }
    // the generator's first, then one at a time, then a rest
    assert.deepEqual(
      seen,
      [0, 1, 2, 3, 4].map((turn) => [turn === 0 ? 0 : TABLE_INTERVAL_MS, Math.min(turn, 3)]),
    );
    for (const [index, key] of keys.slice(0, 3).entries()) {
      assert.ok(verifier.verify(alg, verifier.importKey(key.publicKey), signatures[index]!, data));
      assert.equal(verifier.verify(alg, verifier.importKey(key.publicKey), signatures[index + 1]!, data), false);
    }
  });

  it("[S-13] are for keys that something trusted uses again and again, and for no others", () => {
    const { verifier, timers } = byHand();
    const [stranger, issuer] = [keys[0]!, keys[1]!];
    for (let i = 0; i < 20; i++) assert.ok(runChecksSync(check(stranger, signatures[0]!, false), verifier));
    assert.equal(timers.length, 0);
    for (let i = 0; i < 7; i++) assert.ok(runChecksSync(check(issuer, signatures[1]!, true), verifier));
    assert.equal(timers.length, 0, "seven uses do not pay for a table");
    assert.ok(runChecksSync(check(issuer, signatures[1]!, true), verifier));
    assert.equal(timers.length, 1);
    assert.equal(verifier.memory.waiting, 1);
  });

  it("[S-13] are bounded: the one used longest ago gives way, one that is pinned stays", () => {
    const verifier = new WasmVerifier({ schedule: (task) => task() });
    const most = MAX_TABLES["P-384"];
    verifier.preload(keys, [keys[0]!.publicKey]);
    const prepared = keys.map(({ publicKey }) => verifier.importKey(publicKey));
    for (const [index, key] of prepared.entries()) {
      for (let i = 0; i < 8; i++) verifier.noteTrusted(key);
      assert.ok(verifier.verify(alg, key, signatures[index]!, data));
    }
    assert.equal(verifier.memory.tables, most);
    const { bytes, tableBytes } = verifier.memory;
    assert.ok(
      tableBytes > most * 100_000 && tableBytes < bytes && bytes <= 16 * 1_048_576,
      `${tableBytes} of ${bytes}`,
    );
    assert.ok(verifier.hasTable(prepared[0]!), "the pinned one");
    assert.equal(verifier.hasTable(prepared[1]!), false, "the one used longest ago");
    assert.ok(verifier.hasTable(prepared[3]!));
    for (const [index, key] of prepared.entries()) {
      assert.ok(verifier.verify(alg, key, signatures[index]!, data), `${index}`);
      assert.equal(verifier.verify(alg, key, signatures[(index + 1) % keys.length]!, data), false);
    }
    // an owner's new list takes the place of the old one
    verifier.preload(keys, [keys[1]!.publicKey]);
    assert.deepEqual([verifier.isPinned(prepared[0]!), verifier.isPinned(prepared[1]!)], [false, true]);
    assert.ok(verifier.hasTable(prepared[1]!));
    assert.equal(verifier.memory.tables, most);
    verifier.preload(keys, []);
    assert.equal(verifier.isPinned(prepared[1]!), false);
  });

  it("wait resolves when no key waits, and after disposal nothing verifies", async () => {
    const { verifier, timers, fire } = byHand();
    await verifier.ready();
    verifier.preload(keys, [keys[0]!.publicKey]);
    const ready = verifier.ready();
    while (timers.length > 0) fire();
    await ready;
    const prepared = verifier.importKey(keys[0]!.publicKey);
    assert.ok(verifier.verify(alg, prepared, signatures[0]!, data));
    verifier.dispose();
    verifier.dispose();
    assert.equal(verifier.verify(alg, prepared, signatures[0]!, data), false);
    assert.deepEqual(verifier.memory, { bytes: 0, tableBytes: 0, tables: 0, waiting: 0 });
  });

  it("[A-12] no change of a single bit of a signature or of the data verifies, with a table and without", async () => {
    const table = new WasmVerifier({ schedule: (task) => task() });
    const bare = new WasmVerifier({ schedule: () => {} });
    for (const [curve, hash] of [
      ["P-256", "SHA-256"],
      ["P-521", "SHA-512"],
    ] as const) {
      const key = await testKey(curve);
      const own: SignatureAlgorithm = { family: "ecdsa", hash, encoding: "p1363" };
      const signature = await signTest(key, own, data);
      table.preload(key, [key.publicKey]);
      for (const verifier of [table, bare]) {
        const prepared = verifier.importKey(key.publicKey);
        for (const octets of [signature, data]) {
          for (let bit = 0; bit < octets.length * 8; bit += verifier === table ? 1 : 3) {
            const spoilt = Uint8Array.from(octets);
            spoilt[bit >> 3]! ^= 1 << (bit & 7);
            const [s, d] = octets === signature ? [spoilt, data] : [signature, spoilt];
            assert.equal(verifier.verify(own, prepared, s, d), false, `${curve} bit ${bit}`);
          }
        }
        assert.ok(verifier.verify(own, prepared, signature, data));
      }
    }
  });
});
