/** `spiffe-edge gateway`: the gateway of a file, with the identity of a real Workload API and never another. */
import process from "node:process";
import { Command, Option } from "commander";
import { createGateway, type GatewayConfig, loadGatewayConfig } from "../gateway/index.ts";
import { runtime } from "../runtime/detect.ts";
import { passedSockets } from "../runtime/passed-sockets.ts";
import { jsonLogger } from "../telemetry/logger.ts";
import { EXIT, type ExitCode, usageError } from "./exit.ts";
import { untilSignal } from "./signals.ts";
import { VERSION } from "./version.ts";

interface GatewayCommandOptions {
  config: string;
  check?: true;
}

/** The command; its exit code is handed to `finish`. */
export function gatewayCommand(finish: (code: ExitCode) => void): Command {
  const config = new Option("--config <file>", "the gateway file, YAML or JSON").env("SPIFFE_EDGE_CONFIG");
  return new Command("gateway")
    .description("serve what a gateway file says, with the identity of the Workload API")
    .addOption(config.makeOptionMandatory())
    .option("--check", "judge the file and end; nothing is started")
    .addHelpText(
      "after",
      `
Logs are JSON lines on stdout. SIGTERM drains; requests still running at drain.deadline are cut, and the code is 3.

Examples:
  spiffe-edge gateway --config gateway.yaml --check
  SPIFFE_ENDPOINT_SOCKET=unix:///run/spire/agent/public/api.sock spiffe-edge gateway --config gateway.yaml`,
    )
    .action(async (options: GatewayCommandOptions) => finish(await gateway(options)));
}

async function gateway({ config: file, check }: GatewayCommandOptions): Promise<ExitCode> {
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
  const logger = jsonLogger((line) => process.stdout.write(line));
  logger.info("starting", { version: VERSION, runtime: `${runtime.name} ${runtime.version}`, file });
  const sockets = passedSockets();
  const signal = untilSignal(() => process.exit(EXIT.drainDeadline));
  const running = await Promise.race([createGateway(config, { logger, sockets }), signal.then(() => undefined)]);
  // Told to end before there was an identity to serve with: nothing is open yet.
  if (running === undefined) return EXIT.done;
  logger.info("draining", { signal: await signal, deadlineMs: config.drain.deadlineMs });
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
