/** What a soak has to reach. */
import type { AgentSoakReport } from "./agent-soak.ts";
import type { FakeSoakReport } from "./fake-soak.ts";
import type { Resources } from "./resources.ts";

/** The heap may have grown by so much from the first measurement to the last. */
const HEAP_GROWTH = 1.2;
/** Open files at rest may differ by a few that the runtime itself opens and closes. */
const FILES_SLACK = 2;

export interface FakeGoals {
  readonly rotations: number;
  readonly reads: number;
  readonly outages: number;
}

/** The goals that were missed, one sentence each. */
export function missedByFake(report: FakeSoakReport, goals: FakeGoals): string[] {
  const missed = [...report.violations.map(({ what }) => what), ...grown(report.early, report.late)];
  for (const name of ["rotations", "reads", "outages"] as const) {
    if (report[name] < goals[name]) missed.push(`${report[name]} ${name}, expected ${goals[name]} or more`);
  }
  // Else nothing could be missed.
  if (report.due < goals.rotations / 5) missed.push(`only ${report.due} SVIDs came on undisturbed streams`);
  return missed;
}

/** The goals that were missed, one sentence each. */
export function missedByAgent(report: AgentSoakReport, restarts: number): string[] {
  const missed = [...report.violations.map(({ what }) => what), ...grown(report.early, report.late)];
  if (report.restarts < restarts) missed.push(`${report.restarts} restarts, expected ${restarts}`);
  if (report.updates <= report.restarts / 2) missed.push(`only ${report.updates} SVIDs came`);
  return missed;
}

function grown(early: Resources, late: Resources): string[] {
  const missed: string[] = [];
  if (early.heap !== undefined && late.heap !== undefined && late.heap > early.heap * HEAP_GROWTH) {
    missed.push(`the heap grew from ${megabytes(early.heap)} to ${megabytes(late.heap)}`);
  }
  if (early.files !== undefined && late.files !== undefined && late.files > early.files + FILES_SLACK) {
    missed.push(`open files grew from ${early.files} to ${late.files}`);
  }
  return missed;
}

export function megabytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}
