/** The goals of speed and memory, as far as the rows of one run can tell. */
import { figure, type Row } from "./rows.ts";

export interface Goal {
  readonly subject: Row["subject"];
  readonly name: string;
  /** Upper bound, in the row's unit. */
  readonly atMost?: number;
  /** Which number of the row is bound; the minimum unless said. */
  readonly of?: "min" | "p50" | "p99";
  /** Upper bound as a multiple of another row of this project on the same runtime. */
  readonly timesOf?: { readonly name: string; readonly factor: number };
}

/** Minima are compared unless a goal says otherwise: what else a machine does makes a row slower, never faster. */
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
  { subject: "policy", name: "decide 1000 rules", atMost: 20, of: "p50" },
  { subject: "policy", name: "decide 1000 rules hostile", atMost: 200, of: "p99" },
];

/** A line for each goal and runtime that the rows speak of. */
export function judgeGoals(rows: readonly Row[], goals: readonly Goal[] = GOALS): string[] {
  const own = rows.filter(({ stack }) => stack === "spiffe-edge");
  return goals.flatMap((goal) =>
    own
      .filter(({ subject, name }) => subject === goal.subject && name === goal.name)
      .map((row) => {
        const base = own.find(
          ({ subject, name, runtime }) =>
            subject === row.subject && name === goal.timesOf?.name && runtime === row.runtime,
        );
        const [value, bound] =
          goal.timesOf === undefined
            ? [row[goal.of ?? "min"], goal.atMost!]
            : [row.min / (base?.min ?? Number.NaN), goal.timesOf.factor];
        const unit = goal.timesOf === undefined ? row.unit : `× ${goal.timesOf.name}`;
        const verdict = value <= bound ? "met   " : "MISSED";
        return `${verdict} ${row.subject} ${row.name} on ${row.runtime}: ${figure(value)} ${unit}, goal ${bound}`;
      }),
  );
}
