/**
 * Checks without running the product: types, format and lint, generated code, and the rules of lib/rules.ts.
 *
 * Prints one line per violation and exits 1 when there is one. `node scripts/check.ts NAME…` runs the named checks only.
 */
import { readSources } from "./lib/imports.ts";
import { RULES, type Sources } from "./lib/rules.ts";
import { bin, root, run } from "./lib/run.ts";

export interface CheckResult {
  passed: number;
  failed: number;
  /** One line per violation. */
  violations: string[];
  seconds: number;
}

interface Program {
  name: string;
  about: string;
  command: string;
  args: readonly string[];
}

const PROGRAMS: readonly Program[] = [
  { name: "types", about: "the types check", command: bin("node"), args: [bin("tsc"), "-p", ".", "--pretty", "false"] },
  {
    name: "style",
    about: "format and lint",
    command: bin("node"),
    args: [bin("biome"), "ci", "--error-on-warnings", "--reporter=github", "."],
  },
  {
    name: "generated",
    about: "generated code is what proto gives",
    command: bin("node"),
    args: ["scripts/generate.ts", "--check"],
  },
  {
    name: "wasm",
    about: "the WebAssembly module is what wasm/ gives, without imports",
    command: bin("node"),
    args: ["scripts/wasm-build.ts", "--check"],
  },
  {
    name: "bounds",
    about: "no limb of the WebAssembly module leaves its 64 bits, whatever the input",
    command: bin("node"),
    args: ["scripts/wasm-bounds.ts"],
  },
];

/** Biome's machine form `::error title=…,file=…,line=…::text` as a plain line. */
function plain(line: string): string {
  const found = /^::\w+ title=([^,]*),file=([^,]*),line=(\d+).*?::(.*)$/.exec(line);
  return found === null ? line : `${found[2]}:${found[3]}: ${found[4]} (${found[1]})`;
}

async function runProgram({ name, command, args }: Program): Promise<string[]> {
  const result = await run(command, args, { timeoutMs: 300_000 });
  if (result.code === 0) return [];
  const lines = result.output.split("\n").filter((line) => line.trim() !== "");
  const told = name === "style" ? lines.filter((line) => /^::(?:error|warning) /.test(line)).map(plain) : lines;
  return told.length > 0 ? told : [`ended with code ${result.code}`, ...lines];
}

function readAll(): Sources {
  const all = readSources(["mod.ts", "src/**/*.ts"]);
  const product = all.filter(({ path }) => !/\.(?:test|testing)\.ts$/.test(path));
  const around = readSources(["test/**/*.ts", "scripts/**/*.ts", "bench/**/*.ts"]);
  return { all, product, byPath: new Map(product.map((file) => [file.path, file])), around };
}

/** Runs all checks, or the named ones. */
export async function check(names: readonly string[] = []): Promise<CheckResult> {
  const started = performance.now();
  const wanted = (name: string) => names.length === 0 || names.includes(name);
  const unknown = names.find((name) => ![...PROGRAMS, ...RULES].some((rule) => rule.name === name));
  if (unknown !== undefined) {
    const known = [...PROGRAMS, ...RULES].map(({ name, about }) => `  ${name.padEnd(16)} ${about}`);
    return { passed: 0, failed: 1, violations: [`There is no check ${unknown}; there are`, ...known], seconds: 0 };
  }

  const programs = PROGRAMS.filter(({ name }) => wanted(name)).map((program) => ({
    name: program.name,
    found: runProgram(program),
  }));
  const results: { name: string; found: string[] }[] = [];
  const rules = RULES.filter(({ name }) => wanted(name));
  if (rules.length > 0) {
    const sources = readAll();
    for (const rule of rules) results.push({ name: rule.name, found: [...rule.check(sources)] });
  }
  for (const { name, found } of programs) results.push({ name, found: await found });

  const violations = results.flatMap(({ name, found }) =>
    found.map((line) => `${name}: ${line.replace(`${root}/`, "")}`),
  );
  const failed = results.filter(({ found }) => found.length > 0).length;
  return { passed: results.length - failed, failed, violations, seconds: (performance.now() - started) / 1000 };
}

if (import.meta.main) {
  const { passed, failed, violations, seconds } = await check(process.argv.slice(2));
  for (const line of violations) console.log(line);
  console.log(`${passed + failed} checks, ${failed} failed, ${violations.length} violations, ${seconds.toFixed(1)} s`);
  if (failed > 0) process.exitCode = 1;
}
