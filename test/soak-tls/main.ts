/**
 * Runs the soak of mTLS on this runtime: `main.ts [--handshakes N] [--half-open N]`. Progress goes to standard error, the
 * results to standard output; ends with 1 when a goal is missed.
 */
import { parseArgs } from "node:util";
import { runtime } from "../../src/runtime/detect.ts";
import { missedByHalfOpen, missedByTls } from "./goals.ts";
import { halfOpen } from "./half-open.ts";
import { tlsSoak } from "./soak.ts";
import { WEB } from "./world.ts";

const LIMIT_MS = 780_000;
const SHOWN = 20;
const LEAD_MS = 2_000;

const text = { type: "string" } as const;
const { values } = parseArgs({ options: { handshakes: text, "half-open": text } });
const label = `${runtime.name} ${runtime.version}`;

const connections = Number(values["half-open"] ?? 10_000);
const suffered = await halfOpen({ connections, handshakeMs: 5_000, limitMs: 120_000 });
const unmet = missedByHalfOpen(suffered, connections);
const mebi = (bytes: number) => (bytes / 1_048_576).toFixed(1);
for (const goal of unmet.slice(0, SHOWN)) console.log(`  MISSED ${goal}`);
console.log(
  `${label}: ${connections} half-open handshakes; grew by ${mebi(suffered.peak - suffered.before)} MiB at the peak and ` +
    `${mebi(suffered.left - suffered.before)} in the end, from ${mebi(suffered.before)}; ` +
    `${suffered.counters.overLimit} over the limit, ${suffered.counters.timedOut} timed out, ${suffered.served} calls served`,
);

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
process.exit(missed.length + unmet.length === 0 ? 0 : 1);
