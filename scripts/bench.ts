/**
 * Measures the product and its peers: `npm run bench -- [SUBJECT…] [--quick] [--runtime bun|deno|node|workerd|all] [--json FILE]`.
 *
 * Each runtime measures in a process of its own, one after the other. Workload API and gateway run against a real SPIRE
 * when its programs are there, else against the embedded authority. Ends with 1 when the target is missed: p99 of
 * `x509 fetch` and `jwt issue` below 100 ms against a real SPIRE.
 */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { judgeGoals } from "../bench/lib/goals.ts";
import { type Row, RUNTIMES, type Runtime, rowFault, SUBJECTS, type Subject, table } from "../bench/lib/rows.ts";
import { judgeTarget } from "../bench/lib/target.ts";
import { measureAll } from "../bench/measure-all.ts";

function usage(problem: string): never {
  console.error(
    `bench: ${problem}. Usage: npm run bench -- [${SUBJECTS.join("|")}]… [--quick] [--runtime R] [--json FILE]`,
  );
  process.exit(2);
}

function readArguments(): {
  subjects: Subject[];
  runtimes: Runtime[];
  workerd: boolean;
  quick: boolean;
  json?: string;
} {
  let parsed: ReturnType<typeof parse>;
  try {
    parsed = parse();
  } catch (error) {
    return usage((error as Error).message);
  }
  const { values, positionals } = parsed;
  const wrong = positionals.find((name) => !(SUBJECTS as readonly string[]).includes(name));
  if (wrong !== undefined) usage(`expected a subject, got "${wrong}"`);
  const runtime = values.runtime ?? "bun";
  const places = [...RUNTIMES, "workerd", "all"];
  if (!places.includes(runtime)) usage(`expected --runtime ${places.join("|")}, got "${runtime}"`);
  return {
    subjects: SUBJECTS.filter((subject) => positionals.length === 0 || positionals.includes(subject)),
    runtimes: RUNTIMES.filter((name) => runtime === "all" || runtime === name),
    workerd: runtime === "all" || runtime === "workerd",
    quick: values.quick === true,
    ...(values.json !== undefined && { json: values.json }),
  };
}

function parse() {
  return parseArgs({
    allowPositionals: true,
    options: { quick: { type: "boolean" }, json: { type: "string" }, runtime: { type: "string" } },
  });
}

async function main(): Promise<number> {
  const { json, ...options } = readArguments();
  const { rows, verdictFaults, environment, notes } = await measureAll(options, (line) => console.log(line));
  const faults = [...rows.flatMap(faultOf), ...verdictFaults];
  console.log(`\n${table(rows)}\n`);
  for (const note of notes) console.log(note);
  for (const fault of faults) console.log(`FAULT ${fault}`);
  if (json !== undefined) writeFileSync(json, `${JSON.stringify(rows, undefined, 1)}\n`);
  for (const line of judgeGoals(rows)) console.log(line);
  const target = judgeTarget(rows, environment);
  console.log(`${faults.length === 0 ? `${rows.length} rows` : `${faults.length} faults`}; ${target.sentence}`);
  return faults.length === 0 && target.met !== false ? 0 : 1;
}

function faultOf(row: Row): string[] {
  const fault = rowFault(row);
  return fault === undefined ? [] : [`${row.subject} ${row.name} ${row.stack} ${row.runtime}: ${fault}`];
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(`bench: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
}
