/**
 * Proves that the cases of the WebAssembly verifier bite (G-5): plants one fault after another in `wasm/`, builds the module
 * and requires that a wrong verdict, a trap or a hang shows it. The untouched module is tried as well, also in a build that
 * asserts the bounds of all limbs. `npm run test:mutants -- [--only NAME]…`
 */
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { parseArgs } from "node:util";
import { replaceOnce } from "./lib/control-row.ts";
import { bin, inParallel, root, run } from "./lib/run.ts";
import { MUTANTS, type Mutant } from "./lib/wasm-mutants.ts";

const CASES = 1_000;
const SEED = 5;
const WIDTH = 2;
/** Breaks the rule that loose limbs are never multiplied with loose ones; no verdict needs to show that. */
const LOOSE: Mutant = {
  name: "(loose by loose, asserted)",
  file: "point.ts",
  find: "combine<C>(A, 1, x, A);",
  replace: "addLazy<C>(A, x, A);",
};
/** Many times what the untouched module takes. */
const DEADLINE_MS = 120_000;

/** What the untouched sources and each fault lead to: wrong verdicts, or why there is no verdict. */
async function outcome(mutant: Mutant | undefined, asserted = false): Promise<{ caught: boolean; how: string }> {
  const folder = await mkdtemp(`${tmpdir()}/spiffe-edge-mutant-`);
  try {
    await cp(`${root}/wasm`, `${folder}/wasm`, { recursive: true });
    if (mutant !== undefined) {
      const path = `${folder}/wasm/${mutant.file}`;
      await writeFile(path, replaceOnce(await readFile(path, "utf8"), mutant.file, mutant.find, mutant.replace));
    }
    const asc = `${root}/node_modules/assemblyscript/bin/asc.js`;
    const flags = [
      "--runtime",
      "stub",
      "-O1",
      "--noAssert",
      "--use",
      "abort=",
      "--use",
      `CHECK=${asserted ? 1 : 0}`,
      "--enable",
      "simd",
    ];
    const built = await run(bin("node"), [asc, "wasm/index.ts", "-o", "mutant.wasm", ...flags], { cwd: folder });
    if (built.code !== 0) throw new Error(`does not build:\n${built.output}`);
    const args = [`${root}/test/fuzz-crypto.ts`, String(SEED), "0", String(CASES), `${folder}/mutant.wasm`];
    const tried = await run(bin("node"), args, { timeoutMs: DEADLINE_MS });
    if (tried.code === 0) return { caught: false, how: "every verdict is right" };
    if (tried.code === 124) return { caught: true, how: "it hangs" };
    const faults = /"faults":\["([^":]*)/.exec(tried.stdout)?.[1];
    const trap = /RuntimeError: .*|no table of/.exec(tried.output)?.[0];
    if (faults === undefined && trap === undefined) throw new Error(`ends with code ${tried.code}:\n${tried.output}`);
    return { caught: true, how: faults ?? `it stops: ${trap}` };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { only: { type: "string", multiple: true } } });
  const unknown = values.only?.find((name) => !MUTANTS.some((mutant) => mutant.name === name));
  if (unknown !== undefined) throw new Error(`${unknown} is not known; ${MUTANTS.map(({ name }) => name).join(", ")}`);
  const chosen = MUTANTS.filter(({ name }) => values.only?.includes(name) ?? true);
  const jobs: { mutant?: Mutant; asserted?: true }[] = [
    {},
    { asserted: true },
    { mutant: LOOSE, asserted: true },
    ...chosen.map((mutant) => ({ mutant })),
  ];
  const tried = await inParallel(
    WIDTH,
    jobs.map(({ mutant, asserted }) => async () => {
      const name = mutant?.name ?? (asserted === true ? "(no fault, asserted)" : "(no fault)");
      try {
        const { caught, how } = await outcome(mutant, asserted);
        const good = caught === (mutant !== undefined);
        console.log(`${good ? "✓" : "✗"} ${name.padEnd(28)} ${how}`);
        return good;
      } catch (error) {
        console.log(`✗ ${name}: ${error instanceof Error ? error.message : error}`);
        return false;
      }
    }),
  );
  const failed = tried.filter((good) => !good).length;
  console.log(`${tried.length - failed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 2;
}
