/** Starts programs of this package in processes of their own, on the runtime that runs the test. */
import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { runtime } from "../../src/runtime/detect.ts";

/** The checkout, with a trailing slash. */
export const root: string = fileURLToPath(new URL("../../", import.meta.url));

const CONDITION = "--conditions=spiffe-edge-source";

/** Node of the system, which `npm start` runs on; the one of node_modules where the test was started without npm. */
export const launcherNode: string = process.env.npm_node_execpath ?? `${root}node_modules/.bin/node`;

/** The flags with which a program of this runtime can collect garbage on demand. */
const COLLECTING = { bun: [], deno: ["--v8-flags=--expose-gc"], node: ["--expose-gc"] };

/** The command line that runs a TypeScript file on this runtime. */
export function onThisRuntime(
  file: string,
  args: readonly string[] = [],
  options: { readonly collecting?: boolean } = {},
): [string, string[]] {
  const flags = runtime.name === "deno" ? ["run", "-A", "--no-check", CONDITION] : [CONDITION];
  if (options.collecting === true) flags.push(...COLLECTING[runtime.name as keyof typeof COLLECTING]);
  // The program itself: a wrapper in between would keep signals from it.
  return [process.execPath, [...flags, `${root}${file}`, ...args]];
}

export interface ProgramOptions {
  env?: Readonly<Record<string, string | undefined>>;
  cwd?: string;
  input?: string;
  uid?: number;
}

export interface Ended {
  code: number | null;
  signal: string | null;
  stdout: string;
  stderr: string;
}

/** A running program whose output is watched. */
export class Program {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  stdout = "";
  stderr = "";
  #onOutput: () => void = () => {};

  constructor([command, args]: readonly [string, readonly string[]], options: ProgramOptions = {}) {
    const env: Record<string, string> = {};
    const wanted = { ...process.env, SPIFFE_ENDPOINT_SOCKET: undefined, NO_COLOR: "1", ...options.env };
    for (const [name, value] of Object.entries(wanted)) if (value !== undefined) env[name] = value;
    this.child = spawn(command, [...args], {
      cwd: options.cwd ?? root,
      env,
      stdio: "pipe",
      ...(options.uid !== undefined && { uid: options.uid, gid: options.uid }),
    });
    const take = (name: "stdout" | "stderr") => (text: string) => {
      this[name] += text;
      this.#onOutput();
    };
    this.child.stdout?.setEncoding("utf8").on("data", take("stdout"));
    this.child.stderr?.setEncoding("utf8").on("data", take("stderr"));
    this.child.stdin?.on("error", () => {});
    this.child.stdin?.end(options.input ?? "");
    this.ended = new Promise((resolve, reject) => {
      this.child.once("error", reject);
      this.child.once("close", (code, signal) => {
        resolve({ code, signal, stdout: this.stdout, stderr: this.stderr });
        this.#onOutput();
      });
    });
  }

  /** Resolves with the match once stdout holds it; rejects when the program ends before, or after the time. */
  async until(pattern: RegExp, timeoutMs = 60_000): Promise<RegExpExecArray> {
    let over: string | undefined;
    void this.ended.then(() => {
      over ??= "it ended";
    });
    const timer = setTimeout(() => {
      over ??= `${timeoutMs / 1000} s passed`;
      this.#onOutput();
    }, timeoutMs);
    try {
      for (;;) {
        const found = pattern.exec(this.stdout);
        if (found !== null) return found;
        if (over !== undefined) throw new Error(`${over} without ${pattern}:\n${this.stdout}\n${this.stderr}`);
        await new Promise<void>((resolve) => {
          this.#onOutput = resolve;
        });
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /** Sends a signal and waits for the end. */
  async end(signal: NodeJS.Signals = "SIGTERM"): Promise<Ended> {
    const hard = setTimeout(() => this.child.kill("SIGKILL"), 60_000);
    // Deno reports a child that it signalled itself as killed by the signal, whatever code it ended with.
    process.kill(this.child.pid!, signal);
    const ended = await this.ended;
    clearTimeout(hard);
    return ended;
  }
}

/** Runs a program to its end. */
export function runProgram(command: readonly [string, readonly string[]], options?: ProgramOptions): Promise<Ended> {
  return new Program(command, options).ended;
}

/** Runs `spiffe-edge` on this runtime. */
export function spiffeEdge(args: readonly string[], options?: ProgramOptions): Promise<Ended> {
  return runProgram(onThisRuntime("src/cli/main.ts", args), options);
}

/** Runs `npm run bench`, without npm around it. */
export function launchBench(args: readonly string[]): Promise<Ended> {
  return runProgram([`${root}node_modules/.bin/node`, [`${root}scripts/bench.ts`, ...args]]);
}
