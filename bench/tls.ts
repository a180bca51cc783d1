/** New mTLS connections and idle ones: this project's listener beside net/http with go-spiffe, under the same clients. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { run } from "../scripts/lib/run.ts";
import { commandOf } from "./lib/command.ts";
import { type Row, type Runtime, rowOf, type Stack } from "./lib/rows.ts";
import { type Serving, startServing } from "./lib/serving.ts";
import type { Sizes } from "./lib/sizes.ts";
import { type BenchTrust, startTrust } from "./lib/trust.ts";
import type { LoadJob, LoadResult } from "./load.ts";

interface Measured {
  rows: Row[];
  faults: string[];
}

type Who = { readonly stack: Stack; readonly runtime: Runtime | "go" };

interface Under {
  readonly trust: BenchTrust;
  readonly sizes: Sizes;
  readonly goPeers: string | undefined;
  readonly folder: string;
  readonly say: (line: string) => void;
}

const CONNECTIONS = 8;
/** Connections that come and go before the first look, so that code and pools are there. */
const WARM = 300;

/** The servers to compare: each runtime's listener, and Go's where it is. */
async function* servers(runtimes: readonly Runtime[], under: Under): AsyncGenerator<{ who: Who; server: Serving }> {
  const env = { SPIFFE_ENDPOINT_SOCKET: under.trust.endpoint };
  const all: (readonly [Who, [string, readonly string[]]])[] = runtimes.map((runtime) => [
    { stack: "spiffe-edge", runtime },
    commandOf(runtime, "bench/tls-server.ts", []),
  ]);
  if (under.goPeers !== undefined) {
    const args = ["serve", "-quiet", "-peer", `spiffe://${under.trust.domain}`];
    all.push([{ stack: "go-spiffe", runtime: "go" }, [under.goPeers, args]]);
  }
  for (const [who, command] of all) {
    const server = await startServing(command, env);
    try {
      yield { who, server };
    } finally {
      await server.stop();
    }
  }
}

async function withTrust(
  count: number,
  rest: Omit<Under, "trust">,
  measure: (under: Under) => Promise<Measured>,
): Promise<Measured> {
  const trust = await startTrust(count);
  try {
    return await measure({ ...rest, trust });
  } finally {
    await trust.stop();
  }
}

/** Measures `handshake`: wall time per new connection that was judged and, when it is good, answered one request. */
export function measureHandshakes(runtimes: readonly Runtime[], rest: Omit<Under, "trust">): Promise<Measured> {
  return withTrust(rest.sizes.inputs, rest, async (under) => {
    const measured: Measured = { rows: [], faults: [] };
    for await (const { who, server } of servers(runtimes, under)) {
      under.say(`measuring handshake of ${who.stack} on ${who.runtime}`);
      const requests = under.sizes.handshakes;
      // As many before as are measured: for the first 10,000 to 15,000 a just-in-time compiler works beside the server.
      const job = { port: server.ports[0]!, requests, warmup: requests, connections: CONNECTIONS };
      const result = await generate(under, job);
      measured.rows.push(rowOf({ subject: "gateway", name: "handshake", ...who }, result.slices));
      const callers = Array.from({ length: requests }, (_, i) => under.trust.leaves[i % under.trust.leaves.length]!);
      const bad = callers.filter(({ good }) => !good).length;
      if (result.statuses[200] !== requests - bad || (result.statuses[0] ?? 0) !== bad) {
        const seen = JSON.stringify(result.statuses);
        measured.faults.push(`gateway handshake ${who.runtime}: expected ${bad} of ${requests} refused, got ${seen}`);
      }
    }
    return measured;
  });
}

/** Clients in Go cost so little that the server is what is busy; without Go the generator is part of what is measured. */
async function generate(
  { trust, folder, goPeers }: Under,
  job: Pick<LoadJob, "port" | "requests" | "warmup" | "connections">,
): Promise<LoadResult> {
  const file = join(folder, "handshakes.json");
  const out = join(folder, "handshakes-result.json");
  const whole: LoadJob = { ...job, path: "/", ca: trust.roots, leaves: [...trust.leaves], reconnect: true, out };
  writeFileSync(file, JSON.stringify(whole), { mode: 0o600 });
  const [command, args] =
    goPeers === undefined ? commandOf("node", "bench/load.ts", [file]) : ([goPeers, ["load", file]] as const);
  const ended = await run(command, args, { timeoutMs: 300_000 });
  if (ended.code !== 0) throw new Error(`the load of handshakes ended with ${ended.code}:\n${ended.output}`);
  return JSON.parse(readFileSync(out, "utf8")) as LoadResult;
}

/** Measures `idle connection`: bytes of the server process for each connection that is kept and does nothing. */
export function measureIdle(runtimes: readonly Runtime[], rest: Omit<Under, "trust">): Promise<Measured> {
  // Only the clients in Go are cheap enough by the thousand, and only Linux tells the memory of another process so.
  if (rest.goPeers === undefined || !existsSync("/proc/self/status")) return Promise.resolve({ rows: [], faults: [] });
  return withTrust(20, rest, async (under) => {
    const measured: Measured = { rows: [], faults: [] };
    const samples = new Map<string, { who: Who; bytes: number[] }>();
    for (let round = 0; round < rest.sizes.rounds; round++) {
      for await (const { who, server } of servers(runtimes, under)) {
        if (round === 0) under.say(`measuring idle connections of ${who.stack} on ${who.runtime}`);
        const held = samples.get(who.runtime) ?? { who, bytes: [] };
        held.bytes.push(await bytesPerConnection(under, server));
        samples.set(who.runtime, held);
      }
    }
    for (const { who, bytes } of samples.values()) {
      measured.rows.push(rowOf({ subject: "memory", name: "idle connection", ...who }, bytes, "bytes"));
    }
    return measured;
  });
}

async function bytesPerConnection(under: Under, server: Serving): Promise<number> {
  const count = under.sizes.idle;
  await (await hold(under, server, WARM)).release();
  await wait(under.sizes.settleMs);
  const before = residentBytes(server.pid);
  const held = await hold(under, server, count);
  await wait(under.sizes.settleMs);
  const after = residentBytes(server.pid);
  const alive = await held.release();
  if (alive !== count) throw new Error(`${alive} of ${count} idle connections were still open at the end`);
  return (after - before) / count;
}

/** Opens connections of good clients and keeps them; `release` tells how many still answer, and ends them. */
async function hold({ trust, folder, goPeers }: Under, server: Serving, count: number) {
  const file = join(folder, "hold.json");
  const job = { port: server.ports[0]!, path: "/", leaves: trust.leaves.filter(({ good }) => good), requests: count };
  writeFileSync(file, JSON.stringify(job), { mode: 0o600 });
  const holder = await startServing([goPeers!, ["hold", file]]);
  return {
    release: async () => {
      const said = await holder.stop();
      return Number(/^ALIVE (\d+)$/m.exec(said)?.[1]);
    },
  };
}

function residentBytes(pid: number): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  if (kilobytes === undefined) throw new Error(`/proc/${pid}/status has no VmRSS`);
  return Number(kilobytes) * 1_024;
}

/** Measures `fetch`: a request over a kept connection, by `createFetch` and by the runtime's own fetch over plain TLS. */
export function measureFetch(runtimes: readonly Runtime[], rest: Omit<Under, "trust">): Promise<Measured> {
  return withTrust(1, rest, async ({ trust, sizes, folder, say }) => {
    const env = { SPIFFE_ENDPOINT_SOCKET: trust.endpoint };
    const roots = join(folder, "roots.pem");
    writeFileSync(roots, trust.roots);
    const servers: Serving[] = [];
    try {
      for (const mode of ["mutual", "plain"]) {
        servers.push(await startServing(commandOf("node", "bench/tls-server.ts", [mode]), env));
      }
      const ports = servers.map(({ ports: [port] }) => String(port));
      const rows: Row[] = [];
      for (const runtime of runtimes) {
        say(`measuring fetch on ${runtime}`);
        const out = join(folder, "fetch.json");
        const numbers = [sizes.fetches, Math.ceil(sizes.fetches / 10)].map(String);
        const [command, args] = commandOf(runtime, "bench/fetch.ts", [...ports, trust.server, ...numbers, out]);
        const trusting = { ...env, NODE_EXTRA_CA_CERTS: roots, DENO_CERT: roots };
        const ended = await run(command, args, { env: trusting, timeoutMs: 120_000 });
        if (ended.code !== 0)
          throw new Error(`bench/fetch.ts on ${runtime} ended with ${ended.code}:\n${ended.output}`);
        const times = JSON.parse(readFileSync(out, "utf8")) as { own: number[]; native: number[] };
        const head = { subject: "gateway", name: "fetch", runtime } as const;
        rows.push(
          rowOf({ ...head, stack: "spiffe-edge" }, times.own),
          rowOf({ ...head, stack: "native" }, times.native),
        );
      }
      return { rows, faults: [] };
    } finally {
      for (const server of servers) await server.stop();
    }
  });
}
