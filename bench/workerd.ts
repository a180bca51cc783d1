/** Rows of workerd: signatures checked in a worker by the compiled module and by what workerd has itself. */
import { Buffer } from "node:buffer";
import { createPublicKey } from "node:crypto";
import { JWS_ALGORITHMS } from "../src/crypto/index.ts";
import type { BenchSetup } from "../test/workerd/bench-worker.ts";
import { DATES, Workerd } from "../test/workerd/serve.ts";
import type { Fixtures } from "./lib/fixtures.ts";
import { type Result, type Row, rowOf } from "./lib/rows.ts";

const WAYS: Readonly<Record<BenchSetup["way"], Pick<Row, "stack"> & { suffix: string }>> = {
  table: { stack: "spiffe-edge", suffix: "" },
  native: { stack: "native", suffix: "" },
  awaited: { stack: "native", suffix: " awaited" },
  "first use": { stack: "spiffe-edge", suffix: " first use" },
};
/** Signatures of one answer: enough to make the rest of it small. */
const ROUNDS = 300;

/** A worker that checks signatures in one way, with what was measured of it. */
interface Lane {
  readonly way: BenchSetup["way"];
  readonly workerd: Workerd;
  idle: number;
  samples: number[];
}

/**
 * Times answers with and without signatures; what is between them is the signatures'. Each way has a worker of its own, and
 * they take turns, answer by answer: what else the machine does in the meantime hits all of them.
 */
export async function measureWorkerd(fixtures: Fixtures, runs: number): Promise<Result> {
  const result: Result = { rows: [], verdicts: {} };
  const lanes: Lane[] = [];
  try {
    for (const way of Object.keys(WAYS) as BenchSetup["way"][]) {
      const workerd = await Workerd.start(DATES["node:crypto"], { worker: "bench-worker.ts", wasm: true });
      lanes.push({ way, workerd, idle: Number.POSITIVE_INFINITY, samples: [] });
    }
    for (const set of fixtures.jwt) await measureSet(lanes, set, runs, result);
  } finally {
    for (const { workerd } of lanes) await workerd.close();
  }
  return result;
}

async function measureSet(
  lanes: readonly Lane[],
  set: Fixtures["jwt"][number],
  runs: number,
  { rows, verdicts }: Result,
): Promise<void> {
  const { algorithm: alg } = JWS_ALGORITHMS.get(set.alg)!;
  const key = createPublicKey({ key: set.jwks.keys[0] as never, format: "jwk" });
  const spki = key.export({ format: "der", type: "spki" }).toString("hex");
  const tests = set.tokens.map((token) => {
    const end = token.lastIndexOf(".");
    const data = Buffer.from(token.slice(0, end), "latin1").toString("hex");
    return { data, signature: Buffer.from(token.slice(end + 1), "base64url").toString("hex") };
  });
  const ask = async ({ workerd }: Lane, rounds: number) => {
    const started = performance.now();
    const answer = (await workerd.ask("/", { rounds })) as { accepted: number };
    return { us: (performance.now() - started) * 1_000, accepted: answer.accepted };
  };
  const named = ({ way }: Lane) => ({ name: `verify ${set.alg}${WAYS[way].suffix}`, stack: WAYS[way].stack });
  for (const lane of lanes) {
    await lane.workerd.ask("/", { spki, alg, tests, way: lane.way } as BenchSetup);
    // all inputs once, which is the warm-up too
    const { accepted } = await ask(lane, tests.length);
    const { name, stack } = named(lane);
    verdicts[`crypto ${name} workerd ${stack}`] = { accepted, refused: tests.length - accepted };
    lane.idle = Number.POSITIVE_INFINITY;
    lane.samples = [];
  }
  for (let run = 0; run < 5 * runs; run++) {
    for (const lane of lanes) {
      for (let i = 0; i < 2; i++) lane.idle = Math.min(lane.idle, (await ask(lane, 0)).us);
      lane.samples.push((await ask(lane, ROUNDS)).us);
    }
  }
  for (const lane of lanes) {
    const samples = lane.samples.map((us) => (us - lane.idle) / ROUNDS);
    rows.push(rowOf({ subject: "crypto", runtime: "workerd", ...named(lane) }, samples));
  }
}
