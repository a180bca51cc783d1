/**
 * One fuzzing process: `fuzz-crypto.ts SEED FIRST COUNT [MODULE]` prints one JSON object and ends with 1 where a verdict is wrong.
 *
 * One case in five is of RSA. With MODULE, a WebAssembly file, only that module is tried, against the verdicts by which the
 * cases were made.
 */
import { readFileSync } from "node:fs";
import process from "node:process";
import { tryCases } from "../src/crypto/wasm/differential.testing.ts";
import { tryRsaCases } from "../src/crypto/wasm/rsa-differential.testing.ts";

const [seed, first, count, path] = process.argv.slice(2);
const { WebAssembly } = globalThis as unknown as { WebAssembly: { Module: new (octets: Uint8Array) => object } };
const more = path !== undefined && {
  module: new WebAssembly.Module(new Uint8Array(readFileSync(path))),
  without: ["native", "webcrypto"] as const,
};
const part = (of: number) => Math.floor(of / 5);
const rest = (of: number) => of - part(of);
const numbers = [Number(first), Number(count)] as const;
const curves = await tryCases({ seed: Number(seed), first: rest(numbers[0]), count: rest(numbers[1]), ...more });
const rsa = await tryRsaCases({ seed: Number(seed), first: part(numbers[0]), count: part(numbers[1]), ...more });
const result = {
  counts: { ...curves.counts, ...rsa.counts },
  valid: curves.valid + rsa.valid,
  faults: [...curves.faults, ...rsa.faults],
};
console.log(JSON.stringify(result));
process.exit(result.faults.length === 0 ? 0 : 1);
