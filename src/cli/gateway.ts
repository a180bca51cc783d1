/** `spiffe-edge gateway`: the gateway of a file, with the identity of a real Workload API and never another. */
import process from "node:process";
import { Command, Option } from "commander";
import { createGateway, type Gateway, type GatewayConfig, loadGatewayConfig } from "../gateway/index.ts";
import { runtime } from "../runtime/detect.ts";
import { passedSockets } from "../runtime/passed-sockets.ts";
import { flushAtExit } from "../telemetry/flush-at-exit.ts";
import { LineBuffer } from "../telemetry/line-buffer.ts";
import { writeAll } from "../telemetry/log-file.ts";
import { jsonLogger, type Logger } from "../telemetry/logger.ts";
import { withFields } from "../telemetry/with-fields.ts";
import { EXIT, type ExitCode, fieldsOf, usageError } from "./exit.ts";
import { untilSignal } from "./signals.ts";
import { VERSION } from "./version.ts";
import { parseWorkers, superviseWorkers } from "./workers.ts";

/** The descriptor of the standard output. */
const STDOUT = 1;

interface GatewayCommandOptions {
  config: string;
  check?: true;
  workers: number;
  /** Set by the process that starts workers. */
  worker?: number;
}

/** The command; its exit code is handed to `finish`. */
export function gatewayCommand(finish: (code: ExitCode) => void): Command {
  const config = new Option("--config <file>", "the gateway file, YAML or JSON").env("SPIFFE_EDGE_CONFIG");
  return new Command("gateway")
    .description("serve what a gateway file says, with the identity of the Workload API")
    .addOption(config.makeOptionMandatory())
    .option("--check", "judge the file and end; nothing is started")
    .option("--workers <number>", "processes that share the ports, each with its own status port", parseWorkers, 1)
    .addOption(new Option("--worker <number>").argParser(Number).hideHelp())
    .addHelpText(
      "after",
      `
Logs are JSON lines on stdout. The file and the policy files it names are followed; SIGHUP reads them at once. SIGUSR2
logs the state. SIGTERM drains; requests still running at drain.deadline are cut, and the code is 3.

Examples:
  spiffe-edge gateway --config gateway.yaml --check
  spiffe-edge gateway --config gateway.yaml --workers 4
  SPIFFE_ENDPOINT_SOCKET=unix:///run/spire/agent/public/api.sock spiffe-edge gateway --config gateway.yaml`,
    )
    .action(async (options: GatewayCommandOptions) => finish(await gateway(options)));
}

async function gateway({ config: file, check, workers, worker }: GatewayCommandOptions): Promise<ExitCode> {
  const config = await loadGatewayConfig(file);
  if (check === true) {
    process.stdout.write(`${file}: ${contentsOf(config)}\n`);
    return EXIT.done;
  }
  if (config.identity.socket === undefined && (process.env.SPIFFE_ENDPOINT_SOCKET ?? "") === "") {
    throw usageError(
      `Expected the address of a Workload API in SPIFFE_ENDPOINT_SOCKET or identity.socket of ${file}, but neither is set`,
      "Set it, for example to unix:///run/spire/agent/public/api.sock",
    );
  }
  // a reader that has stopped must not fill the memory
  const lines = new LineBuffer({
    write: (text) => new Promise((resolve) => void process.stdout.write(text, () => resolve())),
    writeNow: (text) => writeAll(STDOUT, text),
  });
  const forget = flushAtExit(lines);
  try {
    const common = jsonLogger((line) => lines.push(line));
    const logger = worker === undefined ? common : withFields(common, { worker });
    const sockets = passedSockets();
    if (workers > 1 && sockets.size > 0) {
      const sentence = "Expected one worker where sockets are passed by LISTEN_FDS, which belong to one process";
      throw usageError(sentence, "Leave out --workers, or let the gateway open its ports itself");
    }
    if (workers > 1) return await superviseWorkers(workers, config, ["gateway", "--config", file], logger);
    return await serve(config, { file, worker, sockets }, logger);
  } finally {
    await lines.flush();
    forget();
  }
}

/** What a gateway of the command line is, beside its configuration. */
interface Place {
  readonly file: string;
  readonly worker: number | undefined;
  readonly sockets: ReadonlyMap<string, number>;
}

async function serve(config: GatewayConfig, { file, worker, sockets }: Place, logger: Logger): Promise<ExitCode> {
  logger.info("starting", { version: VERSION, runtime: `${runtime.name} ${runtime.version}`, file });
  let serving: Gateway | undefined;
  const onSignal = (signal: NodeJS.Signals, act: (gateway: Gateway) => unknown) =>
    process.on(signal, () => {
      if (serving === undefined) logger.info(`${signal} does nothing before the gateway serves`);
      else act(serving);
    });
  onSignal("SIGHUP", async (gateway) => {
    await gateway.reopen();
    // a refusal is logged where it is made
    await gateway.reload().catch(() => {});
  });
  onSignal("SIGUSR2", (gateway) => logger.info("status", { ...gateway.report() }));
  const signal = untilSignal(() => process.exit(EXIT.drainDeadline), ["SIGINT", "SIGTERM"]);
  // a worker does not outlive the process that started it
  if (worker !== undefined) process.stdin.resume().once("close", () => process.kill(process.pid, "SIGTERM"));
  const opening = createGateway(config, { logger, file, worker, sockets }).catch((error: unknown) => {
    logger.error("the gateway could not start", fieldsOf(error));
    throw error;
  });
  const running = await Promise.race([opening, signal.then(() => undefined)]);
  // Told to end before there was an identity to serve with: nothing is open yet.
  if (running === undefined) return EXIT.done;
  serving = running;
  logger.info("told to end", { signal: await signal });
  const { cut } = await running.close();
  return cut === 0 ? EXIT.done : EXIT.drainDeadline;
}

function contentsOf(config: GatewayConfig): string {
  const count = (number: number, what: string) => `${number} ${what}${number === 1 ? "" : "s"}`;
  const { listeners, routes, policy } = config;
  return [count(listeners.length, "listener"), count(routes.length, "route"), count(policy.rules.length, "rule")].join(
    ", ",
  );
}
