/** What the tests of the doctor have in common: its report, looked at from every side. */
import assert from "node:assert/strict";
import { examine } from "../../src/cli/doctor/examine.ts";
import { asJson } from "../../src/cli/doctor/report.ts";

/** The checks in their order. */
export const CHECKS: readonly string[] = [
  "variable",
  "address",
  "permissions",
  "socket",
  "connect",
  "header",
  "health",
  "x509-svid",
  "chain",
  "key",
  "clock",
  "x509-bundles",
  "jwt-bundles",
  "jwt-svid",
];

export interface Check {
  check: string;
  status: string;
  detail: string;
  fix?: string;
  [fact: string]: unknown;
}

export interface Report {
  ok: boolean;
  process: { pid: number; uid: number; gid: number; executable: string };
  checks: Check[];
}

/** A report, the checks of it by name, and the names of those that failed. */
export interface Judged {
  readonly report: Report;
  readonly found: (name: string) => Check;
  readonly failed: readonly string[];
}

/** What a report says, looked at from every side. */
export function judged(report: Report): Judged {
  assert.deepEqual(
    report.checks.map(({ check }) => check),
    CHECKS,
  );
  assert.equal(report.ok, !report.checks.some(({ status }) => status === "failed"));
  const found = (name: string) => report.checks.find(({ check }) => check === name)!;
  return { report, found, failed: report.checks.filter(({ status }) => status === "failed").map(({ check }) => check) };
}

/** The same examination in this process, which spares the start of one. */
export async function look(socket: string, timeoutMs = 10_000): Promise<Judged> {
  return judged(asJson(await examine({ socket, timeoutMs })) as unknown as Report);
}
