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
  return [...kinds].sort((a, b) => a[1] - b[1])[0]!;
}

async function fuzz(runtime: RuntimeName): Promise<boolean> {
  const flags = runtime === "deno" ? ["run", "-A", "--no-check"] : [];
  const args = [...flags, `${root}/test/fuzz-crypto.ts`, values.seed, String(count)];
  const ended = await run(bin(runtime), args, { timeoutMs: 900_000 });
  let outcome: Outcome;
  try {
    outcome = JSON.parse(ended.stdout.trim().split("\n").at(-1)!) as Outcome;
  } catch {
    console.log(`✗ ${runtime}: ended with code ${ended.code}\n${ended.output}`);
    return false;
  }
  const share = outcome.valid / count;
  const [kind, least] = fewest(outcome.counts);
  const enough = count < 50_000 || (share >= 0.3 && least >= 500);
  const good = ended.code === 0 && enough;
  const valid = `${(100 * share).toFixed(0)} % valid`;
  console.log(
    `${good ? "✓" : "✗"} ${runtime}: ${count} cases of seed ${values.seed}, ${valid}, at least ${least} of each kind (${kind}), ${outcome.faults.length} wrong verdicts, ${ended.seconds.toFixed(0)} s`,
  );
  for (const fault of outcome.faults) console.log(`  ${fault}`);
  return good;
}

let failed = 0;
for (const runtime of wanted) if (!(await fuzz(runtime))) failed++;
console.log(`${wanted.length - failed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
