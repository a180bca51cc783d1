/**
 * One fuzzing process: `fuzz-crypto.ts SEED FIRST COUNT [MODULE]` prints one JSON object and ends with 1 where a verdict is wrong.
 *
 * With MODULE, a WebAssembly file, only that module is tried, against the verdicts by which the cases were made.
 */
import { readFileSync } from "node:fs";
import process from "node:process";
import { tryCases } from "../src/crypto/wasm/differential.testing.ts";

const [seed, first, count, path] = process.argv.slice(2);
const { WebAssembly } = globalThis as unknown as { WebAssembly: { Module: new (octets: Uint8Array) => object } };
const result = await tryCases({
  seed: Number(seed),
  first: Number(first),
  count: Number(count),
  ...(path !== undefined && {
    module: new WebAssembly.Module(new Uint8Array(readFileSync(path))),
    without: ["native", "webcrypto"] as const,
  }),
});
console.log(JSON.stringify(result));
process.exit(result.faults.length === 0 ? 0 : 1);
