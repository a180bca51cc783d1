/** The soak of the gateway: reloads and rotations under load, a drain at the end, and what the process holds meanwhile. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type GatewayProcess, GatewayWorld, idOf } from "../support/gateway.ts";
import { Load, type Lost } from "./load.ts";

export interface GatewaySoakOptions {
  readonly reloads: number;
  readonly rotations: number;
  /** Milliseconds of load at least. */
  readonly atLeastMs: number;
  readonly say: (line: string) => void;
}

/** What a process holds, where the system tells. */
export interface Held {
  readonly rss: number;
  readonly files: number;
}

export interface GatewaySoakReport {
  readonly sent: number;
  readonly by: Readonly<Record<string, number>>;
  readonly lost: readonly Lost[];
  /** How often each number reached the upstream. */
  readonly numbers: readonly number[];
  readonly reloads: number;
  readonly refusedReloads: number;
  readonly rotations: number;
  /** Lines of the access log. */
  readonly logged: number;
  readonly code: number | null;
  readonly stderr: string;
  readonly early: Held | undefined;
  readonly late: Held | undefined;
  readonly seconds: number;
}

const SAY_EVERY_MS = 10_000;

/** Runs it on the runtime of this process. */
export async function gatewaySoak(options: GatewaySoakOptions): Promise<GatewaySoakReport> {
  const started = performance.now();
  const world = await GatewayWorld.start();
  try {
    const log = join(world.folder, "access.log");
    const gateway = await world.gateway(world.config({ accessLog: { file: log } }));
    const load = new Load(world.web, gateway.port);
    await load.start();
    let early: Held | undefined;
    let said = started;
    const spent = () => performance.now() - started;
    const turns = Math.max(options.reloads, options.rotations);
    for (let turn = 1; turn <= turns || spent() < options.atLeastMs; turn++) {
      await Promise.all([reload(world, gateway, turn, log), rotate(world, gateway, turn)]);
      if (load.lost.length > 0) break;
      if (early === undefined && spent() > options.atLeastMs / 2) early = heldBy(gateway.pid);
      if (performance.now() - said < SAY_EVERY_MS) continue;
      said = performance.now();
      options.say(`  ${turn} reloads and rotations, ${load.sent} requests, ${load.lost.length} lost`);
    }
    const { reload: reloaded, identity } = await gateway.status();
    const late = heldBy(gateway.pid);
    await load.stop();
    const ended = await gateway.end();
    return {
      sent: load.sent,
      by: load.by,
      lost: load.lost,
      numbers: world.upstream.numbers,
      reloads: reloaded.counts.changed,
      refusedReloads: reloaded.counts.refused,
      rotations: identity.rotations,
      logged: linesOf(log),
      code: ended.code,
      stderr: ended.stderr,
      early,
      late,
      seconds: Math.round(spent() / 1_000),
    };
  } finally {
    await world.close();
  }
}

/** Another policy, other limits, sometimes another pool; by the notice of the file, or asked by SIGHUP. */
async function reload(world: GatewayWorld, gateway: GatewayProcess, turn: number, log: string): Promise<void> {
  const policy = [
    { rule: "web", allow: { ids: [idOf("web")] } },
    { rule: `turn-${turn}`, allow: { ids: [idOf("guest")] } },
  ];
  const upstreams = { up: { url: world.upstream.url, retries: { max: 0 }, tryTimeout: `${10 + (turn % 3)}s` } };
  world.write(world.config({ policy, upstreams, accessLog: { file: log } }));
  if (turn % 2 === 0) gateway.signal("SIGHUP");
  await gateway.until(({ reload: { counts } }) => counts.changed + counts.refused >= turn);
}

async function rotate(world: GatewayWorld, gateway: GatewayProcess, turn: number): Promise<void> {
  await world.rotate();
  await gateway.until(({ identity }) => identity.rotations >= turn);
}

/** Whole lines of a file. */
function linesOf(file: string): number {
  let lines = 0;
  for (const byte of readFileSync(file)) if (byte === 10) lines++;
  return lines;
}

/** Memory and descriptors of a process. */
function heldBy(pid: number): Held | undefined {
  try {
    const rss = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    return { rss: Number(rss) * 1_024, files: readdirSync(`/proc/${pid}/fd`).length };
  } catch {
    return undefined;
  }
}
