/** The rows of a bench: what they hold, how samples become one, how they are checked and printed. */

export const SUBJECTS = ["id", "x509", "jwt", "crypto", "workload", "policy", "gateway", "memory"] as const;
export type Subject = (typeof SUBJECTS)[number];

export const RUNTIMES = ["bun", "deno", "node"] as const;
export type Runtime = (typeof RUNTIMES)[number];

export type Stack = "spiffe-edge" | "native" | "go-spiffe" | "jose" | "pkijs" | "go-proxy" | "nginx";

/** One line of the bench file; smaller is better everywhere. */
export interface Row {
  subject: Subject;
  name: string;
  stack: Stack;
  runtime: Runtime | "workerd" | "go" | "c";
  unit: "us" | "bytes";
  n: number;
  min: number;
  p50: number;
  p99: number;
  /** The least median of five runs, which are the samples in the order they were taken in: what goals compare. */
  best: number;
}

/** How many of the distinct inputs of a row a stack accepted and refused. */
export interface Verdicts {
  accepted: number;
  refused: number;
}

/** What one measuring process hands back. */
export interface Result {
  rows: Row[];
  /** By `"<subject> <name> <stack>"`. */
  verdicts: Record<string, Verdicts>;
}

/** A row out of samples, in microseconds unless said otherwise; percentiles by nearest rank. */
export function rowOf(
  head: Pick<Row, "subject" | "name" | "stack" | "runtime">,
  samples: readonly number[],
  unit: Row["unit"] = "us",
): Row {
  const sorted = [...samples].sort((a, b) => a - b);
  const at = (q: number) => sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)]!;
  if (sorted.length === 0) throw new Error(`${head.subject} ${head.name}: no samples`);
  return { ...head, unit, n: sorted.length, min: sorted[0]!, p50: at(0.5), p99: at(0.99), best: leastMedian(samples) };
}

/** Runs that the samples of a row are taken for. */
const RUNS = 5;

/**
 * The least median of the runs. What else a machine does makes a run slower, never faster; a minimum of single samples would be
 * that of the inputs that are refused early.
 */
function leastMedian(samples: readonly number[]): number {
  const size = Math.ceil(samples.length / RUNS);
  let least = Number.POSITIVE_INFINITY;
  for (let start = 0; start + size <= samples.length; start += size) {
    const run = samples.slice(start, start + size).sort((a, b) => a - b);
    least = Math.min(least, run[Math.max(0, Math.ceil(0.5 * size) - 1)]!);
  }
  return least;
}

/** What is wrong with a row, or undefined. */
export function rowFault(row: Row): string | undefined {
  const numbers = [row.n, row.min, row.p50, row.p99, row.best];
  if (!numbers.every((value) => Number.isFinite(value) && value > 0)) return "a number is not positive";
  if (!Number.isInteger(row.n)) return "n is not whole";
  if (row.min > row.p50 || row.p50 > row.p99) return "min, p50 and p99 are out of order";
  if (row.best < row.min || row.best > row.p99) return "best is none of the samples";
  if (row.unit !== "us" && row.unit !== "bytes") return "the unit is unknown";
  if (!(SUBJECTS as readonly string[]).includes(row.subject)) return "the subject is unknown";
  if (row.name === "" || row.stack.length === 0 || row.runtime.length === 0) return "a name is missing";
  return undefined;
}

/** The rows as a table, the faster stack of each name first. */
export function table(rows: readonly Row[]): string {
  const order = (row: Row) => SUBJECTS.indexOf(row.subject);
  const firstOf = new Map<string, number>();
  for (const [index, row] of rows.entries()) {
    const key = `${row.subject} ${row.name}`;
    if (!firstOf.has(key)) firstOf.set(key, index);
  }
  const place = (row: Row) => firstOf.get(`${row.subject} ${row.name}`)!;
  const sorted = [...rows].sort((a, b) => order(a) - order(b) || place(a) - place(b) || a.p50 - b.p50);
  const cells = sorted.map((row) => [
    row.subject,
    row.name,
    row.stack,
    row.runtime,
    row.unit,
    String(row.n),
    figure(row.min),
    figure(row.p50),
    figure(row.p99),
  ]);
  const head = ["subject", "name", "stack", "runtime", "unit", "n", "min", "p50", "p99"];
  const widths = head.map((text, column) => Math.max(text.length, ...cells.map((line) => line[column]!.length)));
  const render = (line: readonly string[]) =>
    line.map((cell, column) => (column < 5 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!))).join("  ");
  return [render(head), ...cells.map(render)].map((line) => line.trimEnd()).join("\n");
}

/** Three significant digits at least, no exponent: `0.136`, `12.3`, `1520`. */
export function figure(value: number): string {
  if (value >= 100) return value.toFixed(0);
  return value >= 10 ? value.toFixed(1) : value.toFixed(3);
}
