import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import type { SignatureAlgorithm } from "./algorithms.ts";
import { type Checks, chooseSyncVerifier, nativeVerifier, type SyncSignatureVerifier } from "./index.ts";
import { signTest, type TestKey, testKey } from "./keys.testing.ts";
import { runInTurn } from "./turn.ts";

const alg: SignatureAlgorithm = { family: "ecdsa", hash: "SHA-256", encoding: "p1363" };
const data = new TextEncoder().encode("what is signed");

describe("verifications of one turn of the event loop", () => {
  let key: TestKey;
  let good: Uint8Array;
  let bad: Uint8Array;
  before(async () => {
    key = await testKey("P-256");
    good = await signTest(key, alg, data);
    bad = Uint8Array.from(good);
    bad[9]! ^= 1;
  });

  /** The default backend, which tells how many signatures it was given at once. */
  function counting(): { verifier: SyncSignatureVerifier; sizes: number[] } {
    const own = chooseSyncVerifier();
    const sizes: number[] = [];
    const verifier: SyncSignatureVerifier = {
      ...own,
      verify: (...check) => {
        sizes.push(1);
        return own.verify(...check);
      },
      verifyBatch: (checks) => {
        sizes.push(checks.length);
        return own.verifyBatch!(checks);
      },
    };
    return { verifier, sizes };
  }

  const check = (signature: Uint8Array) =>
    function* (): Checks<boolean> {
      return yield { alg, key: key.publicKey, signature, data };
    };

  it("[S-15] are checked together, each with its own verdict, at most 64", async () => {
    const { verifier, sizes } = counting();
    const wanted = Array.from({ length: 150 }, (_, i) => i % 3 !== 0);
    const found = await Promise.all(wanted.map((valid) => runInTurn(check(valid ? good : bad), verifier)));
    assert.deepEqual(found, wanted);
    assert.deepEqual(sizes, [64, 64, 22]);
  });

  it("[S-19] begin when they run: what changes before counts", async () => {
    const { verifier } = counting();
    const signed = { by: good };
    const pending = Array.from({ length: 3 }, () => runInTurn(() => check(signed.by)(), verifier));
    signed.by = bad;
    assert.deepEqual(await Promise.all(pending), [false, false, false]);
    const twins = Array.from({ length: 3 }, () => runInTurn(() => check(signed.by)(), verifier));
    signed.by = good;
    assert.deepEqual(await Promise.all(twins), [true, true, true]);
  });

  it("run at once where they always come alone, and together again when others come", async () => {
    const { verifier, sizes } = counting();
    let atOnce = 0;
    for (let i = 0; i < 200; i++) {
      const result = runInTurn(check(i % 2 === 0 ? good : bad), verifier);
      if (!(result instanceof Promise)) atOnce++;
      assert.equal(await result, i % 2 === 0);
    }
    assert.ok(atOnce > 150 && atOnce < 200, `${atOnce} at once`);
    sizes.length = 0;
    const many = Array.from({ length: 60 }, () => runInTurn(check(good), verifier));
    assert.ok((await Promise.all(many)).every(Boolean));
    assert.ok(
      sizes.some((size) => size >= 40),
      `${sizes}`,
    );
    sizes.length = 0;
    await Promise.all(Array.from({ length: 5 }, () => runInTurn(check(good), verifier)));
    assert.deepEqual(sizes, [5]);
  });

  it("fail alone: one that throws, at its beginning or later, keeps no other from its verdict", async () => {
    const { verifier } = counting();
    const throwing = [
      () => assert.fail("before it begins"),
      // biome-ignore lint/correctness/useYield: it throws before it asks for anything
      function* (): Checks<boolean> {
        assert.fail("as it begins");
      },
      function* (): Checks<boolean> {
        yield* check(good)();
        return assert.fail("after its check");
      },
    ];
    for (const make of throwing) {
      const all = [check(good), make, check(bad), check(good)].map((one) => runInTurn<boolean>(one, verifier));
      const settled = await Promise.allSettled(all);
      assert.deepEqual(
        settled.map((one) => (one.status === "fulfilled" ? one.value : "threw")),
        [true, "threw", false, true],
      );
    }
  });

  it("run at once by a backend that has no batches", () => {
    const native = nativeVerifier()!;
    assert.deepEqual([runInTurn(check(good), native), runInTurn(check(bad), native)], [true, false]);
  });
});
