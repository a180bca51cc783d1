/**
 * `createFetch` beside the runtime's own fetch: `fetch.ts MTLS-PORT PLAIN-PORT PEER REQUESTS WARMUP OUT`, identity by
 * `SPIFFE_ENDPOINT_SOCKET`. One request at a time, in turns of both; writes `{ own, native }`, microseconds.
 */
import { writeFileSync } from "node:fs";
import process from "node:process";
import { createFetch } from "../src/tls/index.ts";
import { X509Source } from "../src/workload/index.ts";

const TURN = 100;
const [mtls = "", plain = "", peer = "", requests = "", warmup = "", out = ""] = process.argv.slice(2);
const source = await X509Source.open();
const call = createFetch({ x509: source }, { peer });
const micros = (): number => Number(process.hrtime.bigint()) / 1000;

const ways = {
  own: () => call(`https://127.0.0.1:${mtls}/`),
  native: () => fetch(`https://localhost:${plain}/`),
};
const times = { own: [] as number[], native: [] as number[] };

async function timed(way: keyof typeof ways, count: number, into: number[]): Promise<void> {
  for (let i = 0; i < count; i++) {
    const start = micros();
    const response = await ways[way]();
    const body = await response.text();
    into.push(micros() - start);
    if (response.status !== 200 || body === "") throw new Error(`${way}: status ${response.status}, "${body}"`);
  }
}

for (const way of ["own", "native"] as const) await timed(way, Number(warmup), []);
while (times.native.length < Number(requests)) {
  for (const way of ["own", "native"] as const) await timed(way, TURN, times[way]);
}
writeFileSync(out, JSON.stringify(times));
process.exit(0);
