/** Starts programs for the scripts: output kept, a deadline, and no process left behind. */
import { spawn } from "node:child_process";
import { constants } from "node:os";
import { fileURLToPath } from "node:url";

/** The checkout, without a trailing slash. */
export const root: string = fileURLToPath(new URL("../../", import.meta.url)).replace(/\/$/, "");

/** Path of a program that a dependency brings. */
export function bin(name: string): string {
  return `${root}/node_modules/.bin/${name}`;
}

export interface RunOptions {
  cwd?: string;
  /** Added to the environment; `undefined` removes a variable. */
  env?: Readonly<Record<string, string | undefined>>;
  timeoutMs?: number;
  /** Show the output while it comes, besides keeping it. */
  live?: boolean;
  /** Written to standard input. */
  input?: string;
}

export interface RunResult {
  /** Exit code; 124 after the deadline, 127 when the program could not be started, 128 + the signal that ended it. */
  code: number;
  stdout: string;
  /** Standard output and error in the order in which they came. */
  output: string;
  seconds: number;
}

const groups = new Set<number>();

function endGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // The group has ended already.
  }
}

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    for (const pid of groups) endGroup(pid);
    process.exit(signal === "SIGINT" ? 130 : 143);
  });
}

/** Runs a program to its end. Never throws: what went wrong is in the result. */
export function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const env: Record<string, string | undefined> = { ...process.env, NO_COLOR: "1", FORCE_COLOR: undefined };
  Object.assign(env, options.env);
  const started = performance.now();
  return new Promise((resolve) => {
    // Its own process group, so that what it started ends with it.
    const child = spawn(command, args, { cwd: options.cwd ?? root, env, detached: true, stdio: "pipe" });
    let stdout = "";
    let output = "";
    let late = false;
    const { pid } = child;
    if (pid !== undefined) groups.add(pid);
    const timer = setTimeout(() => {
      late = true;
      if (pid !== undefined) endGroup(pid);
    }, options.timeoutMs ?? 600_000);
    const take = (text: string, isOut: boolean) => {
      if (isOut) stdout += text;
      output += text;
      if (options.live === true) process.stderr.write(text);
    };
    child.stdout.setEncoding("utf8").on("data", (text: string) => take(text, true));
    child.stderr.setEncoding("utf8").on("data", (text: string) => take(text, false));
    const end = (code: number) => {
      clearTimeout(timer);
      if (pid !== undefined) {
        groups.delete(pid);
        endGroup(pid);
      }
      if (late) output += `\n${command} was ended after ${(options.timeoutMs ?? 600_000) / 1000} s\n`;
      resolve({ code: late ? 124 : code, stdout, output, seconds: (performance.now() - started) / 1000 });
    };
    child.once("error", (error) => {
      output += `${error.message}\n`;
      end(127);
    });
    child.once("exit", () => {
      // What the program left behind in its group would keep the pipes open.
      if (pid !== undefined) endGroup(pid);
    });
    child.once("close", (code, signal) => end(code ?? 128 + (constants.signals[signal ?? "SIGHUP"] ?? 0)));
    child.stdin.on("error", () => {});
    child.stdin.end(options.input ?? "");
  });
}

/** Runs tasks with at most `width` at a time; results keep the order of the tasks. */
export async function inParallel<T>(width: number, tasks: readonly (() => Promise<T>)[]): Promise<T[]> {
  const results: T[] = [];
  let next = 0;
  const worker = async () => {
    while (next < tasks.length) {
      const index = next++;
      results[index] = await tasks[index]!();
    }
  };
  await Promise.all(Array.from({ length: Math.min(width, tasks.length) }, worker));
  return results;
}
