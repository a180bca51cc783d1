/** The WebAssembly verifier in workerd, compiled ahead and imported, beside WebCrypto alone and beside `node:crypto`. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { type JudgedCase, judgedCases } from "../support/cases.ts";
import { skipMissing } from "../support/skip.ts";
import { DATES, Workerd } from "./serve.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const vectors = process.env.VECTORS_DIR ?? `${root}../shared/vectors`;

interface VectorFile {
  testGroups: {
    publicKeyDer: string;
    sha: string;
    tests: { tcId: number; comment: string; msg: string; sig: string; result: string }[];
  }[];
}

for (const [other, date] of Object.entries(DATES)) {
  describe(`workerd as of ${date} with the compiled module`, () => {
    const verifier = `wasm+${other}`;
    let workerd: Workerd;
    let cases: readonly JudgedCase[];
    before(async () => {
      cases = await judgedCases();
      workerd = await Workerd.start(date, { worker: "wasm-worker.ts", wasm: true });
    });
    after(() => workerd?.close());

    for (const kind of ["x509", "jwt"] as const) {
      it(`judges each ${kind} case as it should, by ${verifier}`, async () => {
        const chosen = cases.filter((testCase) => testCase.kind === kind);
        assert.ok(chosen.some(({ expected }) => expected.ok) && chosen.some(({ expected }) => !expected.ok));
        for (const testCase of chosen) {
          const answer = await workerd.ask("/", testCase);
          assert.deepEqual(answer, { verdict: testCase.expected, verifier }, testCase.name);
        }
      });
    }

    const files = {
      ecdsa_secp256r1_sha256: { family: "ecdsa", encoding: "der" },
      ecdsa_secp384r1_sha384: { family: "ecdsa", encoding: "der" },
      ecdsa_secp521r1_sha512: { family: "ecdsa", encoding: "der" },
      rsa_signature_2048_sha256: { family: "rsa-pkcs1" },
      rsa_signature_4096_sha512: { family: "rsa-pkcs1" },
      rsa_pss_2048_sha256_mgf1_32: { family: "rsa-pss" },
      rsa_pss_4096_sha512_mgf1_64: { family: "rsa-pss" },
    };
    for (const [name, scheme] of Object.entries(files)) {
      const file = `${name}_test.json`;
      const title = `[G-5] ${file} has the vectors' results without tables, with them, as chosen, and at once`;
      const missing = existsSync(vectors) ? undefined : `there are no test vectors at ${vectors}`;
      it(title, skipMissing(title, missing), async () => {
        const { testGroups } = JSON.parse(readFileSync(`${vectors}/wycheproof/${file}`, "utf8")) as VectorFile;
        for (const { publicKeyDer: spki, sha: hash, tests } of testGroups) {
          const question = { spki, alg: { ...scheme, hash }, tests };
          const answer = (await workerd.ask("/", question)) as { verdicts: boolean[][] } | { refused: string };
          if ("refused" in answer) {
            // an exponent of 3, with which vectors are called valid
            assert.equal(answer.refused, "key.weak");
            continue;
          }
          const { verdicts } = answer;
          for (const [index, { tcId, comment, result }] of tests.entries()) {
            const row = verdicts[index]!;
            assert.equal(new Set(row).size, 1, `${tcId} (${comment}): ${row}`);
            if (result !== "acceptable") assert.equal(row[0], result === "valid", `${tcId}: ${comment}`);
          }
        }
      });
    }
  });
}
