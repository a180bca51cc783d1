/**
 * Adds cases that are in the lists of `recipes/` and not yet in the files of `spiffe/`: `node test/vectors/generate.ts`.
 *
 * What is in a file stays as it is, byte for byte: others rely on it. To change a case, give it another name.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { addMissing, type Recipe, toJson } from "./recipes/add.ts";
import { RECIPES } from "./recipes/index.ts";
import type { SpiffeCase } from "./spiffe-cases.ts";

for (const [file, recipes] of Object.entries(RECIPES) as [string, readonly Recipe<SpiffeCase>[]][]) {
  const path = fileURLToPath(new URL(`./spiffe/${file}`, import.meta.url));
  const present = JSON.parse(readFileSync(path, "utf8")) as SpiffeCase[];
  const cases = await addMissing(present, recipes);
  if (cases.length > present.length) writeFileSync(path, toJson(cases));
  console.log(`${file}: ${cases.length - present.length} added to ${present.length}`);
}
