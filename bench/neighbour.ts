/** What a caller feels of others whose chains are made to cost much: its times alone, and beside them. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { run } from "../scripts/lib/run.ts";
import { commandOf } from "./lib/command.ts";
import { type Row, type Runtime, rowOf } from "./lib/rows.ts";
import { startServing } from "./lib/serving.ts";
import type { Sizes } from "./lib/sizes.ts";
import { type BenchTrust, startTrust } from "./lib/trust.ts";
import type { NeighbourJob } from "./neighbour-load.ts";

/** Turns of quiet and noise, so that what else the machine does falls on both. */
const ROUNDS = 2;
const REQUEST_EVERY_MS = 2;
/** The others are there before the first request. */
const BEGUN_MS = 200;
/** So many addresses that at 50 dials a second none of them is refused five times in ten seconds. */
const ADDRESSES = 150;

/**
 * Others, by the row that is measured beside them: from one address as fast as one machine dials, of which the throttle
 * leaves few, and as many as good ones from so many addresses that it leaves all.
 */
const OTHERS: readonly { name: string; everyMs: number; addresses: number; of: "leaves" | "hostile" }[] = [
  { name: "neighbour dials", everyMs: 20, addresses: 1, of: "leaves" },
  { name: "neighbour", everyMs: 2, addresses: 1, of: "hostile" },
  { name: "neighbour spread", everyMs: 20, addresses: ADDRESSES, of: "hostile" },
];

/** Addresses of this machine that nobody has been refused at. */
class Addresses {
  #next = 2;

  take(count: number): string[] {
    return Array.from({ length: count }, () => `127.0.${this.#next >> 8}.${this.#next++ & 255}`);
  }
}

/** Measures the rows `neighbour …`: a request on a kept connection, alone, and beside callers of each kind. */
export async function measureNeighbour(
  runtimes: readonly Runtime[],
  { sizes, folder, say }: { sizes: Sizes; folder: string; say: (line: string) => void },
): Promise<{ rows: Row[]; faults: string[] }> {
  const trust = await startTrust(1);
  const found = { rows: [] as Row[], faults: [] as string[] };
  try {
    for (const runtime of runtimes) {
      say(`measuring a caller beside hostile ones on ${runtime}`);
      await measureOn(runtime, { trust, folder, requests: Math.ceil(sizes.neighbour / ROUNDS), found });
    }
    return found;
  } finally {
    await trust.stop();
  }
}

interface Measurement {
  readonly trust: BenchTrust;
  readonly folder: string;
  readonly requests: number;
  readonly found: { readonly rows: Row[]; readonly faults: string[] };
}

async function measureOn(runtime: Runtime, { trust, folder, requests, found }: Measurement): Promise<void> {
  const out = join(folder, "neighbour.json");
  const told = (name: string, job: NeighbourJob): [string, string[]] => {
    const path = join(folder, `neighbour-${name}.json`);
    writeFileSync(path, JSON.stringify(job), { mode: 0o600 });
    return commandOf("node", "bench/neighbour-load.ts", [path]);
  };
  const env = { SPIFFE_ENDPOINT_SOCKET: trust.endpoint };
  const server = await startServing(commandOf(runtime, "bench/tls-server.ts", ["guarded"]), env);
  try {
    const port = server.ports[0]!;
    const measure = { out, requests, warmup: Math.ceil(requests / 5) };
    const caller = { port, from: ["127.0.0.1"], everyMs: REQUEST_EVERY_MS, leaves: trust.leaves, measure };
    const times = async (): Promise<number[]> => {
      const [command, args] = told("caller", caller);
      const ended = await run(command, args, { timeoutMs: 120_000 });
      if (ended.code !== 0) throw new Error(`the caller on ${runtime} ended with ${ended.code}:\n${ended.output}`);
      return JSON.parse(readFileSync(out, "utf8")) as number[];
    };
    const addresses = new Addresses();
    const quiet: number[] = [];
    const beside = new Map(OTHERS.map(({ name }) => [name, [] as number[]]));
    for (let round = 0; round < ROUNDS; round++) {
      quiet.push(...(await times()));
      for (const { name, everyMs, addresses: count, of } of OTHERS) {
        const from = addresses.take(count);
        const others = await startServing(told("others", { port, from, everyMs, leaves: trust[of] }));
        try {
          await wait(BEGUN_MS);
          beside.get(name)!.push(...(await times()));
        } finally {
          const said = await others.stop();
          const [, refused, answered] = /^REFUSED (\d+) ANSWERED (\d+)$/m.exec(said) ?? [];
          const [none, some] = of === "hostile" ? [answered, refused] : [refused, answered];
          if (none !== "0" || !(Number(some) > 0)) {
            found.faults.push(`gateway ${name} ${runtime}: others were ${said.trim().split("\n").at(-1)}`);
          }
        }
      }
    }
    const head = { subject: "gateway", stack: "spiffe-edge", runtime } as const;
    found.rows.push(rowOf({ ...head, name: "neighbour quiet" }, quiet));
    for (const [name, all] of beside) found.rows.push(rowOf({ ...head, name }, all));
  } finally {
    await server.stop();
  }
}
