/** The goals of speed and memory, as far as the rows of one run can tell. */
import { figure, type Row, type Runtime, type Stack } from "./rows.ts";

export interface Goal {
  readonly subject: Row["subject"];
  readonly name: string;
  /** Upper bound, in the row's unit. */
  readonly atMost?: number;
  /** Upper bound as a multiple of another row: of this project, or of a peer where it is there, on the same runtime or Go. */
  readonly timesOf?: { readonly name: string; readonly factor: number; readonly stack?: Stack };
  /** The runtimes that it holds for; all unless said. */
  readonly runtimes?: readonly Runtime[];
}

/** Minima are compared: what else a machine does makes a row slower, never faster. */
export const GOALS: readonly Goal[] = [
  { subject: "id", name: "parse", atMost: 0.3 },
  { subject: "memory", name: "id parse", atMost: 250 },
  { subject: "x509", name: "parse", atMost: 6 },
  { subject: "x509", name: "chain P-256", timesOf: { name: "signatures P-256", factor: 1.3 } },
  { subject: "x509", name: "hostile signatures P-256", atMost: 50_000 },
  { subject: "x509", name: "hostile signatures P-521", atMost: 50_000 },
  { subject: "x509", name: "hostile names", atMost: 50_000 },
  { subject: "x509", name: "hostile 240 certificates", atMost: 50_000 },
  { subject: "jwt", name: "bundle of 1000 keys", atMost: 20_000 },
  { subject: "jwt", name: "bundle of 1 MiB", atMost: 60_000 },
  // Connections per second against net/http with go-spiffe: 0.8, 0.55 and 0.45 of its rate.
  { subject: "gateway", name: "handshake", timesOf: goTimes("handshake", 0.8), runtimes: ["bun"] },
  { subject: "gateway", name: "handshake", timesOf: goTimes("handshake", 0.55), runtimes: ["node"] },
  { subject: "gateway", name: "handshake", timesOf: goTimes("handshake", 0.45), runtimes: ["deno"] },
  { subject: "gateway", name: "fetch", timesOf: { name: "fetch", factor: 1.3, stack: "native" }, runtimes: ["bun"] },
  { subject: "memory", name: "idle connection", atMost: 25_000, runtimes: ["bun", "node"] },
];

function goTimes(name: string, rate: number): Goal["timesOf"] & object {
  return { name, factor: 1 / rate, stack: "go-spiffe" };
}

/** A line for each goal and runtime that the rows speak of. */
export function judgeGoals(rows: readonly Row[], goals: readonly Goal[] = GOALS): string[] {
  return goals.flatMap((goal) =>
    rows
      .filter((row) => row.stack === "spiffe-edge" && row.subject === goal.subject && row.name === goal.name)
      .filter(({ runtime }) => goal.runtimes === undefined || (goal.runtimes as readonly string[]).includes(runtime))
      .flatMap((row) => judged(goal, row, rows)),
  );
}

function judged({ atMost, timesOf }: Goal, row: Row, rows: readonly Row[]): string[] {
  const of = timesOf?.stack ?? "spiffe-edge";
  const base = rows.find(
    ({ subject, name, stack, runtime }) =>
      subject === row.subject && name === timesOf?.name && stack === of && [row.runtime, "go"].includes(runtime),
  );
  // A peer that is not installed says nothing.
  if (timesOf !== undefined && base === undefined && of !== "spiffe-edge") return [];
  const [value, bound] =
    timesOf === undefined ? [row.min, atMost!] : [row.min / (base?.min ?? Number.NaN), timesOf.factor];
  const what = of === "spiffe-edge" ? timesOf?.name : `${timesOf?.name} of ${of}`;
  const unit = timesOf === undefined ? row.unit : `× ${what}`;
  const verdict = value <= bound ? "met   " : "MISSED";
  return [`${verdict} ${row.subject} ${row.name} on ${row.runtime}: ${figure(value)} ${unit}, goal ${short(bound)}`];
}

function short(bound: number): string {
  return String(Number(bound.toFixed(2)));
}
