/** `spiffe-edge helper`: writes the workload's identity to disk for programs that know nothing of SPIFFE. */
import process from "node:process";
import { Command as CliCommand, Option } from "commander";
import { systemClock } from "../base/index.ts";
import { jsonLogger, type Logger } from "../telemetry/logger.ts";
import { Workload } from "../workload/index.ts";
import { timeoutOption } from "./connection.ts";
import { EXIT, type ExitCode, fieldsOf } from "./exit.ts";
import { type HelperConfig, loadHelperConfig } from "./helper/config.ts";
import { openHealth } from "./helper/health.ts";
import { FolderLock } from "./helper/lock.ts";
import { Command, Notifier, PidFileSignal, type Renewal } from "./helper/renewal.ts";
import { HelperWriter } from "./helper/writer.ts";
import { untilSignal } from "./signals.ts";
import { VERSION } from "./version.ts";

interface HelperOptions {
  config: string;
  once?: true;
  timeout: number;
}

/** The command; its exit code is handed to `finish`. */
export function helperCommand(finish: (code: ExitCode) => void): CliCommand {
  return new CliCommand("helper")
    .description("write certificates, key, bundles and tokens to disk, and keep them current")
    .addOption(new Option("--config <file>", "the helper's file, YAML or JSON").makeOptionMandatory())
    .option("--once", "write all files once and end; nothing is run or signalled")
    .addOption(timeoutOption("how long to wait for them with --once", 30_000, "30s"))
    .addHelpText(
      "after",
      `
The file has the keys of spiffe-helper's configuration, as YAML. Each change is a new folder in cert_dir, written whole;
the link cert_dir/current leads to the newest. After that cmd is run, with the folder in SPIFFE_EDGE_GENERATION, and
renew_signal is sent to the process of pid_file_name. Logs are JSON lines on stdout.

Examples:
  spiffe-edge helper --config helper.yaml
  spiffe-edge helper --config helper.yaml --once && ls certs/current/`,
    )
    .action(async (options: HelperOptions) => finish(await helper(options)));
}

async function helper({ config: file, once, timeout }: HelperOptions): Promise<ExitCode> {
  const config = await loadHelperConfig(file);
  const logger = jsonLogger((line) => process.stdout.write(line));
  logger.info("starting", { version: VERSION, file });
  const lock = new FolderLock(config.folder, systemClock);
  try {
    await lock.hold();
    const isOnce = once === true || !config.daemon;
    return await (isOnce ? writeOnce(config, lock, logger, timeout) : keepWritten(config, lock, logger));
  } catch (error) {
    logger.error("the helper ends", fieldsOf(error));
    throw error;
  } finally {
    lock.release();
  }
}

async function writeOnce(config: HelperConfig, lock: FolderLock, logger: Logger, timeoutMs: number): Promise<ExitCode> {
  const writer = new HelperWriter({ config, lock, clock: systemClock, logger, onGeneration: () => {} });
  const { socket, hint } = config;
  const workload = await Workload.open({ socket, hint, timeoutMs });
  try {
    await writer.writeOnce(workload);
    return EXIT.done;
  } finally {
    await workload.close();
  }
}

async function keepWritten(config: HelperConfig, lock: FolderLock, logger: Logger): Promise<ExitCode> {
  const clock = systemClock;
  const ending = new AbortController();
  const signal = untilSignal(() => process.exit(EXIT.failed));
  void signal.then(() => ending.abort());
  const notifiers = renewalsOf(config).map(
    (renewal) =>
      new Notifier(renewal, clock, (kind, error) => {
        writer.metrics.renewals.inc({ kind, result: error === undefined ? "done" : "failed" });
        if (error !== undefined) logger.warn("renewal failed, tried again later", { kind, error: error.message });
      }),
  );
  const onGeneration = (path: string) => {
    for (const notifier of notifiers) notifier.notify(path);
  };
  const writer = new HelperWriter({ config, lock, clock, logger, onGeneration });
  const health = config.health && (await openHealth(config.health, () => writer.readiness(), writer.metrics));
  if (health !== undefined) logger.info("health endpoint", { port: health.port });
  try {
    const { socket, hint } = config;
    const timeoutMs = Number.POSITIVE_INFINITY;
    const opening = Workload.open({ socket, hint, timeoutMs, signal: ending.signal, logger });
    const workload = await opening.catch((error: unknown) => {
      // Told to end before there was an identity: nothing is open yet.
      if (!ending.signal.aborted) throw error;
    });
    if (workload === undefined) return EXIT.done;
    try {
      await writer.follow(workload, ending.signal);
    } finally {
      await workload.close();
    }
    return EXIT.done;
  } finally {
    await Promise.all(notifiers.map((notifier) => notifier.close()));
    await health?.close();
  }
}

function renewalsOf({ command, pidFile, signal }: HelperConfig): Renewal[] {
  const renewals: Renewal[] = [];
  if (command !== undefined) renewals.push(new Command(command, signal, systemClock));
  if (pidFile !== undefined && signal !== undefined) renewals.push(new PidFileSignal(pidFile, signal));
  return renewals;
}
