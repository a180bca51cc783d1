/**
 * Runs all tests, or what is asked for.
 *
 *     npm test                                    everything
 *     npm test -- --runtime node --only src/id    unit tests whose path begins so, on one runtime
 *     npm test -- --stage docs,packed             single stages
 *
 * Prints one line per part, the output of what failed, and last `N passed, N failed, N skipped`.
 */
import { rm } from "node:fs/promises";
import { parseArgs } from "node:util";
import { RUNTIMES, type RuntimeName } from "./lib/runtimes.ts";
import type { Filter, StageResult } from "./lib/stage-result.ts";
import { RESULTS, STAGES } from "./lib/stages.ts";
import { requirements } from "./requirements.ts";

const USAGE = `usage: npm test -- [--runtime ${RUNTIMES.join("|")}]… [--only PATH]… [--stage STAGE]…
stages:
${STAGES.map(({ name, about }) => `  ${name.padEnd(8)} ${about}`).join("\n")}`;

function list(values: readonly string[] | undefined): string[] {
  return (values ?? []).flatMap((value) => value.split(",")).filter((value) => value !== "" && value !== "all");
}

function options(): { filter: Filter; stages: readonly string[] } {
  const text = { type: "string", multiple: true } as const;
  const { values } = parseArgs({ options: { runtime: text, only: text, stage: text } });
  const runtimes = list(values.runtime);
  const only = list(values.only).map((path) => path.replace(/^\.\//, ""));
  const stages = list(values.stage);
  const unknown =
    runtimes.find((name) => !RUNTIMES.includes(name as RuntimeName)) ??
    stages.find((name) => !STAGES.some((stage) => stage.name === name));
  if (unknown !== undefined) throw new Error(`${unknown} is not known`);
  // A path means test files; the other stages have none.
  if (only.length > 0 && stages.length === 0)
    stages.push(only.every((path) => path.startsWith("test/e2e")) ? "e2e" : "unit");
  return { filter: { runtimes: runtimes as RuntimeName[], only }, stages };
}

function report(result: StageResult): void {
  const { name, passed, failed, skipped, seconds, output, skips } = result;
  for (const line of skips) console.log(line);
  const counts = `${passed} passed${failed > 0 ? `, ${failed} FAILED` : ""}${skipped > 0 ? `, ${skipped} skipped` : ""}`;
  console.log(`${failed > 0 ? "✗" : "✓"} ${name.padEnd(28)} ${counts.padEnd(26)} ${seconds.toFixed(1)} s`);
  if (failed > 0) console.log(`${output.trim().replace(/^/gm, "    ")}\n`);
}

async function main(): Promise<number> {
  const { filter, stages } = options();
  const total = { passed: 0, failed: 0, skipped: 0 };
  const count = (result: StageResult) => {
    report(result);
    total.passed += result.passed;
    total.failed += result.failed;
    total.skipped += result.skipped;
  };
  await rm(RESULTS, { recursive: true, force: true });
  for (const stage of STAGES) {
    if (stages.length > 0 && !stages.includes(stage.name)) continue;
    const results = await stage.run(filter).catch((error: unknown): StageResult[] => {
      const output = error instanceof Error ? (error.stack ?? error.message) : String(error);
      return [{ name: stage.name, passed: 0, failed: 1, skipped: 0, seconds: 0, output, skips: [] }];
    });
    if (results.reduce((sum, { passed, failed, skipped }) => sum + passed + failed + skipped, 0) === 0) {
      results.push({
        name: stage.name,
        passed: 0,
        failed: 1,
        skipped: 0,
        seconds: 0,
        output: "This stage ran no test",
        skips: [],
      });
    }
    for (const result of results) count(result);
  }
  // Only a run of everything tells what is proven.
  if (stages.length === 0 && filter.only.length === 0 && filter.runtimes.length === 0) count(requirements());
  console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
  return total.failed > 0 || total.passed === 0 ? 1 : 0;
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(`${error instanceof Error ? error.message : error}\n${USAGE}`);
  process.exitCode = 2;
}
