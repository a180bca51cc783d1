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
import { cpuOf, type Serving, startServing } from "./lib/serving.ts";
import type { LoadJob, LoadResult } from "./load.ts";
import { commandOf, type Sizes } from "./measure-all.ts";

const CONNECTIONS = 32;

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
 * Measures `reverse-proxy`, with certificates and with tokens, of each runtime's gateway, the first also bare, of the Go
 * proxy and of nginx.
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
  try {
    for (const runtime of runtimes) {
      say(`measuring gateway on ${runtime}`);
      const accessLog = join(folder, `${runtime}-access.log`);
      const server = await startServing(
        commandOf(runtime, "bench/gateway-server.ts", [url, material.id, accessLog]),
        env,
      );
      let sent = 0;
      try {
        const [mesh, edge] = server.ports as [number, number];
        const load = loads(material, sizes, folder, measured, { stack: "spiffe-edge", runtime });
        sent += await load.proxied(mesh, server.pid);
        sent += await load.tokens(edge);
      } finally {
        await server.stop();
      }
      const bare = await startServing(commandOf(runtime, "bench/gateway-bare.ts", [url]), env);
      await ofProxy(
        bare,
        loads(material, sizes, folder, measured, { stack: "spiffe-edge", runtime }),
        "reverse-proxy bare",
      );
      const logged = readFileSync(accessLog, "utf8")
        .split("\n")
        .filter((line) => line !== "").length;
      if (logged !== sent) measured.faults.push(`gateway ${runtime}: ${logged} log lines for ${sent} requests`);
    }
    if (goPeers !== undefined) {
      say("measuring gateway with go-proxy");
      const args = ["proxy", "-upstream", url, "-trust-domain", BENCH_TRUST_DOMAIN];
      const server = await startServing([goPeers, args], env);
      await ofProxy(server, loads(material, sizes, folder, measured, { stack: "go-proxy", runtime: "go" }));
    }
    const nginx = await startNginx(material, url, folder);
    if (nginx !== undefined) {
      say("measuring gateway with nginx");
      await ofProxy(nginx, loads(material, sizes, folder, measured, { stack: "nginx", runtime: "c" }));
    }
    return measured;
  } finally {
    await upstream.stop();
  }
}

async function ofProxy(server: Serving, load: ReturnType<typeof loads>, name?: string): Promise<void> {
  try {
    await load.proxied(server.ports[0]!, server.pid, name);
  } finally {
    await server.stop();
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

function loads(
  material: Material,
  sizes: Sizes,
  folder: string,
  into: Measured,
  who: { stack: Stack; runtime: Runtime | "go" | "c" },
) {
  const { ca, cert, key } = material;
  const keep = (name: string, result: LoadResult, refused: number) => {
    const head = { subject: "gateway", ...who } as const;
    into.rows.push(rowOf({ ...head, name }, result.latencies));
    into.rows.push(rowOf({ ...head, name: `${name} wall` }, result.slices));
    const good = result.latencies.length - refused;
    if (result.statuses[200] !== good || (result.statuses[401] ?? 0) !== refused) {
      const seen = JSON.stringify(result.statuses);
      into.faults.push(`gateway ${name} ${who.runtime}: expected ${good} × 200 and ${refused} × 401, got ${seen}`);
    }
  };
  const load = async (name: string, job: Omit<LoadJob, "out" | "path" | "ca">, refused: number): Promise<number> => {
    const result = await generate(folder, { ...job, ca, path: "/orders" });
    keep(name, result, refused);
    return job.requests + job.warmup;
  };
  return {
    /** Also the CPU that the proxy's process takes for a request, where the system tells. */
    proxied: async (port: number, pid: number, name = "reverse-proxy") => {
      const job = { port, cert, key, connections: CONNECTIONS, requests: sizes.requests, warmup: sizes.requests / 10 };
      const before = cpuOf(pid);
      const sent = await load(name, job, 0);
      const after = cpuOf(pid);
      if (before !== undefined && after !== undefined && after > before) {
        into.rows.push(rowOf({ subject: "gateway", ...who, name: `${name} cpu` }, [(after - before) / sent]));
      }
      return sent;
    },
    tokens: (port: number) => {
      const { tokens } = material;
      const requests = Math.ceil(sizes.requests / tokens.length) * tokens.length;
      const job = { port, tokens, connections: CONNECTIONS, requests, warmup: tokens.length };
      return load("reverse-proxy tokens", job, requests / 100);
    },
  };
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
