/** The gateway under load, beside a reverse proxy of Go's net/http with go-spiffe, and nginx. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "../scripts/lib/run.ts";
import { encodePem } from "../src/encoding/index.ts";
import { WorkloadApiClient } from "../src/workload/index.ts";
import { commandOf } from "./lib/command.ts";
import { BENCH_TRUST_DOMAIN, GATEWAY_AUDIENCE } from "./lib/environment.ts";
import { tampered } from "./lib/fixtures.ts";
import { startNginx } from "./lib/nginx.ts";
import { type Row, type Runtime, rowOf, type Stack } from "./lib/rows.ts";
import { type Serving, startServing, WARM_TURNS } from "./lib/serving.ts";
import type { Sizes } from "./lib/sizes.ts";
import type { LoadResult } from "./load.ts";
import type { ProxiesJob, ProxyResult } from "./proxies-load.ts";

const CONNECTIONS = 32;
/** Requests of a proxy's turn at most: what is compared shares what else the machine does. */
const TURN = 1_000;

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
    const proxy = { name, who, server };
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
    say(`measuring ${proxies.length} proxies in turns`);
    const results = await inTurns(proxies, material, sizes, folder);
    for (const [index, proxy] of proxies.entries()) rowsOf(proxy, results[index]!, measured);
    for (const { runtime, proxy, accessLog } of gateways) {
      say(`measuring gateway on ${runtime} with tokens`);
      const { sent } = results[proxies.indexOf(proxy)]!;
      const all = sent + (await withTokens(proxy, material, sizes, folder, measured));
      await proxy.server.stop();
      const logged = readFileSync(accessLog, "utf8")
        .split("\n")
        .filter((line) => line !== "").length;
      if (logged !== all) measured.faults.push(`gateway ${runtime}: ${logged} log lines for ${all} requests`);
    }
    return measured;
  } finally {
    for (const { server } of proxies) await server.stop();
    await upstream.stop();
  }
}

type Who = { stack: Stack; runtime: Runtime | "go" | "c" };

/** A proxy under measurement. */
interface Proxy {
  readonly name: string;
  readonly who: Who;
  readonly server: Serving;
}

/** What one client finds of all of them, in their order. */
async function inTurns(
  proxies: readonly Proxy[],
  { ca, cert, key }: Material,
  sizes: Sizes,
  folder: string,
): Promise<ProxyResult[]> {
  const requests = Math.min(TURN, Math.ceil(sizes.requests / 3));
  const turns = Math.ceil(sizes.requests / requests);
  const warmTurns = Math.ceil((WARM_TURNS * turns) / 3);
  const listed = proxies.map(({ server }) => ({ port: server.ports[0]!, pid: server.pid }));
  const job: Omit<ProxiesJob, "out"> = {
    ...{ proxies: listed, ca, cert, key, path: "/orders", connections: CONNECTIONS },
    ...{ requests, turns, warmTurns },
  };
  return await generate<ProxyResult[]>("bench/proxies-load.ts", folder, job);
}

/** Also the CPU that the proxy's process takes for a request, where the system tells. */
function rowsOf({ name, who }: Proxy, { micros, ...result }: ProxyResult, into: Measured): void {
  keep(name, who, result, 0, into);
  const each = micros / result.latencies.length;
  if (micros > 0) into.rows.push(rowOf({ subject: "gateway", ...who, name: `${name} cpu` }, [each]));
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
  keep("reverse-proxy tokens", who, await generate<LoadResult>("bench/load.ts", folder, job), requests / 100, into);
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

async function generate<T>(client: string, folder: string, job: object): Promise<T> {
  const file = join(folder, "load.json");
  const out = join(folder, "load-result.json");
  writeFileSync(file, JSON.stringify({ ...job, out }), { mode: 0o600 });
  const [command, args] = commandOf("node", client, [file]);
  const ended = await run(command, args, { timeoutMs: 300_000 });
  if (ended.code !== 0) throw new Error(`${client} ended with ${ended.code}:\n${ended.output}`);
  return JSON.parse(readFileSync(out, "utf8")) as T;
}
