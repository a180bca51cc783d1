/** `jwt-native`: an app for callers with tokens on the runtime's fastest server, beside that server bare. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "../scripts/lib/run.ts";
import { commandOf } from "./lib/command.ts";
import { makeTokens } from "./lib/fixtures.ts";
import { type Row, type Runtime, rowOf, type Stack } from "./lib/rows.ts";
import { type Serving, startServing, WARM_TURNS } from "./lib/serving.ts";
import type { Sizes } from "./lib/sizes.ts";
import type { LoadResult } from "./load.ts";

const CONNECTIONS = 32;
const IDENTITIES = 100;
/** Each way of serving is measured this often, in turn. */
const ROUNDS = 3;

const WAYS: readonly { how: string; name: string; stack: Stack; judges: boolean }[] = [
  { how: "bare", name: "jwt-native", stack: "native", judges: false },
  { how: "remembered", name: "jwt-native", stack: "spiffe-edge", judges: true },
  { how: "anew", name: "jwt-native anew", stack: "spiffe-edge", judges: true },
];

interface Under {
  readonly sizes: Sizes;
  readonly goPeers: string | undefined;
  readonly folder: string;
  readonly say: (line: string) => void;
}

/** Measures wall time per request; the load comes from Go, as a client on Node takes longer than the servers. */
export async function measureTokens(
  runtimes: readonly Runtime[],
  under: Under,
): Promise<{ rows: Row[]; faults: string[] }> {
  const { sizes, goPeers, folder, say } = under;
  const measured: { rows: Row[]; faults: string[] } = { rows: [], faults: [] };
  if (goPeers === undefined) return measured;
  const count = sizes.inputs * 10;
  const fixtures = makeTokens(count, IDENTITIES, Math.floor(Date.now() / 1000));
  const file = join(folder, "tokens.json");
  writeFileSync(file, JSON.stringify(fixtures), { mode: 0o600 });
  for (const runtime of runtimes) {
    say(`measuring jwt-native on ${runtime}`);
    const servers: Serving[] = [];
    const samples = new Map<string, number[]>();
    try {
      for (const { how } of WAYS)
        servers.push(await startServing(commandOf(runtime, "bench/token-server.ts", [file, how])));
      for (let round = -WARM_TURNS; round < ROUNDS; round++) {
        for (const [index, { how, judges }] of WAYS.entries()) {
          const job = {
            port: servers[index]!.ports[0]!,
            path: "/orders",
            tokens: fixtures.tokens,
            connections: CONNECTIONS,
          };
          const result = await generate(goPeers, folder, { ...job, requests: count, warmup: count });
          if (round >= 0) samples.set(how, [...(samples.get(how) ?? []), ...result.slices]);
          const bad = judges ? count / 100 : 0;
          if (result.statuses[200] !== count - bad || (result.statuses[401] ?? 0) !== bad) {
            const seen = JSON.stringify(result.statuses);
            measured.faults.push(
              `gateway jwt-native ${how} ${runtime}: expected ${bad} of ${count} × 401, got ${seen}`,
            );
          }
        }
      }
    } finally {
      for (const server of servers) await server.stop();
    }
    for (const { how, name, stack } of WAYS)
      measured.rows.push(rowOf({ subject: "gateway", name, stack, runtime }, samples.get(how)!));
  }
  return measured;
}

async function generate(goPeers: string, folder: string, job: object): Promise<LoadResult> {
  const file = join(folder, "bearers.json");
  const out = join(folder, "bearers-result.json");
  writeFileSync(file, JSON.stringify({ ...job, out }), { mode: 0o600 });
  const ended = await run(goPeers, ["bearers", file], { timeoutMs: 300_000 });
  if (ended.code !== 0) throw new Error(`peers bearers ended with ${ended.code}:\n${ended.output}`);
  return JSON.parse(readFileSync(out, "utf8")) as LoadResult;
}
