/**
 * Differential and mutation tests at length: random chains and tokens judged here and by other implementations, and mutants
 * of everything that is read from outside.
 *
 *     npm run fuzz                                        200,000 mutants on Bun
 *     npm run fuzz -- --runtime all --seed 7
 *     npm run fuzz -- --seed 7 --case certificate/1234    one case again
 *
 * Each finding is printed with its input and the case that repeats it. The last line sums up; with a finding it ends with 1.
 */
import { parseArgs } from "node:util";
import { bin, run } from "./lib/run.ts";
import { CONDITION, RUNTIMES, type RuntimeName } from "./lib/runtimes.ts";

const USAGE = `usage: npm run fuzz -- [--runtime ${RUNTIMES.join("|")}|all] [--seed N] [--mutants N] [--chains N] [--tokens N] [--case LABEL]`;
const PASSED_ON = ["seed", "mutants", "chains", "tokens", "case"] as const;
const TIMEOUT_MS = 3_600_000;

function command(runtime: RuntimeName, args: readonly string[]): [string, string[]] {
  const file = "test/fuzz/run.ts";
  if (runtime === "deno") return [bin("deno"), ["run", "-A", "--no-check", CONDITION, file, ...args]];
  return [bin(runtime), [CONDITION, file, ...args]];
}

function options(): { runtimes: readonly RuntimeName[]; args: string[] } {
  const text = { type: "string" } as const;
  const { values } = parseArgs({
    options: { runtime: text, seed: text, mutants: text, chains: text, tokens: text, case: text },
  });
  const { runtime = "bun" } = values;
  if (runtime !== "all" && !RUNTIMES.includes(runtime as RuntimeName)) throw new Error(`${runtime} is not known`);
  for (const name of ["seed", "mutants", "chains", "tokens"] as const) {
    if (values[name] !== undefined && !/^\d{1,9}$/.test(values[name])) throw new Error(`--${name} wants a number`);
  }
  return {
    runtimes: runtime === "all" ? RUNTIMES : [runtime as RuntimeName],
    args: PASSED_ON.flatMap((name) => (values[name] === undefined ? [] : [`--${name}`, values[name]])),
  };
}

async function main(): Promise<number> {
  const { runtimes, args } = options();
  const sums: string[] = [];
  let failed = 0;
  for (const runtime of runtimes) {
    const [program, parameters] = command(runtime, args);
    const result = await run(program, parameters, { live: true, timeoutMs: TIMEOUT_MS });
    sums.push(`${runtime}: ${result.stdout.trim().split("\n").at(-1)}`);
    if (result.code !== 0) failed++;
  }
  console.log(`${failed === 0 ? "✓" : "✗"} ${sums.join(" · ")}`);
  return failed === 0 ? 0 : 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(`${error instanceof Error ? error.message : error}\n${USAGE}`);
  process.exitCode = 2;
}
