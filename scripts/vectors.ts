/**
 * Judges all test vectors on every runtime and in workerd.
 *
 *     npm run test:vectors
 *     npm run test:vectors -- --runtime node --runtime workerd
 *
 * Prints a row for each set and runtime, each case that is not right, and last the sums. Ends with 1 when one is
 * wrong, or when the public sets are not there.
 */
import { parseArgs } from "node:util";
import { missing, readSet } from "../test/vectors/files.ts";
import type { NamedResult } from "../test/vectors/run.ts";
import type { SetResult } from "../test/vectors/set.ts";
import { SETS } from "../test/vectors/sets.ts";
import { DATES, Workerd } from "../test/workerd/serve.ts";
import { bin, root, run } from "./lib/run.ts";
import { CONDITION, RUNTIMES, type RuntimeName } from "./lib/runtimes.ts";

const PLACES = [...RUNTIMES, "workerd"] as const;
type Place = (typeof PLACES)[number];

function places(): readonly Place[] {
  const { values } = parseArgs({ options: { runtime: { type: "string", multiple: true } } });
  const named = (values.runtime ?? []).flatMap((value) => value.split(","));
  const unknown = named.find((name) => name !== "all" && !PLACES.includes(name as Place));
  if (unknown !== undefined) throw new Error(`${unknown} is not known`);
  return named.length === 0 || named.includes("all") ? PLACES : PLACES.filter((place) => named.includes(place));
}

async function onRuntime(runtime: RuntimeName): Promise<NamedResult[]> {
  const program = "test/vectors/run.ts";
  const args = {
    bun: ["run", CONDITION, program],
    deno: ["run", "-A", "--no-check", CONDITION, program],
    node: [CONDITION, program],
  }[runtime];
  const { code, stdout, output } = await run(bin(runtime), args, { cwd: root, timeoutMs: 600_000 });
  if (code !== 0) throw new Error(`${runtime} ended with ${code}: ${output}`);
  return JSON.parse(stdout) as NamedResult[];
}

async function inWorkerd(): Promise<NamedResult[]> {
  const workerd = await Workerd.start(DATES["node:crypto"], { worker: "vectors-worker.ts", wasm: true });
  try {
    const results: NamedResult[] = [];
    for (const set of SETS.filter((one) => missing(one) === undefined)) {
      const answer = await workerd.ask("/vectors", { set: set.name, contents: readSet(set) });
      results.push({ set: set.name, ...(answer as { result: SetResult }).result });
    }
    return results;
  } finally {
    await workerd.close();
  }
}

function row(...[set, place, ...counts]: readonly (string | number)[]): string {
  return `${String(set).padEnd(20)} ${String(place).padEnd(8)} ${counts.map((count) => String(count).padStart(6)).join(" ")}`;
}

async function main(): Promise<number> {
  const sums = { rows: 0, right: 0, wrong: 0, notApplicable: 0, total: 0 };
  const wanted = places();
  console.log(row("set", "runtime", "right", "wrong", "n/a", "total"));
  for (const place of wanted) {
    for (const result of await (place === "workerd" ? inWorkerd() : onRuntime(place))) {
      const { set, right, wrong, notApplicable, total } = result;
      console.log(row(set, place, right, wrong.length, notApplicable, total));
      for (const sentence of wrong) console.log(`    ${sentence}`);
      sums.rows += 1;
      sums.right += right;
      sums.wrong += wrong.length;
      sums.notApplicable += notApplicable;
      sums.total += total;
    }
  }
  const absent = SETS.map(missing).find((reason) => reason !== undefined);
  if (absent !== undefined) console.log(`public sets did not run: ${absent}`);
  const { rows, right, wrong, notApplicable, total } = sums;
  console.log(`${rows} rows: ${right} right, ${wrong} wrong, ${notApplicable} n/a of ${total}`);
  return wrong === 0 && total > 0 && absent === undefined ? 0 : 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(`vectors: ${error instanceof Error ? error.message : error}`);
  console.error(`Usage: npm run test:vectors -- [--runtime ${PLACES.join("|")}|all]…`);
  process.exitCode = 2;
}
