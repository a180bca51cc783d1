/** What the soak of the gateway has to reach. */
import type { Drained } from "./drains.ts";
import { notFlat } from "./flatness.ts";
import type { GatewaySoakReport } from "./soak.ts";

export interface GatewaySoakGoals {
  readonly reloads: number;
  readonly rotations: number;
  readonly drains: number;
  /** Whether the run was long enough for memory and descriptors to say something. */
  readonly flat: boolean;
}

/** The goals that were missed, one sentence each. */
export function missedByGateway(report: GatewaySoakReport, goals: GatewaySoakGoals): string[] {
  const missed = report.lost.map(({ number, by, what }) => `request ${number} by ${by}: ${what}`);
  for (let number = 0; number < report.sent; number++) {
    const count = report.numbers[number] ?? 0;
    if (count !== 1) missed.push(`request ${number} reached the upstream ${count} times`);
  }
  if (report.logged !== report.sent) missed.push(`${report.logged} requests logged, ${report.sent} sent`);
  if (report.reloads < goals.reloads) missed.push(`${report.reloads} reloads, expected ${goals.reloads}`);
  if (report.refusedReloads > 0) missed.push(`${report.refusedReloads} reloads were refused`);
  if (report.rotations < goals.rotations) missed.push(`${report.rotations} rotations, expected ${goals.rotations}`);
  if (report.code !== 0) missed.push(`the gateway ended with code ${report.code}`);
  if (report.stderr !== "") missed.push(`the gateway said: ${report.stderr.slice(0, 300)}`);
  for (const by of ["new connections", "kept HTTP/1.1", "kept HTTP/2"])
    if ((report.by[by] ?? 0) === 0) missed.push(`no request over ${by}`);
  missed.push(...missedByDrains(report.drained, report.numbers, goals.drains));
  if (goals.flat) missed.push(...notFlat(report.samples));
  return missed;
}

/** What was answered reached the upstream once, and what was not never did; nobody is left outside for good. */
function missedByDrains(drained: Drained, numbers: readonly number[], rounds: number): string[] {
  const missed: string[] = [];
  const unanswered = new Map(drained.unanswered.map((lost) => [lost.number, lost]));
  for (let number = drained.first; number < drained.sent; number++) {
    const lost = unanswered.get(number);
    const count = numbers[number] ?? 0;
    if (count === (lost === undefined ? 1 : 0)) continue;
    const answer = lost === undefined ? "with its answer" : `without its answer over ${lost.by}: ${lost.what}`;
    missed.push(`request ${number} of the drains reached the upstream ${count} times, ${answer}`);
  }
  if (numbers.length > drained.sent) missed.push(`${numbers.length} numbers arrived, ${drained.sent} sent`);
  if (drained.rounds < rounds) missed.push(`${drained.rounds} drains, expected ${rounds}`);
  if (drained.abandoned > 0) missed.push(`${drained.abandoned} callers were served by no next gateway`);
  const codes = drained.codes.filter((code) => code !== 0);
  if (codes.length > 0) missed.push(`drained gateways ended with ${codes.join(", ")}`);
  if (drained.stderr !== "") missed.push(`drained gateways said: ${drained.stderr.slice(0, 300)}`);
  return missed;
}
