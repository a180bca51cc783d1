/**
 * The differential and mutation tests on the runtime that runs this file; `npm run fuzz` starts it.
 *
 *     node --conditions=spiffe-edge-source test/fuzz/run.ts --seed 1 --mutants 200000 --chains 2000 --tokens 6000
 *     … --seed 1 --case chain/17        one case again
 */
import { parseArgs } from "node:util";
import { type DifferentialResult, differChains, differTokens, type Finding } from "./differential.ts";
import { ACCEPTED_HERE, REFUSED_HERE } from "./exceptions.ts";
import { fuzzAll, fuzzTarget, type MutationResult } from "./mutation.ts";
import { TARGETS } from "./targets/index.ts";

const seconds = (since: number) => `${((performance.now() - since) / 1_000).toFixed(1)} s`;

/** Findings of the same kind are shown a few times, with their inputs, and then counted. */
const SHOWN = 3;

function show(findings: readonly Finding[], seed: number): void {
  const kinds = Map.groupBy(findings, ({ label, message }) => label.replace(/\d+$/, "") + message.split("\n")[0]);
  for (const same of kinds.values()) {
    for (const { label, message, input } of same.slice(0, SHOWN)) {
      console.log(`✗ --seed ${seed} --case ${label}  ${message}`);
      for (const part of input) console.log(`    ${part.length > 2_000 ? `${part.slice(0, 2_000)}…` : part}`);
    }
    if (same.length > SHOWN) console.log(`  … and ${same.length - SHOWN} more of this kind`);
  }
}

function differential(
  name: string,
  { cases, valid, accepted, missing, listed }: DifferentialResult,
  since: number,
): void {
  const differences = [...listed.values()].reduce((sum, count) => sum + count, 0);
  const without = missing.length === 0 ? "" : `; without an oracle: ${missing.join(", ")}`;
  const counts = `${cases} cases, ${valid} valid, ${accepted} accepted, ${differences} listed differences`;
  console.log(`${name.padEnd(26)} ${counts}, ${seconds(since)}${without}`);
}

function mutation(name: string, { mutants, calls, accepted, slowest }: MutationResult): void {
  const counts = `${mutants} mutants, ${calls} calls, ${accepted} accepted`;
  console.log(`${name.padEnd(26)} ${counts}, slowest ${slowest.toFixed(1)} ms`);
}

/** Runs one case again and shows all of it. */
async function again(label: string, seed: number): Promise<readonly Finding[]> {
  const [kind = "", number = ""] = label.split("/");
  const index = Number(number);
  if (kind === "chains") return (await differChains(seed, 1, index)).findings;
  if (kind === "tokens") return (await differTokens(seed, 1, index)).findings;
  const target = TARGETS.find(({ name }) => name === kind);
  if (target === undefined) throw new Error(`there is no case ${label}`);
  return (await fuzzTarget(target, seed, 1, index)).findings;
}

async function main(): Promise<number> {
  const text = { type: "string" } as const;
  const { values } = parseArgs({ options: { seed: text, mutants: text, chains: text, tokens: text, case: text } });
  const seed = Number(values.seed ?? 1);
  const count = (value: string | undefined, usual: number) => (value === undefined ? usual : Number(value));
  if (values.case !== undefined) {
    const findings = await again(values.case, seed);
    show(findings, seed);
    console.log(`${values.case} of seed ${seed}: ${findings.length} findings`);
    return findings.length;
  }
  const started = performance.now();
  let since = started;
  const chains = await differChains(seed, count(values.chains, 2_000));
  differential("chains", chains, since);
  since = performance.now();
  const tokens = await differTokens(seed, count(values.tokens, 6_000));
  differential("tokens", tokens, since);
  const mutants = await fuzzAll(TARGETS, seed, count(values.mutants, 200_000), ({ name }, result) =>
    mutation(name, result),
  );
  const findings = [...chains.findings, ...tokens.findings, ...mutants.findings];
  show(findings, seed);
  const met = new Set([...chains.listed.keys(), ...tokens.listed.keys()]).size;
  const lists = `${ACCEPTED_HERE.length} + ${REFUSED_HERE.length} exceptions, ${met} met`;
  const done = `${chains.cases + tokens.cases} differential cases, ${mutants.mutants} mutants`;
  console.log(`seed ${seed}: ${done}, ${lists}, ${findings.length} findings, ${seconds(started)}`);
  return findings.length;
}

process.exitCode = (await main()) > 0 ? 1 : 0;
