/** Runs every measuring process of a bench and gathers what they found. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bin, run } from "../scripts/lib/run.ts";
import { measureGateway } from "./gateway.ts";
import { builtCommand, coldStarts } from "./lib/cold-start.ts";
import { commandOf } from "./lib/command.ts";
import { type BenchWorkloadApi, startWorkloadApi } from "./lib/environment.ts";
import { makeFixtures } from "./lib/fixtures.ts";
import { goPeers } from "./lib/go-peers.ts";
import { type Result, type Row, type Runtime, rowOf, type Subject, type Verdicts } from "./lib/rows.ts";
import { FULL, type Job, QUICK, type Sizes } from "./lib/sizes.ts";
import type { Environment } from "./lib/target.ts";
import { measureNeighbour } from "./neighbour.ts";
import { measureFetch, measureHandshakes, measureIdle } from "./tls.ts";
import { measureTokens } from "./tokens.ts";
import { measureWorkerd } from "./workerd.ts";

export interface BenchOptions {
  subjects: Subject[];
  runtimes: Runtime[];
  /** Whether signatures are measured in workerd too. */
  workerd: boolean;
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

/** Measures the wanted subjects on the wanted runtimes, peers included. */
export async function measureAll(options: BenchOptions, say: (line: string) => void): Promise<BenchOutcome> {
  const sizes = options.quick ? QUICK : FULL;
  const folder = mkdtempSync(join(tmpdir(), "spiffe-edge-bench-"));
  const outcome: BenchOutcome = { rows: [], verdictFaults: [], environment: "none", notes: [] };
  let api: BenchWorkloadApi | undefined;
  try {
    const computing = options.subjects.filter((subject) =>
      ["id", "x509", "jwt", "crypto", "policy", "memory"].includes(subject),
    );
    const fixtures = join(folder, "fixtures.json");
    const inputs = computing.length > 0 ? sizes.inputs : 1;
    const prepared = await makeFixtures(inputs, Math.floor(Date.now() / 1000));
    writeFileSync(fixtures, JSON.stringify(prepared));
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
      if (inProcess.includes("workload")) {
        const flags = { bun: [], deno: ["run", "-A", "--no-check"], node: [] }[runtime];
        const args = [...flags, await builtCommand(), "fetch", "x509"];
        outcome.rows.push(await coldStarts([bin(runtime), args], sizes.coldStarts, api!.endpoint, { runtime }));
      }
      if (inProcess.includes("crypto")) {
        const samples = await coldSamples(runtime, "bench/cold-verify.ts", sizes.coldStarts);
        outcome.rows.push(rowOf({ subject: "crypto", name: "cold ES256", stack: "spiffe-edge", runtime }, samples));
      }
    }
    if (options.workerd && options.subjects.includes("crypto")) {
      say("measuring crypto on workerd");
      take(await measureWorkerd(prepared, options.quick ? 2 : 7));
    }
    if ("path" in peers) {
      const judged = computing.filter((subject) => subject !== "memory" && subject !== "policy");
      if (judged.length > 0) {
        say(`measuring ${judged.join(", ")} with go-spiffe`);
        take(await measureGo(peers.path, judged, sizes, fixtures));
      }
      if (options.subjects.includes("workload")) {
        say("measuring workload with go-spiffe");
        const calls = ["workload", "-samples", String(sizes.calls)];
        take(await goResult(peers.path, calls, api!.endpoint));
        const peer = { stack: "go-spiffe", runtime: "go" } as const;
        outcome.rows.push(await coldStarts([peers.path, ["cold"]], sizes.coldStarts, api!.endpoint, peer));
      }
    }
    const path = "path" in peers ? peers.path : undefined;
    const collect = ({ rows, faults }: { rows: Row[]; faults: string[] }) => {
      outcome.rows.push(...rows);
      outcome.verdictFaults.push(...faults);
    };
    const under = { sizes, goPeers: path, folder, say };
    if (options.subjects.includes("memory")) collect(await measureIdle(options.runtimes, under));
    if (options.subjects.includes("gateway")) {
      collect(await measureHandshakes(options.runtimes, under));
      collect(await measureFetch(options.runtimes, under));
      collect(await measureNeighbour(options.runtimes, under));
      collect(await measureTokens(options.runtimes, under));
      collect(await measureGateway(options.runtimes, sizes, api!.endpoint, path, folder, say));
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

/** What a program that measures itself prints, from fresh processes. */
async function coldSamples(runtime: Runtime, file: string, count: number): Promise<number[]> {
  const samples: number[] = [];
  for (let i = 0; i < count; i++) {
    const [command, args] = commandOf(runtime, file, []);
    const ended = await run(command, args, { timeoutMs: 60_000 });
    if (ended.code !== 0) throw new Error(`${file} on ${runtime} ended with ${ended.code}:\n${ended.output}`);
    samples.push(Number(ended.stdout));
  }
  return samples;
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
