/**
 * Runs the soak of mTLS on this runtime: `main.ts [--handshakes N]`. Progress goes to standard error, the result to
 * standard output; ends with 1 when a goal is missed.
 */
import { parseArgs } from "node:util";
import { runtime } from "../../src/runtime/detect.ts";
import { missedByTls } from "./goals.ts";
import { tlsSoak } from "./soak.ts";
import { WEB } from "./world.ts";

const LIMIT_MS = 780_000;
const SHOWN = 20;
const LEAD_MS = 2_000;

const { values } = parseArgs({ options: { handshakes: { type: "string" } } });
const handshakes = Number(values.handshakes ?? 20_000);
const share = Math.min(1, handshakes / 20_000);
const goals = { handshakes, cas: Math.ceil(10 * share), perClass: Math.ceil(100 * share), prepareMs: LEAD_MS + 500 };
const report = await tlsSoak({
  ...goals,
  programCalls: Math.ceil(400 * share),
  svidEveryMs: 1_000,
  caEveryMs: 4_000,
  limitMs: LIMIT_MS,
  say: (line) => console.error(line),
});
const missed = missedByTls(report, goals);
if (report.shortestLeadMs < LEAD_MS) missed.push(`a CA signed ${report.shortestLeadMs} ms after it was published`);
const { server, calls, attack } = report;
const wrong = Object.values(attack.sent).reduce((sum, count) => sum + count, 0);
const label = `${runtime.name} ${runtime.version}`;
const counts = (of: Readonly<Record<string, number | undefined>>) =>
  Object.entries(of)
    .map(([name, count]) => `${count} ${name}`)
    .join(", ");
console.log(`${label}: ${calls.sent} requests (${counts(calls.by)}), ${calls.svids} own SVIDs`);
console.log(`  server: ${server.counters.rotations} own SVIDs; refused ${counts(server.counters.reasons)}`);
console.log(
  `  ${report.svids} SVIDs per workload, ${report.cas} CAs, ${report.casLeft} of them gone again, ` +
    `each published ${Math.round(report.shortestLeadMs)} ms or more before it signed`,
);
console.log(`  wrong peers: ${counts(attack.sent)}`);
for (const goal of missed.slice(0, SHOWN)) console.log(`  MISSED ${goal}`);
console.log(
  `${label}: ${missed.length === 0 ? "all goals reached" : `${missed.length} goals missed`}; ` +
    `${server.accepted[WEB] ?? 0} handshakes, ${calls.failures.length} failed requests, ${wrong} wrong peers in ` +
    `${Object.keys(attack.sent).length} classes, ${server.wrong.length} at the handler, ` +
    `${attack.twins + attack.pathless} requests of their twins served, ${report.seconds} s`,
);
process.exit(missed.length === 0 ? 0 : 1);
