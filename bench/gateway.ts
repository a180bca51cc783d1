/** The gateway under load, beside a reverse proxy of Go's net/http with go-spiffe, and nginx. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "../scripts/lib/run.ts";
import { encodePem } from "../src/encoding/index.ts";
import { WorkloadApiClient } from "../src/workload/index.ts";
import { BENCH_TRUST_DOMAIN, GATEWAY_AUDIENCE } from "./lib/environment.ts";
import { tampered } from "./lib/fixtures.ts";
import { startNginx } from "./lib/nginx.ts";
import { type Row, type Runtime, rowOf, type Stack } from "./lib/rows.ts";
import { cpuOf, type Serving, startServing, WARM_TURNS } from "./lib/serving.ts";
import type { LoadJob, LoadResult } from "./load.ts";
import { commandOf, type Sizes } from "./measure-all.ts";

const CONNECTIONS = 32;
/** Measured turns of each proxy, and an unmeasured one before: what is compared is as warm, and shares what else the machine does. */
const TURNS = 3;

interface Material {
  id: string;
  ca: string;
  cert: string;
  key: string;
  tokens: string[];
}

interface Measured {
  rows: Row[];
  faults: string[];
}

/**
 * Measures `reverse-proxy` of each runtime's gateway, also bare, of the Go proxy and of nginx, in turns; then each gateway
 * with tokens.
 */
export async function measureGateway(
  runtimes: readonly Runtime[],
  sizes: Sizes,
  endpoint: string,
  goPeers: string | undefined,
  folder: string,
  say: (line: string) => void,
): Promise<Measured> {
  const measured: Measured = { rows: [], faults: [] };
  const material = await fetchMaterial(endpoint, sizes.inputs);
  const upstream = await startServing(commandOf("node", "bench/upstream.ts", []));
  const env = { SPIFFE_ENDPOINT_SOCKET: endpoint };
  const url = `http://127.0.0.1:${upstream.ports[0]}`;
  const proxies: Proxy[] = [];
  const gateways: { runtime: Runtime; proxy: Proxy; accessLog: string }[] = [];
  const start = (name: string, who: Who, server: Serving): Proxy => {
    const proxy = { name, who, server, sent: 0, micros: 0, latencies: [], slices: [], statuses: {} };
    proxies.push(proxy);
    return proxy;
  };
  try {
    for (const runtime of runtimes) {
      const who = { stack: "spiffe-edge", runtime } as const;
      const accessLog = join(folder, `${runtime}-access.log`);
      const args = [url, material.id, accessLog];
      const server = await startServing(commandOf(runtime, "bench/gateway-server.ts", args), env);
      gateways.push({ runtime, proxy: start("reverse-proxy", who, server), accessLog });
      const bare = await startServing(commandOf(runtime, "bench/gateway-bare.ts", [url]), env);
      start("reverse-proxy bare", who, bare);
    }
    if (goPeers !== undefined) {
      const args = ["proxy", "-upstream", url, "-trust-domain", BENCH_TRUST_DOMAIN];
      start("reverse-proxy", { stack: "go-proxy", runtime: "go" }, await startServing([goPeers, args], env));
    }
    const nginx = await startNginx(material, url, folder);
    if (nginx !== undefined) start("reverse-proxy", { stack: "nginx", runtime: "c" }, nginx);
    for (let turn = 1 - WARM_TURNS; turn <= TURNS; turn++) {
      say(`measuring ${proxies.length} proxies in turns, ${turn <= 0 ? "to warm up" : `${turn} of ${TURNS}`}`);
      for (const proxy of turn % 2 === 0 ? proxies : [...proxies].reverse()) {
        await take(proxy, material, sizes, folder, turn > 0);
      }
    }
    for (const proxy of proxies) rowsOf(proxy, measured);
    for (const { runtime, proxy, accessLog } of gateways) {
      say(`measuring gateway on ${runtime} with tokens`);
      const sent = proxy.sent + (await withTokens(proxy, material, sizes, folder, measured));
      await proxy.server.stop();
      const logged = readFileSync(accessLog, "utf8")
        .split("\n")
        .filter((line) => line !== "").length;
      if (logged !== sent) measured.faults.push(`gateway ${runtime}: ${logged} log lines for ${sent} requests`);
    }
    return measured;
  } finally {
    for (const { server } of proxies) await server.stop();
    await upstream.stop();
  }
}

type Who = { stack: Stack; runtime: Runtime | "go" | "c" };

/** A proxy under measurement, and what was measured of it. */
interface Proxy extends LoadResult {
  readonly name: string;
  readonly who: Who;
  readonly server: Serving;
  /** Requests of all turns. */
  sent: number;
  /** CPU of its process for them; 0 where the system does not tell. */
  micros: number;
}

/** One turn of a proxy. */
async function take(
  proxy: Proxy,
  { ca, cert, key }: Material,
  sizes: Sizes,
  folder: string,
  counts: boolean,
): Promise<void> {
  const { server } = proxy;
  const requests = sizes.requests / TURNS;
  const warmup = sizes.requests / 10;
  const job = { port: server.ports[0]!, cert, key, ca, path: "/orders", connections: CONNECTIONS, requests, warmup };
  const before = cpuOf(server.pid);
  const result = await generate(folder, job);
  const after = cpuOf(server.pid);
  proxy.sent += requests + warmup;
  if (!counts) return;
  if (before !== undefined && after !== undefined) proxy.micros += after - before;
  for (const latency of result.latencies) proxy.latencies.push(latency);
  proxy.slices.push(...result.slices);
  for (const [status, count] of Object.entries(result.statuses)) {
    proxy.statuses[status] = (proxy.statuses[status] ?? 0) + count;
  }
}

/** Also the CPU that the proxy's process takes for a request, where the system tells. */
function rowsOf({ name, who, sent, micros, ...result }: Proxy, into: Measured): void {
  keep(name, who, result, 0, into);
  const measured = (sent * TURNS) / (TURNS + WARM_TURNS);
  if (micros > 0) into.rows.push(rowOf({ subject: "gateway", ...who, name: `${name} cpu` }, [micros / measured]));
}

/** Every token once or more; returns how many requests that were. */
async function withTokens(
  { who, server }: Proxy,
  { ca, tokens }: Material,
  sizes: Sizes,
  folder: string,
  into: Measured,
): Promise<number> {
  const requests = Math.ceil(sizes.requests / tokens.length) * tokens.length;
  const warmup = tokens.length;
  const job = { port: server.ports[1]!, ca, path: "/orders", tokens, connections: CONNECTIONS, requests, warmup };
  keep("reverse-proxy tokens", who, await generate(folder, job), requests / 100, into);
  return requests + warmup;
}

function keep(name: string, who: Who, result: LoadResult, refused: number, into: Measured): void {
  const head = { subject: "gateway", ...who } as const;
  into.rows.push(rowOf({ ...head, name }, result.latencies));
  into.rows.push(rowOf({ ...head, name: `${name} wall` }, result.slices));
  const good = result.latencies.length - refused;
  if (result.statuses[200] !== good || (result.statuses[401] ?? 0) !== refused) {
    const seen = JSON.stringify(result.statuses);
    into.faults.push(`gateway ${name} ${who.runtime}: expected ${good} × 200 and ${refused} × 401, got ${seen}`);
  }
}

/** The client's SVID, and as many distinct tokens as inputs: each names an audience of its own beside the route's. */
async function fetchMaterial(endpoint: string, count: number): Promise<Material> {
  const client = new WorkloadApiClient({ socket: endpoint });
  try {
    const context = await client.fetchX509Context();
    const svid = context.svids[0]!;
    const bundle = context.bundles.get(svid.id.trustDomain.name)!;
    const pem = svid.toPem();
    const tokens: string[] = [];
    for (let i = 0; i < count; i++) {
      const { token } = await client.fetchJwtSvid({ audience: [GATEWAY_AUDIENCE, `bench-${i}`] });
      tokens.push(i % 100 === 99 ? tampered(token) : token);
    }
    return {
      id: svid.id.uri,
      ca: bundle.authorities.map(({ der }) => encodePem("CERTIFICATE", der)).join(""),
      cert: pem.certificates,
      key: pem.privateKey,
      tokens,
    };
  } finally {
    await client.close();
  }
}

async function generate(folder: string, job: Omit<LoadJob, "out">): Promise<LoadResult> {
  const file = join(folder, "load.json");
  const out = join(folder, "load-result.json");
  writeFileSync(file, JSON.stringify({ ...job, out }), { mode: 0o600 });
  const [command, args] = commandOf("node", "bench/load.ts", [file]);
  const ended = await run(command, args, { timeoutMs: 300_000 });
  if (ended.code !== 0) throw new Error(`bench/load.ts ended with ${ended.code}:\n${ended.output}`);
  return JSON.parse(readFileSync(out, "utf8")) as LoadResult;
}
