/** `spiffe-edge dev`: a trust domain, a gateway, an upstream and callers in one process. */
import process from "node:process";
import { Command } from "commander";
import { createGateway, type Gateway } from "../gateway/index.ts";
import { runtime } from "../runtime/detect.ts";
import { Workload, WorkloadApiClient } from "../workload/index.ts";
import { runDemo } from "./dev/demo.ts";
import { demoConfig } from "./dev/demo-config.ts";
import { RequestNotes } from "./dev/request-notes.ts";
import { startUpstream } from "./dev/upstream.ts";
import { openWorld, type World } from "./dev/world.ts";
import { EXIT, type ExitCode } from "./exit.ts";
import { duration, ms } from "./format.ts";
import { parsePort } from "./ports.ts";
import { untilSignal } from "./signals.ts";
import { VERSION } from "./version.ts";

interface DevOptions {
  once?: true;
  entries?: string;
  port: number;
  statusPort: number;
}

const OPEN_TIMEOUT_MS = 10_000;
/** The last one is told; the first ones open the connection and warm the code up. */
const FETCHES = 5;

/** The command; its exit code is handed to `finish`. */
export function devCommand(finish: (code: ExitCode) => void): Command {
  return new Command("dev")
    .description("a whole trust domain, a gateway and three callers on this machine; for development only")
    .option("--once", "make the calls, print them and end")
    .option("--port <port>", "port of the gateway on 127.0.0.1; 0 takes a free one", parsePort, 0)
    .option("--status-port <port>", "port of the status pages on 127.0.0.1; 0 takes a free one", parsePort, 0)
    .option("--entries <file>", "a YAML list of more workloads: { id, socket, hint?, ttl?, federatesWith? }")
    .addHelpText(
      "after",
      `
With SPIFFE_ENDPOINT_SOCKET set, the identity of gateway and callers comes from that agent instead.

Examples:
  spiffe-edge dev
  spiffe-edge dev --once
  spiffe-edge dev --entries entries.yaml
  SPIFFE_ENDPOINT_SOCKET=unix:///run/spire/agent/public/api.sock spiffe-edge dev --port 8443`,
    )
    .action(async (options: DevOptions) => finish(await dev(options)));
}

async function dev(options: DevOptions): Promise<ExitCode> {
  const signal = untilSignal(() => process.exit(EXIT.drainDeadline));
  const closers: (() => Promise<unknown>)[] = [];
  let gateway: Gateway | undefined;
  try {
    const started = await start(options, closers);
    gateway = started.gateway;
    for (const fault of started.faults) process.stderr.write(`spiffe-edge: ${fault}\n`);
    if (started.faults.length > 0) return EXIT.failed;
    if (options.once !== true) await signal;
    const { cut } = await gateway.close();
    return cut === 0 ? EXIT.done : EXIT.drainDeadline;
  } finally {
    for (const close of closers.reverse()) await close();
  }
}

/** Starts everything and says so line by line; what has to be closed is in `closers`, also after a failure. */
async function start(
  options: DevOptions,
  closers: (() => Promise<unknown>)[],
): Promise<{ gateway: Gateway; faults: string[] }> {
  const say = (line: string) => process.stdout.write(`${line}\n`);
  const world = await openWorld(options.entries);
  closers.push(() => world.close());
  const upstream = await startUpstream();
  closers.push(() => upstream.close());
  const workload = await Workload.open({ socket: world.gateway.socket, timeoutMs: OPEN_TIMEOUT_MS });
  closers.push(() => workload.close());
  const fetchMs = await timeFetch(world.gateway.socket);
  const notes = new RequestNotes();
  const config = demoConfig(world, { upstreamUrl: upstream.url, port: options.port, statusPort: options.statusPort });
  const gateway = await createGateway(config, { workload, logger: notes });
  closers.push(() => gateway.close());
  const { port } = gateway.listeners[0]!;
  const demo = await runDemo(world, { port, id: workload.id.uri }, notes);

  say(headline(world));
  say(`Workload API  ${world.where}`);
  const renews = `renews in ${renewsIn(workload, Date.now())}`;
  say(
    `X.509-SVID    ${workload.id}  fetched in ${ms(fetchMs)}, ${renews}        JWT-SVID  issued in ${ms(demo.jwtMs)}`,
  );
  const status = `http://127.0.0.1:${gateway.status.port}/status`;
  say(`gateway       https://127.0.0.1:${port} → demo upstream      status  ${status}`);
  for (const line of demo.lines) say(line);
  const issuer = world.embedded ? "the embedded authority (npm run bench measures a real SPIRE)" : "the real agent";
  say(`issuance      p99 ${ms(demo.issuanceP99)} of ${demo.issuances} by ${issuer}`);
  const hint = world.embedded
    ? "Real SPIRE: set SPIFFE_ENDPOINT_SOCKET=unix:///… before. Ctrl-C drains and removes the sockets."
    : "Ctrl-C drains.";
  say(`ready in ${(performance.now() / 1000).toFixed(1)} s. ${hint}`);
  return { gateway, faults: demo.faults };
}

function headline(world: World): string {
  const what = world.embedded
    ? "embedded authority, keys in memory, FOR DEVELOPMENT ONLY"
    : "identity of the real agent, demo gateway and upstream";
  const on = `${runtime.name} ${runtime.version}`;
  return `spiffe-edge ${VERSION} on ${on} · trust domain ${world.trustDomain} · ${what}`;
}

/** Milliseconds of an X.509 fetch on a connection that is open already, as the benches count it. */
async function timeFetch(socket: string): Promise<number> {
  const client = new WorkloadApiClient({ socket, timeoutMs: OPEN_TIMEOUT_MS });
  try {
    let took = 0;
    for (let i = 0; i < FETCHES; i++) {
      const start = performance.now();
      await client.fetchX509Context();
      took = performance.now() - start;
    }
    return took;
  } finally {
    await client.close();
  }
}

/** An authority renews in the middle of an SVID's life. */
function renewsIn(workload: Workload, now: number): string {
  const { notBefore, notAfter } = workload.x509.x509Svid().leaf;
  return duration((notBefore.getTime() + notAfter.getTime()) / 2 - now);
}
