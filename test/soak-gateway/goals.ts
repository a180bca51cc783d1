/** What the soak of the gateway has to reach. */
import type { GatewaySoakReport } from "./soak.ts";

export interface GatewaySoakGoals {
  readonly reloads: number;
  readonly rotations: number;
  /** Whether memory and descriptors were measured long enough apart to say something. */
  readonly flat: boolean;
}

/** Growth that is none: what a collector has not taken yet, sockets on their way. */
const RSS_SHARE = 1.25;
const RSS_SLACK = 33_554_432;
const FILES_SLACK = 16;

/** The goals that were missed, one sentence each. */
export function missedByGateway(report: GatewaySoakReport, goals: GatewaySoakGoals): string[] {
  const missed = report.lost.map(({ number, by, what }) => `request ${number} by ${by}: ${what}`);
  for (let number = 0; number < report.sent; number++) {
    const count = report.numbers[number] ?? 0;
    if (count !== 1) missed.push(`request ${number} reached the upstream ${count} times`);
  }
  if (report.numbers.length > report.sent) missed.push(`${report.numbers.length} numbers arrived, ${report.sent} sent`);
  if (report.logged !== report.sent) missed.push(`${report.logged} requests logged, ${report.sent} sent`);
  if (report.reloads < goals.reloads) missed.push(`${report.reloads} reloads, expected ${goals.reloads}`);
  if (report.refusedReloads > 0) missed.push(`${report.refusedReloads} reloads were refused`);
  if (report.rotations < goals.rotations) missed.push(`${report.rotations} rotations, expected ${goals.rotations}`);
  if (report.code !== 0) missed.push(`the gateway ended with code ${report.code}`);
  if (report.stderr !== "") missed.push(`the gateway said: ${report.stderr.slice(0, 300)}`);
  for (const by of ["new connections", "kept HTTP/1.1", "kept HTTP/2"])
    if ((report.by[by] ?? 0) === 0) missed.push(`no request over ${by}`);
  const { early, late } = report;
  if (!goals.flat || early === undefined || late === undefined) return missed;
  if (late.rss > early.rss * RSS_SHARE + RSS_SLACK) missed.push(`memory grew from ${early.rss} to ${late.rss} bytes`);
  if (late.files > early.files + FILES_SLACK) missed.push(`descriptors grew from ${early.files} to ${late.files}`);
  return missed;
}
