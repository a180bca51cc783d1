/**
 * Proves that the tests bite (G-1): takes out one control after another and requires on each runtime that a test fails by an
 * assertion. A hang or another error is no proof: it may come of anything.
 *
 *     npm run test:teeth
 *     npm run test:teeth -- --control policy-default-deny --runtime node
 *
 * Without `--control` all of them; the last line counts. Works on copies of the tree. What is left in must pass: each test file
 * runs once with nothing taken out.
 */
import { rmSync } from "node:fs";
import { cp, mkdtemp, readFile, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { parseArgs } from "node:util";
import { type Control, replaceOnce } from "./lib/control-row.ts";
import { CONTROLS } from "./lib/controls.ts";
import { inParallel, root } from "./lib/run.ts";
import { RUNTIMES, type RuntimeName, runTests, type TestRun } from "./lib/runtimes.ts";

/** Copied; everything else of the checkout plays no part in unit tests. */
const PARTS = ["mod.ts", "package.json", "deno.json", "tsconfig.json", "src", "test", "scripts", "proto"];
const WIDTH = 2;

interface Job {
  /** Absent: nothing is taken out. */
  control?: Control;
  runtime: RuntimeName;
  tests: readonly string[];
}

/** Titles of the tests of a file that pass while everything is in place, by runtime and file. */
type Titles = Map<string, ReadonlySet<string>>;

const placeOf = (runtime: RuntimeName, file: string): string => `${runtime} ${file}`;

async function copyTree(): Promise<string> {
  const tree = await mkdtemp(`${tmpdir()}/spiffe-edge-teeth-`);
  for (const part of PARTS) await cp(`${root}/${part}`, `${tree}/${part}`, { recursive: true });
  await symlink(`${root}/node_modules`, `${tree}/node_modules`);
  return tree;
}

/** Takes the control out; gives the way back. */
async function patch(tree: string, { patches }: Control): Promise<() => Promise<void>> {
  const before = new Map<string, string>();
  for (const { file, find, replace } of patches) {
    const path = `${tree}/${file}`;
    const text = await readFile(path, "utf8");
    if (!before.has(path)) before.set(path, text);
    await writeFile(path, replaceOnce(text, file, find, replace));
  }
  return async () => {
    for (const [path, text] of before) await writeFile(path, text);
  };
}

/** Why a run does not count as it should; `undefined` when it does. */
function complaint(run: TestRun, { control, runtime, tests }: Job, titles: Titles): string | undefined {
  if (control === undefined) return run.failed === 0 && run.passed > 0 ? undefined : `tests fail:\n${run.output}`;
  // A copy that does not even load would fail as well, but by no known title.
  const known = run.leaves.filter(
    ({ name, status }) => status === "failed" && tests.some((file) => titles.get(placeOf(runtime, file))?.has(name)),
  );
  if (known.some(({ detail }) => detail.includes("AssertionError"))) return undefined;
  const what = run.timedOut ? "a test hangs" : known.length > 0 ? "no assertion notices" : "no test notices";
  return `${what}:\n${run.output}`;
}

async function runJob(tree: string, job: Job, titles: Titles): Promise<boolean> {
  const { control, runtime, tests } = job;
  const restore = control === undefined ? undefined : await patch(tree, control);
  try {
    const junit = `${tree}/tmp/${runtime}.xml`;
    const limits = { junit, cwd: tree, testTimeoutMs: 60_000, timeoutMs: 300_000 };
    let run = await runTests(runtime, tests, { ...limits, endsAtOnce: control !== undefined });
    let trouble = complaint(run, job, titles);
    if (control !== undefined && trouble !== undefined && !run.timedOut) {
      // a process that is made to end at once may lose the last that it says
      run = await runTests(runtime, tests, limits);
      trouble = complaint(run, job, titles);
    }
    if (control === undefined && trouble === undefined)
      for (const file of tests) titles.set(placeOf(runtime, file), new Set(run.leaves.map((leaf) => leaf.name)));
    const name = control?.name ?? `(nothing) ${tests.join(" ")}`;
    const found = run.timedOut ? "a test hangs" : `${run.failed} of ${run.failed + run.passed} fail`;
    const line = `${name.padEnd(24)} ${runtime.padEnd(5)} ${found}, ${run.seconds.toFixed(1)} s`;
    console.log(trouble === undefined ? `✓ ${line}` : `✗ ${line}: ${trouble}`);
    return trouble === undefined;
  } finally {
    await restore?.();
  }
}

async function main(): Promise<number> {
  const text = { type: "string", multiple: true } as const;
  const { values } = parseArgs({ options: { control: text, runtime: text } });
  const unknown =
    values.control?.find((name) => !CONTROLS.some((control) => control.name === name)) ??
    values.runtime?.find((name) => !RUNTIMES.includes(name as RuntimeName));
  if (unknown !== undefined)
    throw new Error(`${unknown} is not known; controls: ${CONTROLS.map(({ name }) => name).join(", ")}`);
  const controls = CONTROLS.filter(({ name }) => values.control?.includes(name) ?? true);
  const runtimes = RUNTIMES.filter((runtime) => values.runtime?.includes(runtime) ?? true);

  const trees = await Promise.all(Array.from({ length: WIDTH }, copyTree));
  process.on("exit", () => {
    for (const tree of trees) rmSync(tree, { recursive: true, force: true });
  });
  const free = [...trees];
  const titles: Titles = new Map();
  const runAll = (jobs: readonly Job[]) =>
    inParallel(
      WIDTH,
      jobs.map((job) => async () => {
        const tree = free.pop()!;
        try {
          return await runJob(tree, job, titles);
        } catch (error) {
          console.log(`✗ ${job.control?.name} ${job.runtime}: ${error instanceof Error ? error.message : error}`);
          return false;
        } finally {
          free.push(tree);
        }
      }),
    );
  const jobs = controls.flatMap((control) =>
    runtimes
      .filter((runtime) => control.runtimes?.includes(runtime) ?? true)
      .map((runtime) => ({ control, runtime, tests: control.tests })),
  );
  const files = new Map(
    jobs.flatMap(({ runtime, tests }) => tests.map((file) => [placeOf(runtime, file), { runtime, tests: [file] }])),
  );
  const whole = await runAll([...files.values()]);
  // Where tests fail by themselves, nothing can be learnt from failing tests.
  const taken = await runAll(
    jobs.filter(({ runtime, tests }) => tests.every((file) => titles.has(placeOf(runtime, file)))),
  );
  const results = [...whole, ...taken];
  const failed = results.filter((good) => !good).length;
  console.log(`${results.length - failed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 2;
}
