/** The goals of speed and memory, as far as the rows of one run can tell. */
import { figure, type Row, type Stack } from "./rows.ts";

export interface Goal {
  readonly subject: Row["subject"];
  readonly name: string;
  /** Upper bound, in the row's unit. */
  readonly atMost?: number;
  /** Upper bound as a multiple of another row on the same runtime; of a peer in Go, of that one's only row. */
  readonly timesOf?: { readonly name: string; readonly factor: number; readonly stack?: Stack };
  /** Where it holds; everywhere unless given. */
  readonly on?: readonly Row["runtime"][];
}

const timesOf = (stack: Stack, name: string, factor: number): NonNullable<Goal["timesOf"]> => ({ stack, name, factor });

/** What the verifier is worth beside the native backends of each runtime, and beside the peers. */
function cryptoGoals(): Goal[] {
  const crypto = (name: string, goal: Omit<Goal, "subject" | "name">): Goal => ({ subject: "crypto", name, ...goal });
  const native = (name: string, faster: number, on: Goal["on"] = undefined): Goal =>
    crypto(name, { timesOf: timesOf("native", name, 1 / faster), ...(on !== undefined && { on }) });
  const large = ["ES384", "ES512"];
  return [
    native("verify ES256", 1.2, ["bun", "node"]),
    native("verify ES256", 1.15, ["workerd"]),
    native("verify ES256", 5, ["deno"]),
    ...large.map((alg) => native(`verify ${alg}`, 3)),
    crypto("verify ES256", {
      timesOf: timesOf("native", "verify ES256 awaited", 1 / 1.8),
      on: ["bun", "node", "deno"],
    }),
    crypto("verify ES256 first use", { timesOf: timesOf("native", "verify ES256", 2.5) }),
    ...large.map((alg) => crypto(`verify ${alg} first use`, { timesOf: timesOf("native", `verify ${alg}`, 1) })),
    crypto("jwt-svid ES256", { timesOf: timesOf("go-spiffe", "jwt-svid ES256", 0.7), on: ["bun", "node"] }),
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

/** The best of five runs is compared: what else a machine does makes a run slower, never faster. */
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
  ...cryptoGoals(),
];

/** A line for each goal and runtime that the rows speak of. */
export function judgeGoals(rows: readonly Row[], goals: readonly Goal[] = GOALS): string[] {
  const own = rows.filter(({ stack }) => stack === "spiffe-edge");
  return goals.flatMap((goal) =>
    own
      .filter(({ subject, name }) => subject === goal.subject && name === goal.name)
      .filter(({ runtime }) => goal.on?.includes(runtime) ?? true)
      .map((row) => {
        const stack = goal.timesOf?.stack ?? "spiffe-edge";
        const where = stack === "go-spiffe" ? "go" : row.runtime;
        const base = rows.find(
          (other) =>
            other.subject === row.subject &&
            other.name === goal.timesOf?.name &&
            other.stack === stack &&
            other.runtime === where,
        );
        const [value, bound] =
          goal.timesOf === undefined
            ? [row.best, goal.atMost!]
            : [row.best / (base?.best ?? Number.NaN), goal.timesOf.factor];
        const other = stack === "spiffe-edge" ? goal.timesOf?.name : `${stack} ${goal.timesOf?.name}`;
        const unit = goal.timesOf === undefined ? row.unit : `× ${other}`;
        const verdict = value <= bound ? "met   " : "MISSED";
        const limit = Number(bound.toFixed(3));
        return `${verdict} ${row.subject} ${row.name} on ${row.runtime}: ${figure(value)} ${unit}, goal ${limit}`;
      }),
  );
}
