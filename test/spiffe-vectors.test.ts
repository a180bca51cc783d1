/** The project's own cases: each is judged as the file says, and the lists they are made of add nothing and change nothing. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { readSet } from "./vectors/files.ts";
import { addMissing, type Recipe, toJson } from "./vectors/recipes/add.ts";
import { RECIPES } from "./vectors/recipes/index.ts";
import { NO_NOTES, runSet } from "./vectors/set.ts";
import { judgeSet, SETS, type VectorSet } from "./vectors/sets.ts";
import type { SpiffeCase } from "./vectors/spiffe-cases.ts";

const OWN = SETS.filter(({ folder }) => folder === "spiffe");
const fileOf = ({ files }: VectorSet) => files[0]!;
const casesOf = (set: VectorSet) => readSet(set)[fileOf(set)] as readonly SpiffeCase[];
const textOf = (set: VectorSet) => readFileSync(new URL(`./vectors/spiffe/${fileOf(set)}`, import.meta.url), "utf8");

for (const set of OWN) {
  describe(`cases of ${set.name}`, () => {
    const cases = casesOf(set);

    it("are well formed, each with its own name and requirements", () => {
      assert.equal(new Set(cases.map(({ name }) => name)).size, cases.length);
      for (const { name, valid, reason, requirements } of cases) {
        assert.equal(valid, reason === undefined, name);
        assert.ok(requirements.length > 0 && requirements.every((id) => /^[A-Z]+(?:509)?-\d+$/.test(id)), name);
      }
      assert.ok(cases.filter(({ valid }) => valid).length >= 40);
      assert.ok(cases.filter(({ valid }) => !valid).length >= 40);
    });

    // src/id runs each of the others by itself
    if (set.name === "spiffe-id") {
      it("are judged as the file says", async () => assert.deepEqual((await judgeSet(set, readSet(set))).wrong, []));
      return;
    }

    it("have a twin that is accepted for each that is refused", () => {
      const valid = new Set(cases.filter((one) => one.valid).map(({ name }) => name));
      for (const one of cases) {
        if (one.valid) assert.equal(one.twin, undefined, one.name);
        else assert.ok(one.twin !== undefined && valid.has(one.twin), `${one.name}: ${one.twin}`);
      }
    });

    for (const one of cases) {
      const ids = one.requirements.map((id) => `[${id}]`).join(" ");
      it(`${ids} ${one.valid ? "takes" : "refuses"} ${one.name}`, async () => {
        assert.deepEqual((await runSet(set.cases(fileOf(set), [one]), NO_NOTES)).wrong, []);
      });
    }
  });
}

describe("the lists of cases", () => {
  for (const set of OWN) {
    const recipes = RECIPES[fileOf(set) as keyof typeof RECIPES] as readonly Recipe<SpiffeCase>[] | undefined;
    if (recipes === undefined) continue;

    it(`change nothing in ${fileOf(set)}`, async () => {
      assert.equal(toJson(await addMissing(casesOf(set), recipes)), textOf(set));
    });

    it(`have each case of ${fileOf(set)} once, with the same verdict and twin`, () => {
      const about = ({ name, valid, reason, choice, requirements, twin }: SpiffeCase) =>
        JSON.stringify({ name, valid, reason, choice, requirements, twin });
      assert.deepEqual(recipes.map(about).sort(), casesOf(set).map(about).sort());
    });

    it(`add to ${fileOf(set)} what is missing, and nothing else`, async () => {
      const whole = casesOf(set);
      const present = whole.filter((_, index) => index % 50 !== 0);
      const added = await addMissing(present, recipes);
      assert.deepEqual(added.slice(0, present.length), present);
      const fresh = added.slice(present.length);
      assert.deepEqual(
        fresh.map(({ name }) => name).sort(),
        whole
          .filter((_, index) => index % 50 === 0)
          .map(({ name }) => name)
          .sort(),
      );
      const { wrong, right } = await runSet(set.cases(fileOf(set), JSON.parse(toJson(fresh))), NO_NOTES);
      assert.deepEqual({ wrong, right }, { wrong: [], right: fresh.length });
    });
  }
});
