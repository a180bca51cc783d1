import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { isSpiffeError } from "../base/index.ts";
import type { Hash, SignatureAlgorithm } from "./algorithms.ts";
import { preloadAuthorities, wasmVerifier } from "./choose-backend.ts";
import {
  type Checks,
  chooseSyncVerifier,
  nativeVerifier,
  runChecksTogether,
  type SignatureCheck,
  type SyncSignatureVerifier,
  verifyBatch,
  webcryptoVerifier,
} from "./index.ts";
import { signTest, type TestKey, testKey } from "./keys.testing.ts";
import { ecdsaP1363ToDer } from "./signature.ts";

const TYPES = ["P-256", "P-384", "P-521", "RSA-2048", "Ed25519"];
const data = new TextEncoder().encode("what is signed");

function algorithmOf(type: string, hash: Hash): SignatureAlgorithm {
  if (type === "Ed25519") return { family: "ed25519" };
  return type.startsWith("RSA") ? { family: "rsa-pss", hash } : { family: "ecdsa", hash, encoding: "p1363" };
}

/** Every backend that a batch may be given, by name. */
function backends(): Map<string, SyncSignatureVerifier> {
  const own = chooseSyncVerifier();
  const { verifyBatch: _, ...lone } = own;
  return new Map([
    ["default", own],
    ["wasm", chooseSyncVerifier("wasm")],
    ["native", nativeVerifier()!],
    ["without batches", lone as SyncSignatureVerifier],
    ["batches that fail", { ...own, verifyBatch: () => assert.fail("as a module that trapped") }],
    ["batches that lack a verdict", { ...own, verifyBatch: () => [true] }],
  ]);
}

describe("a batch of signatures", () => {
  const good: SignatureCheck[] = [];
  const bad: SignatureCheck[] = [];
  const keys: TestKey[] = [];
  before(async () => {
    for (const type of TYPES) {
      const [key, other] = [await testKey(type), await testKey(type)];
      keys.push(key, other);
      for (const hash of ["SHA-256", "SHA-384", "SHA-512"] as const) {
        const alg = algorithmOf(type, hash);
        const signature = await signTest(key, alg, data);
        const check: SignatureCheck = { alg, key: key.publicKey, signature, data };
        const flipped = Uint8Array.from(signature);
        flipped[21]! ^= 4;
        good.push(check, { ...check, trusted: true });
        bad.push({ ...check, signature: flipped }, { ...check, data: data.subarray(1) });
        bad.push({ ...check, key: other.publicKey, trusted: true }, { ...check, signature: signature.subarray(1) });
        if (alg.family !== "ecdsa") continue;
        const der = { ...alg, encoding: "der" } as const;
        good.push({ ...check, alg: der, signature: ecdsaP1363ToDer(signature) });
        bad.push({ ...check, alg: der });
      }
    }
    bad.push({ ...good[0]!, key: {} as never }, { ...good[0]!, alg: null as never });
    bad.push({ ...good[0]!, signature: "" as never }, { ...good[0]!, data: null as never });
    preloadAuthorities(
      keys,
      keys.map(({ publicKey }) => publicKey),
    );
    await wasmVerifier()!.ready();
  });

  it("[S-15] [G-5] has the verdict of each signature as if it were alone, by every backend", () => {
    assert.ok(good.length > 30 && bad.length > 60);
    for (const [name, verifier] of backends()) {
      // each size, each neighbour: strides that go through all of them
      for (const stride of [1, 7, 11]) {
        const all = [...good, ...bad].map((_, i, { length }) => [...good, ...bad][(i * stride) % length]!);
        for (const size of [1, 2, 3, 16, 17, 40, all.length]) {
          const some = all.slice(-size);
          assert.deepEqual(
            verifyBatch(some, verifier),
            some.map((check) => good.includes(check)),
            `${name}, ${size} of them by ${stride}`,
          );
        }
      }
    }
    assert.deepEqual(verifyBatch([]), []);
  });

  it("[A-12] no bit flipped in one of a batch's signatures is accepted, and none harms the others", () => {
    for (const check of good.filter(({ key }) => key.kind === "ec").slice(0, 1)) {
      for (let bit = 0; bit < check.signature.length * 8; bit++) {
        const flipped = Uint8Array.from(check.signature);
        flipped[bit >> 3]! ^= 1 << (bit & 7);
        const batch = Array.from({ length: 5 }, (_, i) => (i === bit % 5 ? { ...check, signature: flipped } : check));
        assert.deepEqual(
          verifyBatch(batch),
          batch.map((_, i) => i !== bit % 5),
          `bit ${bit}`,
        );
      }
    }
  });

  it("is not given to a backend of promises, each of which would look like a yes", () => {
    const refused = (error: unknown) => isSpiffeError(error, "ERR_SPIFFE_BACKEND");
    for (const verifier of [webcryptoVerifier, {}, { ...nativeVerifier()!, sync: false }]) {
      assert.throws(() => verifyBatch([good[0]!], verifier as never), refused);
      assert.throws(() => runChecksTogether([], verifier as never), refused);
    }
    const promising = { ...nativeVerifier()!, verify: () => Promise.resolve(true) as never };
    assert.deepEqual(verifyBatch([good[0]!, good[1]!], promising), [false, false]);
  });

  it("of verifications: each goes on by its own verdicts, and one that throws is alone in that", () => {
    function* tries(checks: readonly SignatureCheck[]): Checks<number> {
      for (const [index, check] of checks.entries()) if (yield check) return index;
      return -1;
    }
    // biome-ignore lint/correctness/useYield: it throws before it asks for anything
    function* throws(): Checks<number> {
      throw new RangeError("of its own");
    }
    const [yes, no] = [good[0]!, bad[0]!];
    const results = runChecksTogether([tries([no, no, yes]), tries([]), throws(), tries([yes]), tries([no, no])]);
    assert.deepEqual(
      results.map((result) => (result.status === "fulfilled" ? result.value : String(result.reason))),
      [2, -1, "RangeError: of its own", 0, -1],
    );
  });
});
