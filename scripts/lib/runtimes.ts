/** How each runtime runs test files. */
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { dirname } from "node:path";
import { type Leaf, parseJunit } from "./junit.ts";
import { bin, root, run } from "./run.ts";
import { warningsIn } from "./warnings.ts";

export const RUNTIMES = ["bun", "deno", "node"] as const;
export type RuntimeName = (typeof RUNTIMES)[number];

/** The condition under which the package resolves to its sources. */
export const CONDITION = "--conditions=spiffe-edge-source";

/**
 * Command line that runs test files and writes a JUnit file. Paths are relative to the working directory.
 *
 * @param testTimeoutMs limit of a single test; Deno knows none
 * @param endsAtOnce whether what a failed test left open keeps nothing waiting: Node alone would wait for it
 */
function testCommand(
  runtime: RuntimeName,
  files: readonly string[],
  junit: string,
  testTimeoutMs: number,
  endsAtOnce: boolean,
): [string, string[]] {
  switch (runtime) {
    case "bun": {
      const report = ["--reporter=junit", `--reporter-outfile=${junit}`];
      // Without ./ a name would be a pattern.
      return [bin("bun"), ["test", CONDITION, `--timeout=${testTimeoutMs}`, ...report, ...files.map((f) => `./${f}`)]];
    }
    case "deno":
      return [bin("deno"), ["test", "-A", "--no-check", CONDITION, `--junit-path=${junit}`, ...files]];
    case "node": {
      const report = ["--test-reporter=junit", `--test-reporter-destination=${junit}`];
      const show = ["--test-reporter=spec", "--test-reporter-destination=stdout"];
      // by itself it leaves a core alone, which is half of two
      const width = `--test-concurrency=${availableParallelism()}`;
      const limits = [`--test-timeout=${testTimeoutMs}`, ...(endsAtOnce ? ["--test-force-exit"] : [])];
      return [bin("node"), [CONDITION, "--test", width, ...limits, ...report, ...show, ...files]];
    }
  }
}

export interface TestRun {
  leaves: Leaf[];
  passed: number;
  failed: number;
  skipped: number;
  seconds: number;
  /** The run as a whole took too long and was ended. */
  timedOut: boolean;
  /** Standard output and error of the run, without the lines that only say that a test passed. */
  output: string;
  /** The lines by which the helper for skips announces one. */
  skips: string[];
}

/**
 * SIGABRT and SIGSEGV. Deno 2.9.5 frees HTTP/2 streams that its nghttp2 still knows, and dies at a GOAWAY (denoland/deno#36788).
 * No test can do that, this package having no native code, so such a run says nothing and is made once more.
 */
const NATIVE_DEATHS: ReadonlySet<number> = new Set([134, 139]);
/** Files that one process of Deno runs: when it dies, no more of them have to run again. */
const DENO_FILES = 40;

function partsOf(runtime: RuntimeName, files: readonly string[]): (readonly string[])[] {
  if (runtime !== "deno") return [files];
  const count = Math.ceil(files.length / DENO_FILES);
  return Array.from({ length: count }, (_, i) => files.slice(i * DENO_FILES, (i + 1) * DENO_FILES));
}

/** What a developer has in the environment does not reach the tests. */
function environment(runtime: RuntimeName): Readonly<Record<string, string | undefined>> {
  return {
    SPIFFE_ENDPOINT_SOCKET: undefined,
    NODE_OPTIONS: undefined,
    // A run that a test starts is a run of its own.
    NODE_TEST_CONTEXT: undefined,
    SPIFFE_EDGE_TEST_RUNTIME: runtime,
  };
}

const PASSED_LINE = /^\s*(?:\(pass\)|✔|▶|.* \.\.\. ok\b|running \d+ tests? from|.* \.\.\.$)/;

/** Runs test files on one runtime, whose report may be of several parts. A run that ends badly without a failed test counts as one failure. */
export async function runTests(
  runtime: RuntimeName,
  files: readonly string[],
  options: { junit: string; cwd?: string; testTimeoutMs?: number; timeoutMs?: number; endsAtOnce?: boolean },
): Promise<TestRun> {
  const { junit, cwd = root, testTimeoutMs = 120_000, timeoutMs = 900_000, endsAtOnce = false } = options;
  await mkdir(dirname(junit), { recursive: true });
  const end = performance.now() + timeoutMs;
  const result = { code: 0, output: "", seconds: 0 };
  let report = "";
  for (const part of partsOf(runtime, files)) {
    const [command, args] = testCommand(runtime, part, junit, testTimeoutMs, endsAtOnce);
    const once = async () => {
      await rm(junit, { force: true });
      return run(command, args, { cwd, env: environment(runtime), timeoutMs: Math.max(1, end - performance.now()) });
    };
    let ended = await once();
    if (runtime === "deno" && NATIVE_DEATHS.has(ended.code)) {
      const what = `deno died of a signal (code ${ended.code}), as its HTTP/2 library may do: denoland/deno#36788`;
      console.log(`again, ${part.length} files: ${what}`);
      ended = await once();
    }
    result.code ||= ended.code;
    result.output += ended.output;
    result.seconds += ended.seconds;
    report += await readFile(junit, "utf8").catch(() => "");
  }
  await writeFile(junit, report);
  await writeFile(junit.replace(/\.xml$/, ".log"), result.output);
  const leaves = parseJunit(report, runtime);
  const count = (status: Leaf["status"]) => leaves.filter((leaf) => leaf.status === status).length;
  if (result.code !== 0 && count("failed") === 0) {
    const detail = `${runtime} ended with code ${result.code} although no test is recorded as failed`;
    leaves.push({ name: `${runtime} run`, status: "failed", detail });
  }
  for (const warning of warningsIn(result.output, files)) {
    leaves.push({
      name: `${runtime} warns: ${warning.replace(/^\(node:\d+\) /, "")}`,
      status: "failed",
      detail: warning,
    });
  }
  const lines = result.output.split("\n");
  return {
    leaves,
    passed: count("passed"),
    failed: count("failed"),
    skipped: count("skipped"),
    seconds: result.seconds,
    timedOut: result.code === 124,
    output: lines
      .filter((line) => !PASSED_LINE.test(line))
      .join("\n")
      .trim(),
    skips: lines.filter((line) => line.startsWith("skip ")),
  };
}
