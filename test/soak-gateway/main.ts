/**
 * Runs the soak of the gateway on this runtime: `main.ts [--reloads N] [--minutes N]`. Progress goes to standard error,
 * the result to standard output; ends with 1 when a goal is missed.
 */
import { parseArgs } from "node:util";
import { runtime } from "../../src/runtime/detect.ts";
import { halves } from "./flatness.ts";
import { missedByGateway } from "./goals.ts";
import { gatewaySoak } from "./soak.ts";

const SHOWN = 20;
const DRAINS = 10;
/** Minutes below which memory says nothing. */
const FLAT_MINUTES = 5;

const text = { type: "string" } as const;
const { values } = parseArgs({ options: { reloads: text, minutes: text } });
const turns = Number(values.reloads ?? 50);
const minutes = Number(values.minutes ?? 10);
const goals = { reloads: turns, rotations: turns, drains: DRAINS, flat: minutes >= FLAT_MINUTES };
const report = await gatewaySoak({ ...goals, atLeastMs: minutes * 60_000, say: (line) => console.error(line) });
const missed = missedByGateway(report, goals);
const label = `${runtime.name} ${runtime.version}`;
const by = Object.entries(report.by).map(([name, count]) => `${count} over ${name}`);
const mib = (bytes: number) => (bytes / 1_048_576).toFixed(1);
console.log(`${label}: ${report.sent} requests (${by.join(", ")}), ${report.samples.length} samples`);
for (const [name, { requests, heap, rss, files }] of Object.entries(halves(report.samples)))
  console.log(
    `  ${name} third, at ${requests} requests: heap ${mib(heap)} MiB, resident ${mib(rss)} MiB, ${files} files`,
  );
const { rounds, first, sent, unanswered, served } = report.drained;
console.log(
  `  ${rounds} drains: ${sent - first} requests, ${unanswered.length} refused, ${served} served by the next gateway`,
);
for (const goal of missed.slice(0, SHOWN)) console.log(`  MISSED ${goal}`);
console.log(
  `${label}: ${missed.length === 0 ? "all goals reached" : `${missed.length} goals missed`}; ${report.lost.length} ` +
    `requests lost, ${report.reloads} reloads, ${report.rotations} rotations, ${report.seconds} s`,
);
process.exit(missed.length === 0 ? 0 : 1);
