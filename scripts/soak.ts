/**
 * Soaks the Workload API client: `npm run soak -- [--runtime bun|deno|node|all] [--seed N]`.
 *
 * Thousands of rotations of SVIDs that live two seconds, with every fault the fake Workload API knows, and a real SPIRE
 * agent that is killed again and again. About eleven minutes for a runtime. Ends with 1 when a goal is missed.
 */
import { parseArgs } from "node:util";
import { bin, root, run } from "./lib/run.ts";
import { CONDITION, RUNTIMES, type RuntimeName } from "./lib/runtimes.ts";

const LIMIT_MS = 900_000;

/** How each runtime runs a program that can collect garbage on demand. */
const FLAGS: Readonly<Record<RuntimeName, readonly string[]>> = {
  bun: [CONDITION],
  deno: ["run", "-A", "--no-check", CONDITION, "--v8-flags=--expose-gc"],
  node: [CONDITION, "--expose-gc"],
};

function usage(problem: string): never {
  console.error(
    `soak: ${problem}. Usage: npm run soak -- [--runtime ${RUNTIMES.join("|")}|all] [--seed N] [--rotations N]`,
  );
  process.exit(2);
}

function readArguments(): { runtimes: readonly RuntimeName[]; passed: string[] } {
  const text = { type: "string" } as const;
  let values: { runtime?: string | undefined; seed?: string | undefined; rotations?: string | undefined };
  try {
    ({ values } = parseArgs({ options: { runtime: text, seed: text, rotations: text } }));
  } catch (error) {
    return usage((error as Error).message);
  }
  const { runtime = "bun", seed, rotations } = values;
  const runtimes = runtime === "all" ? RUNTIMES : RUNTIMES.filter((name) => name === runtime);
  if (runtimes.length === 0) usage(`expected --runtime ${RUNTIMES.join("|")}|all, got "${runtime}"`);
  if (seed !== undefined && !/^\d{1,10}$/.test(seed)) usage(`expected a whole number as --seed, got "${seed}"`);
  if (rotations !== undefined && !/^[1-9]\d{0,6}$/.test(rotations))
    usage(`expected a whole number as --rotations, got "${rotations}"`);
  const passed = [
    ...(seed === undefined ? [] : ["--seed", seed]),
    ...(rotations === undefined ? [] : ["--rotations", rotations]),
  ];
  return { runtimes, passed };
}

const { runtimes, passed } = readArguments();
let failed = 0;
for (const runtime of runtimes) {
  const args = [...FLAGS[runtime], `${root}/test/soak/main.ts`, ...passed];
  const { code, stdout } = await run(bin(runtime), args, {
    env: { SPIFFE_ENDPOINT_SOCKET: undefined, NODE_OPTIONS: undefined },
    timeoutMs: LIMIT_MS,
    live: true,
  });
  if (code !== 0) failed++;
  if (code !== 0 && code !== 1) console.log(`${runtime}: ended with code ${code}\n${stdout}`);
}
console.log(
  `soak: ${runtimes.length} runtimes, ${failed === 0 ? "all goals reached" : `${failed} of them missed a goal`}`,
);
process.exitCode = failed === 0 ? 0 : 1;
