/** The stages of `npm test`. Each gives counts, and the text to show when something failed. */
import { existsSync, globSync, readFileSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { check } from "../check.ts";
import { parseJunit } from "./junit.ts";
import { packed } from "./packed.ts";
import { bin, inParallel, root, run } from "./run.ts";
import { CONDITION, RUNTIMES, type RuntimeName, runTests } from "./runtimes.ts";
import type { Filter, StageResult } from "./stage-result.ts";

export interface Stage {
  name: string;
  about: string;
  run(filter: Filter): Promise<StageResult[]>;
}

/** Where JUnit files and logs of the last run stay. */
export const RESULTS: string = `${root}/tmp/test`;

/** The test that proves which runtime a run is on. */
const RUNTIME_TEST = "test/runtime.test.ts";
const RUNTIME_TITLE = "runs on the runtime that the suite was started for";

function files(patterns: readonly string[], only: readonly string[]): string[] {
  const found = patterns.flatMap((pattern) => globSync(pattern, { cwd: root }));
  return found.filter((path) => only.length === 0 || only.some((start) => path.startsWith(start))).sort();
}

async function suite(
  name: string,
  runtime: RuntimeName,
  paths: readonly string[],
  timeoutMs: number,
): Promise<StageResult> {
  const junit = `${RESULTS}/${name}-${runtime}.xml`;
  const result = await runTests(runtime, [...new Set([RUNTIME_TEST, ...paths])], { junit, timeoutMs });
  let { passed, failed, output } = result;
  if (!result.leaves.some((leaf) => leaf.name === RUNTIME_TITLE && leaf.status === "passed")) {
    failed += 1;
    output += `\nNothing proves that this run was on ${runtime}`;
  }
  const names = result.leaves.filter((leaf) => leaf.status === "failed").map((leaf) => `✗ ${leaf.name}`);
  return {
    name: `${name} on ${runtime}`,
    passed,
    failed,
    skipped: result.skipped,
    seconds: result.seconds,
    output: `${output}\n\n${names.join("\n")}\nAll of it: ${junit.replace(/\.xml$/, ".log")}`,
    skips: result.skips,
  };
}

function suites(
  name: string,
  patterns: readonly string[],
  timeoutMs: number,
): (filter: Filter) => Promise<StageResult[]> {
  return async ({ runtimes, only }) => {
    const paths = files(patterns, only);
    if (paths.length === 0) throw new Error(`No test file matches ${only.join(", ")}`);
    const wanted = runtimes.length === 0 ? RUNTIMES : runtimes;
    const width = Math.min(2, availableParallelism());
    const results = await inParallel(
      width,
      wanted.map((runtime) => () => suite(name, runtime, paths, timeoutMs)),
    );
    // A run that broke off has seen less for that reason alone.
    return results.some(({ failed }) => failed > 0) ? results : [...results, ...sameTests(name, wanted)];
  };
}

/** One suite for all: the runtimes that ran must have seen the same tests, by title. */
function sameTests(name: string, runtimes: readonly RuntimeName[]): StageResult[] {
  const titles = runtimes.map((runtime) => {
    const file = `${RESULTS}/${name}-${runtime}.xml`;
    const leaves = existsSync(file) ? parseJunit(readFileSync(file, "utf8"), runtime) : [];
    return new Map(
      Map.groupBy(leaves, (leaf) => leaf.name)
        .entries()
        .map(([title, same]) => [title, same.length]),
    );
  });
  const lines: string[] = [];
  for (const title of new Set(titles.flatMap((map) => [...map.keys()]))) {
    const counts = titles.map((map) => map.get(title) ?? 0);
    if (new Set(counts).size > 1)
      lines.push(`${runtimes.map((runtime, i) => `${runtime} ${counts[i]}×`).join(", ")}: ${title}`);
  }
  if (lines.length === 0) return [];
  const output = `Each test runs on each runtime, or is skipped there by test/support/skip.ts:\n${lines.join("\n")}`;
  return [{ name: `${name} alike`, passed: 0, failed: 1, skipped: 0, seconds: 0, output, skips: [] }];
}

async function checks(): Promise<StageResult[]> {
  const { passed, failed, violations, seconds } = await check();
  return [{ name: "check", passed, failed, skipped: 0, seconds, output: violations.join("\n"), skips: [] }];
}

async function docs({ only }: Filter): Promise<StageResult[]> {
  const paths = files(["mod.ts", "src/**/*.ts"], only).filter(
    (path) =>
      !/^src\/(?:gen|cli)\/|\.test\.ts$/.test(path) && readFileSync(`${root}/${path}`, "utf8").includes("* ```ts"),
  );
  const junit = `${RESULTS}/docs-deno.xml`;
  await mkdir(RESULTS, { recursive: true });
  await rm(junit, { force: true });
  // Code in a folder with a package.json of its own does not find the package by its name.
  const { exports } = JSON.parse(readFileSync(`${root}/deno.json`, "utf8")) as { exports: Record<string, string> };
  const names = Object.entries(exports).map(([path, file]) => [`spiffe-edge${path.slice(1)}`, `${root}/${file}`]);
  await writeFile(`${RESULTS}/docs-imports.json`, JSON.stringify({ imports: Object.fromEntries(names) }));
  const args = [
    "test",
    "--doc",
    `--import-map=${RESULTS}/docs-imports.json`,
    "--parallel",
    "-A",
    "--no-check",
    "--preload=test/support/strict-assert.ts",
    CONDITION,
    `--junit-path=${junit}`,
    ...paths,
  ];
  const result = await run(bin("deno"), args, { env: { SPIFFE_ENDPOINT_SOCKET: undefined }, timeoutMs: 300_000 });
  const leaves = parseJunit(existsSync(junit) ? readFileSync(junit, "utf8") : "", "deno");
  const failed = leaves.filter((leaf) => leaf.status === "failed").length;
  const passed = leaves.filter((leaf) => leaf.status === "passed").length;
  const broken = result.code !== 0 && failed === 0 ? 1 : 0;
  return [
    {
      name: "docstrings",
      passed,
      failed: failed + broken,
      skipped: 0,
      seconds: result.seconds,
      output: result.output,
      skips: [],
    },
  ];
}

async function workerd(): Promise<StageResult[]> {
  // The test drives workerd from outside, so where it runs itself says nothing: once, on Node.
  return [await suite("workerd", "node", files(["test/workerd/*.e2e.ts"], []), 300_000)];
}

export const STAGES: readonly Stage[] = [
  { name: "check", about: "types, style, import rules", run: checks },
  {
    name: "unit",
    about: "the suite on each runtime",
    run: suites("unit", ["src/**/*.test.ts", "test/**/*.test.ts"], 1_200_000),
  },
  { name: "docs", about: "examples in docstrings", run: docs },
  { name: "packed", about: "the package as a user installs it", run: packed },
  { name: "workerd", about: "the portable core in workerd", run: workerd },
  { name: "e2e", about: "a real SPIRE on each runtime", run: suites("e2e", ["test/e2e/*.e2e.ts"], 600_000) },
];
