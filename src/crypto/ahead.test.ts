import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import type { SignatureAlgorithm } from "./algorithms.ts";
import {
  type Checks,
  chooseSyncVerifier,
  chooseVerifier,
  nativeVerifier,
  type PreparedCheck,
  type PublicKey,
  runChecks,
  runChecksSync,
  type SignatureCheck,
  type SignatureVerifier,
  type SyncSignatureVerifier,
  webcryptoVerifier,
} from "./index.ts";
import { signTest, type TestKey, testKey } from "./keys.testing.ts";
import { WasmVerifier } from "./wasm/verifier.ts";

const data = new TextEncoder().encode("what is signed");
const alg: SignatureAlgorithm = { family: "ecdsa", hash: "SHA-256", encoding: "p1363" };

/** A backend that says what it was asked; it gains by every batch unless told otherwise. */
function watched(inner: SyncSignatureVerifier, gains = true) {
  const asked = { imported: [] as PublicKey[], alone: 0, batches: [] as number[], vain: 0 };
  const verifier: SyncSignatureVerifier = {
    name: "watched",
    sync: true,
    importKey(key) {
      asked.imported.push(key);
      return inner.importKey(key);
    },
    verify(...all) {
      asked.alone++;
      return inner.verify(...all);
    },
    batchIfFaster(checks) {
      if (!gains) asked.vain++;
      if (!gains) return undefined;
      asked.batches.push(checks.length);
      return checks.map(({ alg, key, signature, data }) => inner.verify(alg, key, signature, data));
    },
  };
  return { verifier, asked };
}

/** Asks for each check, in order, whatever the verdicts are; each says that the next one follows. */
function* inTurn(checks: readonly SignatureCheck[]): Checks<boolean[]> {
  const verdicts: boolean[] = [];
  const linked = checks.reduceRight<SignatureCheck | undefined>((next, check) => ({ ...check, next }), undefined);
  for (let one = linked; one !== undefined; one = one.next) verdicts.push(yield one);
  return verdicts;
}

describe("signatures ahead of their questions", () => {
  let key: TestKey;
  let other: TestKey;
  let good: SignatureCheck;
  let second: SignatureCheck;
  let bad: SignatureCheck[];
  before(async () => {
    [key, other] = [await testKey("P-256"), await testKey("P-256")];
    const signed = async (by: TestKey, octets: Uint8Array): Promise<SignatureCheck> => {
      const signature = await signTest(by, alg, octets);
      return { alg, key: by.publicKey, signature, data: octets };
    };
    good = await signed(key, data);
    second = await signed(other, data.subarray(2));
    const flipped = (octets: Uint8Array, at: number) => octets.map((octet, i) => (i === at ? octet ^ 1 : octet));
    bad = [
      { ...good, signature: flipped(good.signature, 40) },
      { ...second, data: flipped(second.data, 3) },
      { ...good, key: other.publicKey },
      { ...second, alg: { ...alg, hash: "SHA-384" } },
      { ...good, signature: second.signature },
    ];
  });

  /** Keys with tables at once. */
  const tabled = () => {
    const wasm = new WasmVerifier({ schedule: (task) => task() });
    wasm.preload(wasm, [key.publicKey, other.publicKey]);
    for (const { publicKey } of [key, other]) assert.ok(wasm.hasTable(wasm.importKey(publicKey)));
    return wasm;
  };
  /** Makes keys known to a backend, as earlier verifications have. */
  const knows = (verifier: SignatureVerifier) => runChecks(inTurn([good, second]), verifier);

  it("[S-15] [G-5] have the verdict of each alone, by every backend and in every order", async () => {
    const wasm = tabled();
    const { batchIfFaster: _, ...lone } = chooseSyncVerifier();
    const failing = {
      ...watched(nativeVerifier()!).verifier,
      batchIfFaster: () => assert.fail("as a module that trapped"),
    };
    const short = { ...watched(nativeVerifier()!).verifier, batchIfFaster: () => [true] };
    const promising = {
      ...watched(nativeVerifier()!).verifier,
      batchIfFaster: () => [1, Promise.resolve(true)] as never,
    };
    const backends: Record<string, SignatureVerifier> = {
      tables: wasm as SignatureVerifier,
      default: chooseVerifier(),
      wasm: chooseVerifier("wasm"),
      native: chooseVerifier("native"),
      webcrypto: webcryptoVerifier,
      watched: watched(nativeVerifier()!).verifier,
      "without batches": lone,
      "batches that fail": failing,
      "batches that lack a verdict": short,
    };
    const all = [good, second, ...bad];
    for (const [name, verifier] of Object.entries(backends)) {
      await knows(verifier);
      for (const first of all) {
        for (const next of all) {
          const checks = [first, next, first];
          const wanted = checks.map((check) => !bad.includes(check));
          assert.deepEqual(await runChecks(inTurn(checks), verifier), wanted, name);
          if (verifier.sync)
            assert.deepEqual(runChecksSync(inTurn(checks), verifier as SyncSignatureVerifier), wanted, name);
        }
      }
    }
    await knows(promising);
    assert.deepEqual(runChecksSync(inTurn([good, second]), promising), [false, false], "a promise is no yes");
  });

  it("are found in one batch, each once, and the rest alone", async () => {
    for (const run of [
      runChecks,
      async (...all: Parameters<typeof runChecksSync<boolean[]>>) => runChecksSync(...all),
    ]) {
      const { verifier, asked } = watched(nativeVerifier()!);
      assert.deepEqual(await run(inTurn([good, second]), verifier), [true, true]);
      assert.deepEqual([asked.batches, asked.alone], [[], 2], "the second key came for the first time");
      assert.deepEqual(await run(inTurn([good, bad[1]!, second]), verifier), [true, false, true]);
      assert.deepEqual([asked.batches, asked.alone], [[3], 2]);
      assert.deepEqual(await run(inTurn([good, second, good, second]), verifier), [true, true, true, true]);
      assert.deepEqual([asked.batches, asked.alone, asked.imported.length], [[3, 4], 2, 2]);
      const lone = watched(nativeVerifier()!, false);
      for (let turn = 0; turn < 2; turn++)
        assert.deepEqual(await run(inTurn([good, bad[0]!]), lone.verifier), [true, false]);
      assert.deepEqual([lone.asked.batches, lone.asked.alone, lone.asked.vain], [[], 4, 2]);
    }
  });

  it("[S-13] use no key that the backend has not had before, not even to prepare it", () => {
    const { verifier, asked } = watched(nativeVerifier()!);
    function* stops(): Checks<boolean> {
      return yield { ...good, next: second };
    }
    for (let turn = 0; turn < 2; turn++) assert.equal(runChecksSync(stops(), verifier), true);
    assert.deepEqual([asked.imported, asked.batches, asked.alone], [[key.publicKey], [], 2]);
    assert.deepEqual(runChecksSync(inTurn([good, second]), verifier), [true, true]);
    assert.equal(runChecksSync(stops(), verifier), true);
    assert.deepEqual([asked.imported.length, asked.batches, asked.alone], [2, [2], 4], "its twin, with a known key");
  });

  it("[S-15] answer for the very octets, key and algorithm that were checked, and for nothing else", async () => {
    const { verifier, asked } = watched(nativeVerifier()!);
    await knows(verifier);
    function* asks(announced: SignatureCheck, wanted: SignatureCheck): Checks<boolean[]> {
      return [yield { ...good, next: announced }, yield wanted];
    }
    assert.deepEqual(runChecksSync(asks(second, second), verifier), [true, true]);
    assert.deepEqual([asked.batches, asked.alone], [[2], 2]);
    for (const wrong of [
      { ...second, key: key.publicKey },
      { ...second, signature: good.signature },
      { ...second, data: good.data },
      { ...second, alg: { ...alg, hash: "SHA-512" } as const },
    ]) {
      assert.deepEqual(runChecksSync(asks(second, wrong), verifier), [true, false]);
      assert.deepEqual(runChecksSync(asks(wrong, second), verifier), [true, true]);
    }
    // one that changes after it was announced, as this project's own never does
    const changing = { ...second };
    function* changes(): Checks<boolean[]> {
      const first = yield { ...good, next: changing };
      Object.assign(changing, { key: key.publicKey });
      return [first, yield changing, yield second];
    }
    assert.deepEqual(runChecksSync(changes(), verifier), [true, false, true]);
  });

  it("are checked together by WebAssembly where all keys have tables on one curve, and only there", async () => {
    const wasm = tabled();
    const fresh = await testKey("P-256");
    const large = await testKey("P-384");
    wasm.preload(large, [large.publicKey]);
    const signed = await signTest(fresh, alg, data);
    const wide = { ...alg, hash: "SHA-384" } as const;
    const checks: SignatureCheck[] = [
      good,
      { alg, key: fresh.publicKey, signature: signed, data },
      { alg: wide, key: large.publicKey, signature: await signTest(large, wide, data), data },
    ];
    const [mine, bare, other384] = checks.map(({ key, ...check }) => ({ ...check, key: wasm.importKey(key) }));
    assert.deepEqual(
      [mine, bare, other384].map((check) => wasm.hasTable(check!.key)),
      [true, false, true],
    );
    assert.deepEqual(wasm.batchIfFaster([mine!, mine!]), [true, true]);
    assert.deepEqual(wasm.batchIfFaster([other384!, { ...other384!, data: data.subarray(1) }]), [true, false]);
    const foreign = { ...mine!, key: {} as never };
    for (const some of [[mine, bare], [bare, mine], [mine, other384], [other384, mine], [mine, foreign], [foreign]]) {
      assert.equal(wasm.batchIfFaster(some as never), undefined);
    }
    const rsa = wasm.importKey((await testKey("RSA-2048")).publicKey);
    assert.equal(
      wasm.batchIfFaster([
        { ...mine!, key: rsa },
        { ...mine!, key: rsa },
      ]),
      undefined,
    );
    let batches = 0;
    const counted = wasm.verifyBatch.bind(wasm);
    wasm.verifyBatch = (checks: readonly PreparedCheck<never>[]) => {
      batches++;
      return counted(checks);
    };
    const verifier = wasm as SyncSignatureVerifier;
    await knows(verifier);
    batches = 0;
    assert.deepEqual(runChecksSync(inTurn([good, second]), verifier), [true, true]);
    assert.equal(batches, 1);
    wasm.preload(wasm, []);
    wasm.dispose();
    assert.equal(wasm.batchIfFaster([mine!, mine!]), undefined);
    assert.deepEqual(runChecksSync(inTurn([good, second]), verifier), [false, false]);
  });
});
