/** What the doctor found, and how it is told. */
import { isSpiffeError } from "../../base/index.ts";
import { printable } from "../printable.ts";
import type { ThisProcess } from "./this-process.ts";

/** The checks, in their order. */
export type CheckName =
  | "variable"
  | "address"
  | "permissions"
  | "socket"
  | "connect"
  | "header"
  | "health"
  | "x509-svid"
  | "chain"
  | "key"
  | "clock"
  | "x509-bundles"
  | "jwt-bundles"
  | "jwt-svid";

/** `noted`: it works, and something about it should be known; `skipped`: there was nothing to look at. */
export type Status = "ok" | "failed" | "noted" | "skipped";

/** The result of one check. */
export interface Finding {
  readonly status: Status;
  readonly detail: string;
  /** What to do about it, a line or more. */
  readonly fix?: string | undefined;
  /** What does not change from look to look while nothing happens: `--watch` tells a change by it. */
  readonly facts?: Readonly<Record<string, unknown>> | undefined;
}

export interface Report {
  /** Whether no check failed. */
  readonly ok: boolean;
  readonly process: ThisProcess;
  readonly checks: readonly (Finding & { readonly check: CheckName })[];
}

export function ok(detail: string, facts?: Finding["facts"]): Finding {
  return { status: "ok", detail, facts };
}

export function noted(detail: string, fix?: string, facts?: Finding["facts"]): Finding {
  return { status: "noted", detail, fix, facts };
}

export function skipped(detail: string): Finding {
  return { status: "skipped", detail };
}

export function failed(detail: string, fix?: string, facts?: Finding["facts"]): Finding {
  return { status: "failed", detail, fix, facts };
}

/** The finding for whatever was thrown: its sentence, and its hint as the fix. */
export function failure(error: unknown): Finding {
  if (!isSpiffeError(error)) return failed(`unexpected failure: ${error instanceof Error ? error.message : error}`);
  return failed(error.message, error.hint, { code: error.code, reason: error.reason });
}

const SYMBOLS: Readonly<Record<Status, string>> = { ok: "✓", failed: "✗", noted: "–", skipped: "–" };
const NAME_WIDTH = 14;

/** One line per check, the fix of a failed one below it. */
export function renderText({ checks }: Report): string {
  const lines = checks.flatMap(({ check, status, detail, fix }) => [
    `${SYMBOLS[status]} ${check.padEnd(NAME_WIDTH)} ${printable(detail)}`,
    ...(fix === undefined
      ? []
      : fix.split("\n").map((line, i) => `    ${i === 0 ? "fix: " : "     "}${printable(line)}`)),
  ]);
  return `${lines.join("\n")}\n`;
}

/** One object, members of `facts` beside the others. */
export function asJson({ ok, process, checks }: Report): Record<string, unknown> {
  const plain = checks.map(({ check, status, detail, fix, facts }) => ({ check, status, detail, fix, ...facts }));
  return { ok, process, checks: plain };
}

/** The same for two reports between which nothing happened. */
export function fingerprint({ checks }: Report): string {
  return JSON.stringify(checks.map(({ check, status, facts }) => [check, status, facts]));
}
