/**
 * Tries the WebAssembly verifier against `node:crypto`, WebCrypto and BigInt on seeded cases:
 * `npm run fuzz:crypto -- [--cases 100000] [--seed N] [--runtime bun|deno|node|all]`.
 *
 * Each case has a verdict by the way it was made. At least 30 % are valid; each kind of edge case has at least 500.
 */
import { parseArgs } from "node:util";
import { bin, root, run } from "./lib/run.ts";
import { RUNTIMES, type RuntimeName } from "./lib/runtimes.ts";

const { values } = parseArgs({
  options: {
    cases: { type: "string", default: "100000" },
    seed: { type: "string", default: String(Math.floor(Math.random() * 2 ** 31)) },
    runtime: { type: "string", default: "bun" },
  },
});
const count = Number(values.cases);
const wanted = RUNTIMES.filter((name) => values.runtime === "all" || values.runtime === name);
if (!(Number.isSafeInteger(count) && count > 0) || wanted.length === 0) {
  console.error("fuzz:crypto: expected --cases N and --runtime bun|deno|node|all");
  process.exit(2);
}

/** Cases of one process. */
const SLICE = 10_000;

interface Outcome {
  counts: Record<string, number>;
  valid: number;
  faults: string[];
}

function fewest(counts: Record<string, number>): [string, number] {
  const kinds = new Map<string, number>();
  for (const [name, n] of Object.entries(counts)) {
    const kind = name.split(" ")[1]!;
    kinds.set(kind, (kinds.get(kind) ?? 0) + n);
  }
  return [...kinds].sort((a, b) => a[1] - b[1])[0] ?? ["none", 0];
}

/** One process with cases from `first` on. */
async function slice(runtime: RuntimeName, first: number, size: number): Promise<Outcome> {
  const flags = runtime === "deno" ? ["run", "-A", "--no-check"] : [];
  const args = [...flags, `${root}/test/fuzz-crypto.ts`, values.seed, String(first), String(size)];
  const ended = await run(bin(runtime), args, { timeoutMs: 900_000 });
  try {
    return JSON.parse(ended.stdout.trim().split("\n").at(-1)!) as Outcome;
  } catch {
    return { counts: {}, valid: 0, faults: [`ended with code ${ended.code}:\n${ended.output}`] };
  }
}

async function fuzz(runtime: RuntimeName): Promise<boolean> {
  const started = performance.now();
  const all: Outcome = { counts: {}, valid: 0, faults: [] };
  for (let first = 0; first < count && all.faults.length === 0; first += SLICE) {
    const { counts, valid, faults } = await slice(runtime, first, Math.min(SLICE, count - first));
    for (const [name, n] of Object.entries(counts)) all.counts[name] = (all.counts[name] ?? 0) + n;
    all.valid += valid;
    all.faults.push(...faults);
  }
  const share = all.valid / count;
  const [kind, least] = fewest(all.counts);
  const enough = count < 50_000 || (share >= 0.3 && least >= 500);
  const good = all.faults.length === 0 && enough;
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  const what = `${count} cases of seed ${values.seed}, ${(100 * share).toFixed(0)} % valid`;
  const edges = `at least ${least} of each kind (${kind})`;
  console.log(`${good ? "✓" : "✗"} ${runtime}: ${what}, ${edges}, ${all.faults.length} wrong verdicts, ${seconds} s`);
  for (const fault of all.faults) console.log(`  ${fault}`);
  return good;
}

let failed = 0;
for (const runtime of wanted) if (!(await fuzz(runtime))) failed++;
console.log(`${wanted.length - failed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
