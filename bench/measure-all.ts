/** Runs every measuring process of a bench and gathers what they found. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bin, root, run } from "../scripts/lib/run.ts";
import { measureGateway } from "./gateway.ts";
import { type BenchWorkloadApi, startWorkloadApi } from "./lib/environment.ts";
import { makeFixtures } from "./lib/fixtures.ts";
import { goPeers } from "./lib/go-peers.ts";
import { type Result, type Row, type Runtime, rowOf, type Subject, type Verdicts } from "./lib/rows.ts";
import type { Environment } from "./lib/target.ts";
import type { Job } from "./run.ts";

export interface BenchOptions {
  subjects: Subject[];
  runtimes: Runtime[];
  quick: boolean;
}

export interface BenchOutcome {
  rows: Row[];
  /** Where a stack's verdicts differ from what the inputs deserve. */
  verdictFaults: string[];
  environment: Environment;
  /** What the reader of the table has to know. */
  notes: string[];
}

/** How much is measured: distinct inputs, samples, Workload API calls, fresh processes, proxied requests. */
export interface Sizes {
  inputs: number;
  samples: number;
  warmup: number;
  calls: number;
  coldStarts: number;
  requests: number;
  handshakes: number;
}

const FULL: Sizes = {
  inputs: 1_000,
  samples: 2_000,
  warmup: 200,
  calls: 300,
  coldStarts: 20,
  requests: 30_000,
  handshakes: 1_000,
};
const QUICK: Sizes = {
  inputs: 100,
  samples: 100,
  warmup: 20,
  calls: 30,
  coldStarts: 2,
  requests: 600,
  handshakes: 40,
};

/** The command line that runs a TypeScript file on a runtime. */
export function commandOf(runtime: Runtime, file: string, args: readonly string[]): [string, string[]] {
  // Heap sizes are taken after a collection.
  const flags = { bun: [], deno: ["run", "-A", "--no-check", "--v8-flags=--expose-gc"], node: ["--expose-gc"] }[
    runtime
  ];
  return [bin(runtime), [...flags, join(root, file), ...args]];
}

/** Measures the wanted subjects on the wanted runtimes, peers included. */
export async function measureAll(options: BenchOptions, say: (line: string) => void): Promise<BenchOutcome> {
  const sizes = options.quick ? QUICK : FULL;
  const folder = mkdtempSync(join(tmpdir(), "spiffe-edge-bench-"));
  const outcome: BenchOutcome = { rows: [], verdictFaults: [], environment: "none", notes: [] };
  let api: BenchWorkloadApi | undefined;
  try {
    const computing = options.subjects.filter((subject) => ["id", "x509", "jwt", "policy", "memory"].includes(subject));
    const fixtures = join(folder, "fixtures.json");
    const inputs = computing.length > 0 ? sizes.inputs : 1;
    writeFileSync(fixtures, JSON.stringify(await makeFixtures(inputs, Math.floor(Date.now() / 1000))));
    if (options.subjects.includes("workload") || options.subjects.includes("gateway")) {
      api = await startWorkloadApi();
      outcome.environment = api.kind;
      say(`Workload API: ${api.label}`);
    }
    const peers = await goPeers();
    if ("missing" in peers) outcome.notes.push(`No rows of go-spiffe: ${peers.missing}.`);
    const take = (result: Result) => {
      outcome.rows.push(...result.rows);
      outcome.verdictFaults.push(...faultsOf(result.verdicts));
    };

    for (const runtime of options.runtimes) {
      const inProcess = options.subjects.filter((subject) => subject !== "gateway");
      if (inProcess.length === 0) continue;
      say(`measuring ${inProcess.join(", ")} on ${runtime}`);
      take(await measureInProcess(runtime, inProcess, sizes, fixtures, folder, api?.endpoint));
      if (inProcess.includes("workload")) outcome.rows.push(await coldStarts(runtime, sizes.coldStarts, api!.endpoint));
    }
    if ("path" in peers) {
      const peered = computing.filter((subject) => subject !== "memory" && subject !== "policy");
      if (peered.length > 0) {
        say(`measuring ${peered.join(", ")} with go-spiffe`);
        take(await measureGo(peers.path, peered, sizes, fixtures));
      }
      if (options.subjects.includes("workload")) {
        say("measuring workload with go-spiffe");
        const calls = ["workload", "-samples", String(sizes.calls)];
        take(await goResult(peers.path, calls, api!.endpoint));
        const cold: number[] = [];
        for (let i = 0; i < sizes.coldStarts; i++) {
          cold.push((await goResult(peers.path, ["cold"], api!.endpoint)).rows[0]!.min);
        }
        outcome.rows.push(rowOf({ subject: "workload", name: "cold start", stack: "go-spiffe", runtime: "go" }, cold));
      }
    }
    if (options.subjects.includes("gateway")) {
      const path = "path" in peers ? peers.path : undefined;
      const result = await measureGateway(options.runtimes, sizes, api!.endpoint, path, folder, say);
      outcome.rows.push(...result.rows);
      outcome.verdictFaults.push(...result.faults);
    }
    return outcome;
  } finally {
    await api?.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function measureInProcess(
  runtime: Runtime,
  subjects: Subject[],
  sizes: Sizes,
  fixtures: string,
  folder: string,
  endpoint: string | undefined,
): Promise<Result> {
  const out = join(folder, `${runtime}.json`);
  const { samples, warmup, calls } = sizes;
  const job: Job = { subjects, fixtures, samples, warmup, calls, out };
  const jobFile = join(folder, `${runtime}-job.json`);
  writeFileSync(jobFile, JSON.stringify(job));
  const [command, args] = commandOf(runtime, "bench/run.ts", [jobFile]);
  const ended = await run(command, args, { env: { SPIFFE_ENDPOINT_SOCKET: endpoint }, timeoutMs: 600_000 });
  if (ended.code !== 0) throw new Error(`bench/run.ts on ${runtime} ended with ${ended.code}:\n${ended.output}`);
  return JSON.parse(readFileSync(out, "utf8")) as Result;
}

async function coldStarts(runtime: Runtime, count: number, endpoint: string): Promise<Row> {
  const samples: number[] = [];
  for (let i = 0; i < count; i++) {
    const [command, args] = commandOf(runtime, "bench/cold.ts", []);
    const ended = await run(command, args, { env: { SPIFFE_ENDPOINT_SOCKET: endpoint }, timeoutMs: 60_000 });
    if (ended.code !== 0) throw new Error(`bench/cold.ts on ${runtime} ended with ${ended.code}:\n${ended.output}`);
    samples.push(Number(ended.stdout));
  }
  return rowOf({ subject: "workload", name: "cold start", stack: "spiffe-edge", runtime }, samples);
}

function measureGo(program: string, subjects: Subject[], sizes: Sizes, fixtures: string): Promise<Result> {
  const args = ["-fixtures", fixtures, "-subjects", subjects.join(","), "-samples", String(sizes.samples)];
  return goResult(program, ["measure", ...args]);
}

async function goResult(program: string, args: readonly string[], endpoint?: string): Promise<Result> {
  const ended = await run(program, args, { env: { SPIFFE_ENDPOINT_SOCKET: endpoint }, timeoutMs: 600_000 });
  if (ended.code !== 0) throw new Error(`peers ${args[0]} ended with ${ended.code}:\n${ended.output}`);
  return JSON.parse(ended.stdout) as Result;
}

/** One input in a hundred is bad: every stack has to refuse exactly those. */
function faultsOf(verdicts: Record<string, Verdicts>): string[] {
  return Object.entries(verdicts).flatMap(([key, { accepted, refused }]) => {
    const bad = Math.floor((accepted + refused) / 100);
    return refused === bad ? [] : [`${key}: refused ${refused} of ${accepted + refused} inputs, ${bad} are bad`];
  });
}
