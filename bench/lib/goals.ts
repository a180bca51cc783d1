/** The goals of speed and memory, as far as the rows of one run can tell. */
import { figure, type Row, type Stack } from "./rows.ts";

export interface Goal {
  readonly subject: Row["subject"];
  readonly name: string;
  /** What is compared; the best of five runs by default: what else a machine does makes a run slower, never faster. */
  readonly of?: "best" | "min" | "p50" | "p99";
  /** Where it is a goal; everywhere by default. */
  readonly runtimes?: readonly Row["runtime"][];
  /** Upper bound, in the row's unit. */
  readonly atMost?: number;
  /** Upper bound as a multiple of another row of this run: of another name, or of the same work in a peer's stack. */
  readonly timesOf?: { readonly name?: string; readonly stack?: Stack; readonly factor: number };
}

const timesOf = (stack: Stack, name: string, factor: number): NonNullable<Goal["timesOf"]> => ({ stack, name, factor });

/** What the verifier is worth beside the native backends of each runtime, and beside the peers. */
function cryptoGoals(): Goal[] {
  const crypto = (name: string, goal: Omit<Goal, "subject" | "name">): Goal => ({ subject: "crypto", name, ...goal });
  const native = (name: string, faster: number, runtimes: Goal["runtimes"] = undefined): Goal =>
    crypto(name, { timesOf: timesOf("native", name, 1 / faster), ...(runtimes !== undefined && { runtimes }) });
  const large = ["ES384", "ES512"];
  return [
    native("verify ES256", 1.2, ["bun", "node"]),
    native("verify ES256", 1.15, ["workerd"]),
    native("verify ES256", 5, ["deno"]),
    ...large.map((alg) => native(`verify ${alg}`, 3)),
    crypto("verify ES256", {
      timesOf: timesOf("native", "verify ES256 awaited", 1 / 1.8),
      runtimes: ["bun", "node", "deno"],
    }),
    crypto("verify ES256 first use", { timesOf: timesOf("native", "verify ES256", 2.5) }),
    ...large.map((alg) => crypto(`verify ${alg} first use`, { timesOf: timesOf("native", `verify ${alg}`, 1) })),
    crypto("jwt-svid ES256", { timesOf: timesOf("go-spiffe", "jwt-svid ES256", 0.7), runtimes: ["bun", "node"] }),
    ...large.map((alg) => crypto(`jwt-svid ${alg}`, { timesOf: timesOf("go-spiffe", `jwt-svid ${alg}`, 0.35) })),
    crypto("chain P-256", { timesOf: timesOf("go-spiffe", "chain P-256", 0.75) }),
    crypto("memoised P-256", { timesOf: timesOf("go-spiffe", "memoised P-256", 0.45) }),
    ...["ES256", ...large].map((alg) =>
      crypto(`jwt-svid ${alg}`, { timesOf: timesOf("jose", `jwt-svid ${alg}`, 1 / 2) }),
    ),
    ...["chain P-256", "memoised P-256", "chain P-384"].map((name) =>
      crypto(name, { timesOf: timesOf("pkijs", name, 1 / 30) }),
    ),
    crypto("cold ES256", { atMost: 8_000 }),
    crypto("module in gzip", { atMost: 40_000 }),
    crypto("memory of the module", { atMost: 16 * 1_048_576 }),
  ];
}

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
  {
    subject: "workload",
    name: "x509 fetch",
    of: "p50",
    runtimes: ["bun"],
    timesOf: { stack: "go-spiffe", factor: 1.5 },
  },
  {
    subject: "workload",
    name: "jwt issue",
    of: "p50",
    runtimes: ["bun"],
    timesOf: { stack: "go-spiffe", factor: 1.5 },
  },
  { subject: "workload", name: "x509 fetch", of: "p99", atMost: 10_000 },
  { subject: "workload", name: "jwt issue", of: "p99", atMost: 10_000 },
  { subject: "workload", name: "source read", atMost: 0.1 },
  { subject: "workload", name: "jwt from source", atMost: 1 },
  { subject: "workload", name: "cold start", of: "p50", runtimes: ["bun"], atMost: 150_000 },
  ...cryptoGoals(),
  // Connections per second against net/http with go-spiffe: 0.8, 0.55 and 0.45 of its rate.
  { subject: "gateway", name: "handshake", timesOf: goTimes("handshake", 0.8), runtimes: ["bun"] },
  { subject: "gateway", name: "handshake", timesOf: goTimes("handshake", 0.55), runtimes: ["node"] },
  { subject: "gateway", name: "handshake", timesOf: goTimes("handshake", 0.45), runtimes: ["deno"] },
  // Requests per second against httputil.ReverseProxy: its rate, and 0.6 of it.
  {
    subject: "gateway",
    name: "reverse-proxy wall",
    timesOf: timesOf("go-proxy", "reverse-proxy wall", 1),
    runtimes: ["bun"],
  },
  {
    subject: "gateway",
    name: "reverse-proxy wall",
    timesOf: timesOf("go-proxy", "reverse-proxy wall", 1 / 0.6),
    runtimes: ["node", "deno"],
  },
  {
    subject: "gateway",
    name: "reverse-proxy",
    of: "p99",
    timesOf: timesOf("go-proxy", "reverse-proxy", 1),
    runtimes: ["bun"],
  },
  // What identity, 100 rules, access log and metrics add.
  { subject: "gateway", name: "reverse-proxy wall", timesOf: { name: "reverse-proxy bare wall", factor: 1.15 } },
  // Another caller while chains are judged that are made to cost much (A-8).
  { subject: "gateway", name: "neighbour", of: "p99", timesOf: { name: "neighbour quiet", factor: 2 } },
  { subject: "gateway", name: "fetch", timesOf: { name: "fetch", factor: 1.3, stack: "native" }, runtimes: ["bun"] },
  // Requests per second against the runtime's own server that asks for nothing: half of its rate, a quarter without a memory.
  {
    subject: "gateway",
    name: "jwt-native",
    timesOf: { name: "jwt-native", stack: "native", factor: 2 },
    runtimes: ["bun"],
  },
  {
    subject: "gateway",
    name: "jwt-native anew",
    timesOf: { name: "jwt-native", stack: "native", factor: 4 },
    runtimes: ["bun"],
  },
  { subject: "memory", name: "idle connection", atMost: 25_000, runtimes: ["bun", "node"] },
  { subject: "policy", name: "decide 1000 rules", atMost: 20, of: "p50" },
  { subject: "policy", name: "decide 1000 rules hostile", atMost: 200, of: "p99" },
];

function goTimes(name: string, rate: number): NonNullable<Goal["timesOf"]> {
  return { name, factor: 1 / rate, stack: "go-spiffe" };
}

/** A line for each goal and runtime that the rows speak of. */
export function judgeGoals(rows: readonly Row[], goals: readonly Goal[] = GOALS): string[] {
  const own = rows.filter(({ stack }) => stack === "spiffe-edge");
  return goals.flatMap((goal) =>
    own
      .filter(({ subject, name, runtime }) => {
        return subject === goal.subject && name === goal.name && (goal.runtimes?.includes(runtime) ?? true);
      })
      .flatMap((row) => judge(goal, row, rows)),
  );
}

function judge({ of = "best", atMost, timesOf }: Goal, row: Row, rows: readonly Row[]): string[] {
  const { subject, name, runtime } = row;
  let [value, bound, unit] = [row[of], atMost!, row.unit as string];
  if (timesOf !== undefined) {
    const { name: other = name, stack = "spiffe-edge", factor } = timesOf;
    // A peer in Go has one row for all runtimes.
    const base = rows.find(
      (one) =>
        one.subject === subject &&
        one.name === other &&
        one.stack === stack &&
        (one.runtime === runtime || one.runtime === "go"),
    );
    // A peer that is not installed says nothing.
    if (base === undefined && stack !== "spiffe-edge") return [];
    [value, bound] = [row[of] / (base?.[of] ?? Number.NaN), factor];
    unit = `× ${stack === "spiffe-edge" ? other : `${stack} ${other}`}`;
  }
  const verdict = value <= bound ? "met   " : "MISSED";
  const what = of === "best" ? name : `${name} ${of}`;
  return [`${verdict} ${subject} ${what} on ${runtime}: ${figure(value)} ${unit}, goal ${Number(bound.toFixed(3))}`];
}
