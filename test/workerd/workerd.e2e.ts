/** The portable core inside workerd: with WebCrypto alone, and with the native crypto of its Node.js compatibility. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { type JudgedCase, judgedCases } from "../support/cases.ts";
import { PORTABLE_ENTRIES } from "../support/option-entries.ts";
import { skipMissing } from "../support/skip.ts";
import { missing, readSet } from "../vectors/files.ts";
import type { SetResult } from "../vectors/set.ts";
import { SETS } from "../vectors/sets.ts";
import { DATES, Workerd } from "./serve.ts";

const PUBLIC = SETS.filter(({ folder }) => folder !== "spiffe");
const present = skipMissing(
  "public test vectors in workerd",
  PUBLIC.map(missing).find((reason) => reason !== undefined),
);

for (const [verifier, date] of Object.entries(DATES)) {
  describe(`workerd as of ${date}`, () => {
    let workerd: Workerd;
    let cases: readonly JudgedCase[];

    before(async () => {
      cases = await judgedCases();
      workerd = await Workerd.start(date);
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

    it("reads a policy file and decides", async () => {
      const text = `
rules:
  - { rule: own, allow: { ids: ["spiffe://example.org/ns/{tenant}/sa/*"] }, path: "/of/{tenant}/**" }
end: true
`;
      const peer = "spiffe://example.org/ns/acme/sa/web";
      const ask = (path: string) => workerd.ask("/policy", { text, peer, path });
      const allowed = { verdict: "allow", reason: "policy.allowed", rule: "own", mode: "enforce" };
      assert.deepEqual(await ask("/of/acme/1"), allowed);
      assert.deepEqual(await ask("/of/other/1"), { verdict: "deny", reason: "policy.default-deny", mode: "enforce" });
    });

    it("takes the options that a function knows, and no others", async () => {
      const tried = PORTABLE_ENTRIES.map(({ name }) => [name, []]);
      assert.ok(tried.length > 0);
      assert.deepEqual(await workerd.ask("/options", {}), tried);
    });

    for (const set of SETS) {
      const title = `[S-15] ${set.name}: every case has the file's verdict, by ${verifier}`;
      it(title, set.folder === "spiffe" ? {} : present, async () => {
        const answer = (await workerd.ask("/vectors", { set: set.name, contents: readSet(set) })) as {
          result: SetResult;
          verifiers: string[];
        };
        assert.deepEqual(answer.result.wrong, []);
        assert.deepEqual(answer.verifiers, verifier === "webcrypto" ? [verifier] : [verifier, "webcrypto"]);
      });
    }
  });
}
