/** The soak of the gateway: reloads and rotations under load, what the process holds meanwhile, and drains at the end. */
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { listen } from "../../src/tls/index.ts";
import { type GatewayProcess, GatewayWorld, idOf } from "../support/gateway.ts";
import { onThisRuntime } from "../support/programs.ts";
import { type Drained, drains } from "./drains.ts";
import type { Sample } from "./flatness.ts";
import { Load, type Lost } from "./load.ts";

export interface GatewaySoakOptions {
  readonly reloads: number;
  readonly rotations: number;
  /** Gateways that are told to end while callers go on. */
  readonly drains: number;
  /** Milliseconds of load at least. */
  readonly atLeastMs: number;
  readonly say: (line: string) => void;
}

export interface GatewaySoakReport {
  readonly sent: number;
  readonly by: Readonly<Record<string, number>>;
  readonly lost: readonly Lost[];
  /** How often each number reached an upstream, those of the drains too. */
  readonly numbers: readonly number[];
  readonly reloads: number;
  readonly refusedReloads: number;
  readonly rotations: number;
  /** Lines of the access log. */
  readonly logged: number;
  readonly code: number | null;
  readonly stderr: string;
  readonly samples: readonly Sample[];
  readonly drained: Drained;
  readonly seconds: number;
}

/** Milliseconds that a turn of one reload and one rotation takes at least, where the time allows all of them. */
const TURN_MS = 2_000;
/** Samples of a whole run. */
const SAMPLES = 60;

/** Runs it on the runtime of this process. */
export async function gatewaySoak(options: GatewaySoakOptions): Promise<GatewaySoakReport> {
  const started = performance.now();
  const spent = () => performance.now() - started;
  const world = await GatewayWorld.start();
  const handler = world.upstream.answer.bind(world.upstream);
  const proven = await listen(world.guest, { address: "127.0.0.1", port: 0, handler });
  try {
    const log = join(world.folder, "access.log");
    const window = join(world.folder, "window.sock");
    const configOf = (turn: number) => config(world, proven.port, turn, log);
    const command = onThisRuntime("test/soak-gateway/measured.ts", ["gateway", "--config", world.file], {
      collecting: true,
    });
    const gateway = await world.gateway(configOf(0), () => world.run(command, { SOAK_WINDOW: window }));
    const load = new Load(world.web, gateway.port);
    await load.start();
    const samples: Sample[] = [];
    const turns = Math.max(options.reloads, options.rotations);
    const turnMs = Math.min(TURN_MS, options.atLeastMs / turns);
    let next = 0;
    for (let turn = 1; turn <= turns || spent() < options.atLeastMs; turn++) {
      const began = performance.now();
      await Promise.all([reload(world, gateway, turn, configOf(turn)), rotate(world, gateway, turn)]);
      if (load.lost.length > 0) break;
      if (spent() >= next) {
        const sample = { requests: load.sent, ...(await look(window)) };
        samples.push(sample);
        next += options.atLeastMs / SAMPLES;
        const [heap, rss] = [sample.heap, sample.rss].map((bytes) => (bytes / 1_048_576).toFixed(1));
        options.say(
          `  ${Math.round(spent() / 1_000)} s: ${turn} reloads and rotations, ${load.sent} requests; heap ${heap} MiB, ` +
            `resident ${rss} MiB, ${sample.files} files`,
        );
      }
      await wait(Math.max(0, began + turnMs - performance.now()));
    }
    const { reload: reloaded, identity } = await gateway.status();
    await load.stop();
    const ended = await gateway.end();
    options.say(`  ${Math.round(spent() / 1_000)} s: ${options.drains} drains`);
    return {
      sent: load.sent,
      by: load.by,
      lost: load.lost,
      reloads: reloaded.counts.changed,
      refusedReloads: reloaded.counts.refused,
      rotations: identity.rotations,
      logged: linesOf(log),
      code: ended.code,
      stderr: ended.stderr,
      samples,
      drained: await drains(world, options.drains, load.sent),
      numbers: world.upstream.numbers,
      seconds: Math.round(spent() / 1_000),
    };
  } finally {
    await proven.close({ deadlineMs: 0 });
    await world.close();
  }
}

/** Another policy, other limits, sometimes another pool; a third of the requests each in plaintext, by mTLS, by mTLS and HTTP/2. */
function config(world: GatewayWorld, port: number, turn: number, log: string) {
  const more = { retries: { max: 0 }, tryTimeout: `${10 + (turn % 3)}s` };
  const proven = { url: `https://127.0.0.1:${port}`, id: idOf("guest"), ...more };
  return world.config({
    policy: [
      { rule: "web", allow: { ids: [idOf("web")] } },
      { rule: `turn-${turn}`, allow: { ids: [idOf("guest")] } },
    ],
    upstreams: { up: { url: world.upstream.url, ...more }, proven, proven2: { ...proven, protocol: "h2" } },
    routes: [
      { name: "m", path: "/m/**", upstream: "proven" },
      { name: "h", path: "/h/**", upstream: "proven2" },
      { name: "up", path: "/**", upstream: "up" },
    ],
    accessLog: { file: log },
  });
}

/** By the notice of the file, or asked by SIGHUP. */
async function reload(world: GatewayWorld, gateway: GatewayProcess, turn: number, file: object): Promise<void> {
  world.write(file);
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

/** What the gateway holds, through its window. */
async function look(window: string): Promise<Omit<Sample, "requests">> {
  let text = "";
  for await (const chunk of connect(window).setEncoding("utf8")) text += chunk;
  return JSON.parse(text) as Omit<Sample, "requests">;
}
