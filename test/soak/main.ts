/**
 * Runs a soak in this process: `main.ts [--seed N] [--rotations N]`. What happens goes to standard error, the result to
 * standard output; ends with 1 when a goal is missed.
 */
import { parseArgs } from "node:util";
import { runtime } from "../../src/runtime/detect.ts";
import { spireMissing } from "../support/spire.ts";
import { agentSoak } from "./agent-soak.ts";
import { fakeSoak } from "./fake-soak.ts";
import { megabytes, missedByAgent, missedByFake } from "./goals.ts";
import type { Resources } from "./resources.ts";

const TTL_MS = 2_000;
const ROTATE_EVERY_MS = 250;
const ROTATIONS = 2_000;
const READS = 100_000;
const OUTAGES = 50;
const RESTARTS = 20;
const SETTLED_RESTARTS = 5;

const { values } = parseArgs({ options: { seed: { type: "string" }, rotations: { type: "string" } } });
const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 32));
const rotations = Number(values.rotations ?? ROTATIONS);
const share = rotations / ROTATIONS;
const goals = { rotations, reads: READS * share, outages: Math.ceil(OUTAGES * share) };
const say = (line: string) => console.error(line);
const label = `${runtime.name} ${runtime.version}`;

function held({ heap, files }: Resources): string {
  return `${heap === undefined ? "heap unknown" : megabytes(heap)}, ${files ?? "unknown"} files`;
}

console.log(`${label}: seed ${seed}`);
const fake = await fakeSoak({
  ...goals,
  seed,
  eachFirst: true,
  settled: Math.round(rotations / 10),
  ttlMs: TTL_MS,
  rotateEveryMs: ROTATE_EVERY_MS,
  say,
});
const missed = missedByFake(fake, goals);
console.log(
  `  faults: ${Object.entries(fake.faults)
    .map(([name, count]) => `${count} ${name}`)
    .join(", ")}`,
);
console.log(`  after ${Math.round(rotations / 10)} rotations: ${held(fake.early)}; at the end: ${held(fake.late)}`);
console.log(
  `  ${fake.rotations} rotations in ${fake.seconds} s, ${fake.reads} reads, ${fake.outages} outages, ` +
    `${fake.missed} of ${fake.due} SVIDs missed, ${fake.tokens} tokens, slowest return ${fake.slowestReturnMs} ms, ` +
    `${fake.starvedMs} ms without a processor`,
);

const absent = spireMissing();
let agentLine = `agent part skipped: ${absent}`;
if (absent === undefined) {
  const restarts = Math.max(1, Math.round(RESTARTS * share));
  const agent = await agentSoak({ restarts, settled: Math.min(SETTLED_RESTARTS, restarts), ttlSeconds: 10, say });
  missed.push(...missedByAgent(agent, restarts));
  agentLine = `SPIRE agent killed ${agent.restarts} times in ${agent.seconds} s, slowest return ${agent.slowestReturnMs} ms`;
  console.log(
    `  after ${Math.min(SETTLED_RESTARTS, restarts)} kills: ${held(agent.early)}; at the end: ${held(agent.late)}`,
  );
  console.log(
    `  ${agentLine}, ${agent.reads} reads, ${agent.updates} SVIDs, ${agent.expired} reads of an expired one refused`,
  );
} else if (process.env.CI === "true") missed.push(agentLine);
else console.log(`  ${agentLine}`);

for (const goal of missed) console.log(`  MISSED ${goal}`);
console.log(
  `${label}: ${missed.length === 0 ? "all goals reached" : `${missed.length} goals missed`}; ` +
    `${fake.rotations} rotations, ${fake.outages} outages, ${fake.missed} missed; ${agentLine}`,
);
process.exitCode = missed.length === 0 ? 0 : 1;
