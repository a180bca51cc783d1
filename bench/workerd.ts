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
  // last, as a worker's module keeps the tables that it has
  "first use": { stack: "spiffe-edge", suffix: " first use" },
};
/** Signatures of one answer: enough to make the rest of it small. */
const ROUNDS = 600;

/** Times `runs` answers each with and without signatures; what is between them is the signatures'. */
export async function measureWorkerd(fixtures: Fixtures, runs: number): Promise<Result> {
  const result: Result = { rows: [], verdicts: {} };
  for (const [way, { stack, suffix }] of Object.entries(WAYS)) {
    const workerd = await Workerd.start(DATES["node:crypto"], { worker: "bench-worker.ts", wasm: true });
    try {
      for (const set of fixtures.jwt) {
        const { algorithm: alg } = JWS_ALGORITHMS.get(set.alg)!;
        const key = createPublicKey({ key: set.jwks.keys[0] as never, format: "jwk" });
        const spki = key.export({ format: "der", type: "spki" }).toString("hex");
        const tests = set.tokens.map((token) => {
          const end = token.lastIndexOf(".");
          const data = Buffer.from(token.slice(0, end), "latin1").toString("hex");
          return { data, signature: Buffer.from(token.slice(end + 1), "base64url").toString("hex") };
        });
        await workerd.ask("/", { spki, alg, tests, way } as BenchSetup);
        const ask = async (rounds: number) => {
          const started = performance.now();
          const answer = (await workerd.ask("/", { rounds })) as { accepted: number };
          return { us: (performance.now() - started) * 1_000, accepted: answer.accepted };
        };
        const { accepted } = await ask(tests.length);
        const name = `verify ${set.alg}${suffix}`;
        result.verdicts[`crypto ${name} workerd ${stack}`] = { accepted, refused: tests.length - accepted };
        let idle = Number.POSITIVE_INFINITY;
        for (let run = 0; run < 3 * runs; run++) idle = Math.min(idle, (await ask(0)).us);
        const samples: number[] = [];
        for (let run = 0; run < runs; run++) samples.push(((await ask(ROUNDS)).us - idle) / ROUNDS);
        result.rows.push(rowOf({ subject: "crypto", name, stack, runtime: "workerd" }, samples));
      }
    } finally {
      await workerd.close();
    }
  }
  return result;
}
