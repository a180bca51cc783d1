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

    for (const curve of ["secp256r1_sha256", "secp384r1_sha384", "secp521r1_sha512"]) {
      const file = `ecdsa_${curve}_test.json`;
      const title = `[G-5] ${file} has the vectors' results without tables, with them, and as chosen`;
      const missing = existsSync(vectors) ? undefined : `there are no test vectors at ${vectors}`;
      it(title, skipMissing(title, missing), async () => {
        const { testGroups } = JSON.parse(readFileSync(`${vectors}/wycheproof/${file}`, "utf8")) as VectorFile;
        for (const { publicKeyDer: spki, sha: hash, tests } of testGroups) {
          const question = { spki, hash, encoding: "der", tests };
          const { verdicts } = (await workerd.ask("/", question)) as { verdicts: boolean[][] };
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
