import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { skipMissing } from "../../../test/support/skip.ts";
import { HASH_LENGTH, type Hash, isHash, type SignatureAlgorithm } from "../algorithms.ts";
import { chooseSyncVerifier } from "../choose-backend.ts";
import { fromHex } from "../octets.ts";
import { PublicKey } from "../public-key.ts";
import { WasmVerifier } from "./verifier.ts";

interface VectorFile {
  readonly testGroups: readonly {
    readonly publicKeyDer: string;
    readonly sha: string;
    readonly mgf?: string;
    readonly mgfSha?: string;
    readonly sLen?: number;
    readonly tests: readonly { tcId: number; comment: string; msg: string; sig: string; result: string }[];
  }[];
}

const folder = process.env.VECTORS_DIR ?? fileURLToPath(new URL("../../../../shared/vectors", import.meta.url));
const missing = existsSync(folder)
  ? undefined
  : `there are no test vectors at ${folder}; name their folder by VECTORS_DIR`;

describe("Wycheproof signatures by WebAssembly", () => {
  for (const curve of ["secp256r1_sha256", "secp384r1_sha384", "secp521r1_sha512"]) {
    for (const encoding of ["der", "p1363"] as const) {
      const file = `ecdsa_${curve}${encoding === "p1363" ? "_p1363" : ""}_test.json`;
      const title = `[G-5] [S-15] ${file}: without tables, with them, in batches, and as chosen, the vectors' results`;
      it(title, skipMissing(title, missing), () => {
        const bare = new WasmVerifier({ schedule: () => {} });
        // builds each table as soon as it is wanted
        const full = new WasmVerifier({ schedule: (task) => task() });
        const chosen = chooseSyncVerifier();
        const asked = chooseSyncVerifier("wasm");
        const counts = { accepted: 0, refused: 0 };
        const { testGroups } = JSON.parse(readFileSync(join(folder, "wycheproof", file), "utf8")) as VectorFile;
        for (const { publicKeyDer, sha, tests } of testGroups) {
          const key = PublicKey.fromSpki(fromHex(publicKeyDer));
          const alg: SignatureAlgorithm = { family: "ecdsa", hash: sha as Hash, encoding };
          if (key.ok) {
            full.preload(counts, [key.value]);
            assert.ok(full.hasTable(full.importKey(key.value)));
          }
          // all of a key's in batches, and in other ones of another order
          const order = tests.map((_, i) => (i * 37 + 11) % tests.length);
          const orders = new Set(order).size === order.length ? [order, order.toReversed()] : [[...order.keys()]];
          const together = orders.map((places) => {
            const found: boolean[] = [];
            const checks = places.map((at) => ({
              alg,
              key: key.ok ? full.importKey(key.value) : ({} as never),
              signature: fromHex(tests[at]!.sig),
              data: fromHex(tests[at]!.msg),
            }));
            for (const [i, verdict] of full.verifyBatch(checks).entries()) found[places[i]!] = verdict;
            return found;
          });
          for (const [at, { tcId, comment, msg, sig, result }] of tests.entries()) {
            const verdicts: boolean[] = [bare, full, chosen, asked].map(
              (verifier) =>
                key.ok && verifier.verify(alg, verifier.importKey(key.value) as never, fromHex(sig), fromHex(msg)),
            );
            verdicts.push(...together.map((found) => found[at]!));
            assert.equal(new Set(verdicts).size, 1, `${file} ${tcId} (${comment}): ${verdicts}`);
            counts[verdicts[0] ? "accepted" : "refused"]++;
            if (result !== "acceptable") assert.equal(verdicts[0], result === "valid", `${file} ${tcId}: ${comment}`);
          }
        }
        console.log(`${file}: ${JSON.stringify(counts)}`);
        assert.ok(counts.accepted > 0 && counts.refused > 0);
      });
    }
  }

  const title = "[G-5] [S-15] RSA files: by the module alone, as chosen and as asked, the vectors' results";
  it(title, skipMissing(title, missing), () => {
    const files = readdirSync(join(folder, "wycheproof")).filter((name) =>
      /^rsa_(pss|signature)_.*_test\.json$/.test(name),
    );
    assert.ok(files.length >= 10, `${files.length} files`);
    const alone = new WasmVerifier();
    const verifiers = [alone, chooseSyncVerifier(), chooseSyncVerifier("wasm")];
    const counts = { accepted: 0, refused: 0, "not taken": 0 };
    for (const file of files) {
      const { testGroups } = JSON.parse(readFileSync(join(folder, "wycheproof", file), "utf8")) as VectorFile;
      for (const { publicKeyDer, sha, mgf, mgfSha, sLen, tests } of testGroups) {
        const key = PublicKey.fromSpki(fromHex(publicKeyDer));
        const pss = mgf !== undefined;
        // what S-15 does not take has no algorithm: other hashes, masks and salts
        const taken = isHash(sha) && (!pss || (mgf === "MGF1" && mgfSha === sha && sLen === HASH_LENGTH[sha]));
        if (!key.ok || !taken) {
          counts["not taken"] += tests.length;
          continue;
        }
        const alg: SignatureAlgorithm = { family: pss ? "rsa-pss" : "rsa-pkcs1", hash: sha };
        assert.ok(alone.takes(alone.importKey(key.value)), file);
        for (const { tcId, comment, msg, sig, result } of tests) {
          const verdicts: boolean[] = verifiers.map((verifier) =>
            verifier.verify(alg, verifier.importKey(key.value) as never, fromHex(sig), fromHex(msg)),
          );
          assert.equal(new Set(verdicts).size, 1, `${file} ${tcId} (${comment}): ${verdicts}`);
          counts[verdicts[0] ? "accepted" : "refused"]++;
          if (result !== "acceptable") assert.equal(verdicts[0], result === "valid", `${file} ${tcId}: ${comment}`);
        }
      }
    }
    console.log(`RSA: ${JSON.stringify(counts)}`);
    assert.ok(counts.accepted > 0 && counts.refused > 0);
  });
});
