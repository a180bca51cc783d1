/** What a caller feels of others whose chains are made to cost much: its times alone, and beside them. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { run } from "../scripts/lib/run.ts";
import { type Row, type Runtime, rowOf } from "./lib/rows.ts";
import { startServing } from "./lib/serving.ts";
import { startTrust } from "./lib/trust.ts";
import { commandOf, type Sizes } from "./measure-all.ts";
import type { NeighbourJob } from "./neighbour-load.ts";

/** Turns of quiet and noise, so that what else the machine does falls on both. */
const ROUNDS = 2;
const REQUEST_EVERY_MS = 2;
const ATTACK_EVERY_MS = 20;
/** Hostile callers are there before the first request. */
const BEGUN_MS = 200;

/** Measures `neighbour quiet` and `neighbour`: a request on a kept connection, without and with hostile callers. */
export async function measureNeighbour(
  runtimes: readonly Runtime[],
  { sizes, folder, say }: { sizes: Sizes; folder: string; say: (line: string) => void },
): Promise<{ rows: Row[]; faults: string[] }> {
  const trust = await startTrust(1);
  const found = { rows: [] as Row[], faults: [] as string[] };
  const file = join(folder, "neighbour.json");
  const told = (name: string, job: NeighbourJob): [string, string[]] => {
    const path = join(folder, `neighbour-${name}.json`);
    writeFileSync(path, JSON.stringify(job), { mode: 0o600 });
    return commandOf("node", "bench/neighbour-load.ts", [path]);
  };
  try {
    for (const runtime of runtimes) {
      say(`measuring a caller beside hostile ones on ${runtime}`);
      const env = { SPIFFE_ENDPOINT_SOCKET: trust.endpoint };
      const server = await startServing(commandOf(runtime, "bench/tls-server.ts", ["guarded"]), env);
      try {
        const port = server.ports[0]!;
        const half = Math.ceil(sizes.neighbour / ROUNDS);
        const measure = { out: file, requests: half, warmup: Math.ceil(half / 5) };
        const caller = { port, from: "127.0.0.1", everyMs: REQUEST_EVERY_MS, leaves: trust.leaves, measure };
        const times = async (): Promise<number[]> => {
          const [command, args] = told("caller", caller);
          const ended = await run(command, args, { timeoutMs: 120_000 });
          if (ended.code !== 0) throw new Error(`the caller on ${runtime} ended with ${ended.code}:\n${ended.output}`);
          return JSON.parse(readFileSync(file, "utf8")) as number[];
        };
        const [quiet, beside]: [number[], number[]] = [[], []];
        for (let round = 0; round < ROUNDS; round++) {
          quiet.push(...(await times()));
          const hostile = { port, from: `127.0.0.${2 + round}`, everyMs: ATTACK_EVERY_MS, leaves: trust.hostile };
          const attack = await startServing(told("hostile", hostile));
          try {
            await wait(BEGUN_MS);
            beside.push(...(await times()));
          } finally {
            const said = await attack.stop();
            const [, refused, answered] = /^REFUSED (\d+) ANSWERED (\d+)$/m.exec(said) ?? [];
            if (answered !== "0" || !(Number(refused) > 0)) {
              found.faults.push(`gateway neighbour ${runtime}: hostile callers were ${said.trim().split("\n").at(-1)}`);
            }
          }
        }
        const head = { subject: "gateway", stack: "spiffe-edge", runtime } as const;
        found.rows.push(
          rowOf({ ...head, name: "neighbour quiet" }, quiet),
          rowOf({ ...head, name: "neighbour" }, beside),
        );
      } finally {
        await server.stop();
      }
    }
    return found;
  } finally {
    await trust.stop();
  }
}
