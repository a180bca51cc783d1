/** Several processes of one gateway that share its ports: started, told what this one is told, and ended together. */
import { type ChildProcess, spawn } from "node:child_process";
import process from "node:process";
import type { GatewayConfig } from "../gateway/index.ts";
import { capabilities } from "../runtime/capabilities.ts";
import type { Logger } from "../telemetry/logger.ts";
import { EXIT, type ExitCode, usageError } from "./exit.ts";

const MAX_WORKERS = 64;
/** Signals that are passed on. */
const SIGNALS = ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR2"] as const;

/** Reads `--workers`. */
export function parseWorkers(text: string): number {
  const count = /^\d{1,3}$/.test(text) ? Number(text) : 0;
  if (count >= 1 && count <= MAX_WORKERS) return count;
  throw usageError(`Expected --workers from 1 to ${MAX_WORKERS}, but got "${text}"`, "One for each core is plenty");
}

/**
 * Runs workers until all have ended. When one ends that nobody told to, the others are told to as well: whoever started
 * this process starts it again.
 *
 * @param args the command that each runs, beside its number
 * @returns the highest code of a worker, and at least 1 when one ended by itself
 */
export async function superviseWorkers(
  count: number,
  { listeners, bytes }: GatewayConfig,
  args: readonly string[],
  logger: Logger,
): Promise<ExitCode> {
  if (!capabilities.workers.value) {
    const sentence = `Expected one worker on this runtime: ${capabilities.workers.why}`;
    throw usageError(sentence, "Start several gateways on ports of their own, or use Bun or Node");
  }
  if (bytes.egress.length > 0) {
    const sentence = "Expected one worker beside egress, whose places belong to one process";
    throw usageError(sentence, "Run one worker, or a gateway of its own for egress");
  }
  const free = [...listeners, ...bytes.listeners].find(({ port }) => port === 0);
  if (free !== undefined) {
    const sentence = `Expected a port of its own for listener ${free.name}, which workers share, but got 0`;
    throw usageError(sentence, "Name the port, or run one worker");
  }
  logger.info("starting workers", { count });
  let told = false;
  const workers: ChildProcess[] = [];
  const tell = (signal: NodeJS.Signals) => {
    if (signal === "SIGTERM" || signal === "SIGINT") told = true;
    for (const worker of workers) worker.kill(signal);
  };
  for (const signal of SIGNALS) process.on(signal, () => tell(signal));
  const codes = await Promise.all(
    Array.from({ length: count }, async (_, number) => {
      const worker = startWorker([...args, "--worker", `${number}`]);
      workers.push(worker);
      const code = await ended(worker);
      if (told) return code;
      logger.error("a worker ended by itself; the others end too", { worker: number, code });
      tell("SIGTERM");
      return Math.max(code, EXIT.failed);
    }),
  );
  return Math.max(...codes) as ExitCode;
}

/** Starts this program again, with other arguments; the pipe to its input ends with this process, however it ends. */
function startWorker(args: readonly string[]): ChildProcess {
  const [, script = ""] = process.argv;
  return spawn(process.execPath, [...process.execArgv, script, ...args], { stdio: ["pipe", "inherit", "inherit"] });
}

function ended(worker: ChildProcess): Promise<number> {
  return new Promise((resolve) => {
    worker.stdin?.on("error", () => {});
    worker.once("error", () => resolve(EXIT.failed));
    worker.once("exit", (code) => resolve(code ?? EXIT.failed));
  });
}
