/** A process that serves during a measurement. */
import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { root } from "../../scripts/lib/run.ts";

/** Turns before those that are measured: for some 50,000 requests a just-in-time compiler works beside the server. */
export const WARM_TURNS = 4;

/** A started server process. */
export interface Serving {
  /** What followed `PORT` on its first line: one or more port numbers. */
  ports: number[];
  pid: number;
  /** Ends it with SIGTERM, then SIGKILL; resolves with the end of its output when it is gone. */
  stop(): Promise<string>;
}

/** What /proc says; undefined once the process or thread is gone, which may be between a listing and the reading. */
function ofProc<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

/** Microseconds of CPU that a process and its children have used, in steps of 10,000; undefined where nobody tells. */
export function cpuOf(pid: number): number | undefined {
  const stat = ofProc(() => readFileSync(`/proc/${pid}/stat`, "utf8"));
  if (stat === undefined) return undefined;
  const [, , , , , , , , , , , user, system] = stat.split(") ")[1]!.split(" ");
  const tasks = ofProc(() => readdirSync(`/proc/${pid}/task`)) ?? [];
  const below = tasks.flatMap((task) => {
    const list = ofProc(() => readFileSync(`/proc/${pid}/task/${task}/children`, "utf8"))?.trim() ?? "";
    return list === "" ? [] : list.split(" ").map((child) => cpuOf(Number(child)) ?? 0);
  });
  return (Number(user) + Number(system)) * 10_000 + below.reduce((sum, one) => sum + one, 0);
}

const START_MS = 30_000;
const STOP_MS = 10_000;

/** Starts a program that prints `PORT <number>…` once it serves. */
export function startServing(
  [command, args]: [string, readonly string[]],
  env: Readonly<Record<string, string>> = {},
): Promise<Serving> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: root,
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    const ended = new Promise<void>((done) => child.once("close", () => done()));
    const timer = setTimeout(() => fail("did not serve in time"), START_MS);
    const fail = (what: string) => {
      clearTimeout(timer);
      child.kill("SIGKILL");
      reject(new Error(`${command} ${args.join(" ")} ${what}:\n${output}`));
    };
    const stop = async () => {
      child.kill("SIGTERM");
      const hard = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
      await ended;
      clearTimeout(hard);
      return output;
    };
    const take = (text: string) => {
      output = `${output}${text}`.slice(-20_000);
      const ports = /^PORT ([\d ]+)$/m.exec(output)?.[1];
      if (ports === undefined) return;
      clearTimeout(timer);
      resolve({ ports: ports.trim().split(/\s+/).map(Number), pid: child.pid!, stop });
    };
    child.stdout.setEncoding("utf8").on("data", take);
    child.stderr.setEncoding("utf8").on("data", take);
    child.once("error", (error) => fail(`did not start: ${error.message}`));
    child.once("exit", (code, signal) => fail(`ended with ${signal ?? code}`));
  });
}
