import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { isSpiffeError } from "../base/index.ts";
import type { Hash, SignatureAlgorithm } from "./algorithms.ts";
import { BACKEND_TABLES, type Backend, chooseSyncVerifier, chooseVerifier } from "./choose-backend.ts";
import { signTest, testKey } from "./keys.testing.ts";
import { nativeVerifier } from "./verifier.ts";
import { WasmVerifier } from "./wasm/verifier.ts";

const data = new TextEncoder().encode("what is signed");

describe("the choice of a backend", () => {
  it("has a row with a reason for every curve of every runtime, and one for RSA", () => {
    for (const { rows, rsa, versions } of BACKEND_TABLES) {
      assert.ok(["wasm", "native"].includes(rsa.backend) && rsa.why !== "");
      assert.deepEqual(
        rows.map(({ curve }) => curve),
        ["P-256", "P-384", "P-521"],
      );
      assert.ok(versions !== "" && rows.every(({ why }) => why !== ""));
    }
  });

  it("is overridden by name, and refuses names that it does not know", () => {
    assert.equal(chooseVerifier().name, "wasm+node:crypto");
    assert.equal(chooseVerifier("native"), nativeVerifier());
    assert.equal(chooseVerifier("webcrypto").name, "webcrypto");
    assert.equal(chooseSyncVerifier("wasm").sync, true);
    assert.throws(
      () => chooseSyncVerifier("webcrypto"),
      (error) => isSpiffeError(error, "ERR_SPIFFE_BACKEND"),
    );
    assert.throws(
      () => chooseVerifier("best" as Backend),
      (error) => isSpiffeError(error, "ERR_SPIFFE_USAGE"),
    );
  });

  it("[S-15] gives the same verdicts by every backend, for every kind of key and hash", async () => {
    for (const type of ["P-256", "P-384", "P-521", "RSA-2048", "Ed25519"]) {
      const key = await testKey(type);
      for (const hash of ["SHA-256", "SHA-384", "SHA-512"] as const) {
        const alg = algorithmOf(type, hash);
        const signature = await signTest(key, alg, data);
        const spoilt = Uint8Array.from(signature);
        spoilt[20]! ^= 1;
        for (const backend of [undefined, "wasm", "native", "webcrypto"] as const) {
          const verifier = chooseVerifier(backend);
          const prepared = await verifier.importKey(key.publicKey);
          assert.equal(await verifier.verify(alg, prepared, signature, data), true, `${backend} ${type} ${hash}`);
          assert.equal(await verifier.verify(alg, prepared, spoilt, data), false, `${backend} ${type} ${hash}`);
        }
      }
    }
  });

  it("takes a module that the host compiled, and says what it lacks otherwise", async () => {
    const { WebAssembly } = globalThis as unknown as { WebAssembly: { Module: new (octets: Uint8Array) => object } };
    const octets = new Uint8Array(readFileSync(new URL("./wasm/ecdsa.wasm", import.meta.url)));
    const verifier = new WasmVerifier({ module: new WebAssembly.Module(octets) });
    const key = await testKey("P-256");
    const alg = algorithmOf("P-256", "SHA-256");
    const signature = await signTest(key, alg, data);
    assert.equal(verifier.verify(alg, verifier.importKey(key.publicKey), signature, data), true);
    assert.throws(
      () => new WasmVerifier({ module: {} }),
      (error) => isSpiffeError(error, "ERR_SPIFFE_BACKEND") && error.hint !== undefined,
    );
  });
});

function algorithmOf(type: string, hash: Hash): SignatureAlgorithm {
  if (type === "Ed25519") return { family: "ed25519" };
  if (type.startsWith("RSA")) return { family: "rsa-pss", hash };
  return { family: "ecdsa", hash, encoding: "p1363" };
}
