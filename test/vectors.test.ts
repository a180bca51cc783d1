/** Public test vectors, and that the runner notices what is not as it should be. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { skipMissing } from "./support/skip.ts";
import { missing, readSet, unread } from "./vectors/files.ts";
import { backends, NO_NOTES, runSet, type SetNotes, type VectorCase } from "./vectors/set.ts";
import { judgeSet, notesOf, SETS } from "./vectors/sets.ts";

const PUBLIC = SETS.filter(({ folder }) => folder !== "spiffe");
const present = skipMissing(
  "public test vectors",
  PUBLIC.map(missing).find((reason) => reason !== undefined),
);

describe("public test vectors", () => {
  for (const set of PUBLIC) {
    const ids = set.requirements.map((id) => `[${id}]`).join(" ");
    const title = `${ids} ${set.name}: every case has the file's verdict, or is listed with a reason`;
    it(title, present, async () => {
      const { wrong, right, notApplicable, total } = await judgeSet(set, readSet(set));
      assert.deepEqual(wrong, []);
      console.log(`${set.name}: ${right} right, 0 wrong, ${notApplicable} n/a of ${total}`);
      assert.ok(right > notApplicable || set.name === "jose-cookbook");
    });
  }

  for (const folder of new Set(PUBLIC.map((set) => set.folder))) {
    it(`${folder}: no file is left out`, present, () => assert.deepEqual(unread(folder), []));
  }

  it("are judged by node:crypto, by WebCrypto, by WebAssembly and by the pair that is chosen unasked", () => {
    assert.deepEqual(
      backends().map(({ name }) => name),
      ["node:crypto", "webcrypto", "wasm+node:crypto", "wasm+node:crypto"],
    );
  });

  it("have exceptions and choices only for sets that there are", () => {
    const withNotes = PUBLIC.filter(({ name }) => notesOf(name).exceptions.length > 0).map(({ name }) => name);
    assert.deepEqual(withNotes, [
      "wycheproof-rsa",
      "wycheproof-rsa-pss",
      "wycheproof-jose",
      "x509-limbo",
      "jose-cookbook",
    ]);
    for (const { name, folder } of SETS) if (folder === "spiffe") assert.deepEqual(notesOf(name), NO_NOTES);
  });
});

describe("the runner of test vectors", () => {
  const accepts = { judge: () => ({ accepted: true, text: "taken" }) };
  const refuses = { judge: () => ({ accepted: false, text: "left" }) };
  const one = (expected: string, judge: Pick<VectorCase, "judge">, more: Partial<VectorCase> = {}): VectorCase => ({
    id: "f#1",
    expected,
    ...judge,
    ...more,
  });
  const listed = (here: "accept" | "refuse" | "not-run", cases = { f: [1] }, ceiling = 1): SetNotes => ({
    ...NO_NOTES,
    ceiling,
    exceptions: [{ reason: "a reason to read", here, cases }],
  });
  const chosen = (choice: "accept" | "refuse"): SetNotes => ({ ...NO_NOTES, choices: { "f#1": choice } });
  const judged = async (cases: readonly VectorCase[], notes: SetNotes = NO_NOTES) => {
    const { right, wrong, notApplicable, total } = await runSet(cases, notes);
    assert.equal(total, cases.length);
    return { right, wrong: wrong.length, notApplicable };
  };
  const RIGHT = { right: 1, wrong: 0, notApplicable: 0 };
  const WRONG = { right: 0, wrong: 1, notApplicable: 0 };
  const EXCEPTION = { right: 0, wrong: 0, notApplicable: 1 };

  it("tells right from wrong", async () => {
    assert.deepEqual(await judged([one("accept", accepts)]), RIGHT);
    assert.deepEqual(await judged([one("refuse", refuses)]), RIGHT);
    assert.deepEqual(await judged([one("accept", refuses)]), WRONG);
    assert.deepEqual(await judged([one("refuse", accepts)]), WRONG);
    assert.deepEqual(await judged([one("accept", accepts, { text: "taken" })]), RIGHT);
    assert.deepEqual(await judged([one("accept", accepts, { text: "taken otherwise" })]), WRONG);
  });

  it("does not let a case pass without a verdict", async () => {
    assert.deepEqual(await judged([one("unknown", accepts)]), WRONG);
    assert.deepEqual(await judged([one("unknown", refuses)]), WRONG);
    assert.deepEqual(await judged([]), WRONG);
    const twice = await judged([one("accept", accepts), one("accept", accepts)]);
    assert.equal(twice.wrong, 1);
  });

  it("wants the recorded choice where the file leaves it open", async () => {
    assert.deepEqual(await judged([one("either", accepts)]), WRONG);
    assert.deepEqual(await judged([one("either", accepts)], chosen("accept")), RIGHT);
    assert.deepEqual(await judged([one("either", accepts)], chosen("refuse")), WRONG);
    assert.equal((await judged([one("either", accepts, { id: "f#2" })], chosen("accept"))).wrong, 2);
  });

  it("takes exceptions from the list alone, and each as it is listed", async () => {
    assert.deepEqual(await judged([one("accept", refuses)], listed("refuse")), EXCEPTION);
    assert.deepEqual(await judged([one("refuse", accepts)], listed("accept")), EXCEPTION);
    assert.deepEqual(await judged([one("refuse", accepts)], listed("not-run")), EXCEPTION);
    assert.deepEqual(await judged([one("accept", accepts)], listed("refuse")), WRONG, "judged otherwise than listed");
    assert.deepEqual(await judged([one("accept", accepts)], listed("accept")), WRONG, "no exception at all");
    assert.deepEqual(await judged([one("accept", accepts)], listed("refuse", { f: [2] })), { ...RIGHT, wrong: 1 });
    assert.equal((await judged([one("accept", refuses)], listed("refuse", { f: [1, 1] }))).wrong, 1, "twice");
    assert.equal((await judged([one("accept", refuses)], listed("refuse", { f: [1] }, 0))).wrong, 1, "ceiling");
  });

  it("notices when the backends differ", async () => {
    const byName: Pick<VectorCase, "judge"> = { judge: ({ name }) => ({ accepted: true, text: name }) };
    assert.deepEqual(await judged([one("accept", byName)]), WRONG);
    const byKind: Pick<VectorCase, "judge"> = { judge: ({ sync }) => ({ accepted: sync, text: "" }) };
    assert.deepEqual(await judged([one("accept", byKind)]), WRONG);
  });
});
