/** Options that all commands with a Workload API share. */
import process from "node:process";
import { type Command, Option } from "commander";
import { WorkloadApiClient } from "../workload/index.ts";
import { usageError } from "./exit.ts";

/** What {@link withConnection} adds to a command's options. */
export interface ConnectionOptions {
  socket?: string;
  timeout: number;
}

/** Adds `--socket` and `--timeout`. */
export function withConnection(command: Command): Command {
  return command
    .option("--socket <uri>", "address of the Workload API (default: SPIFFE_ENDPOINT_SOCKET)")
    .addOption(timeoutOption("how long to wait for an answer", 10_000, "10s"));
}

/** `--timeout`, in milliseconds. */
export function timeoutOption(what: string, ms: number, shown: string): Option {
  return new Option("--timeout <duration>", `${what}: 500ms, 10s, 1m`).argParser(parseDuration).default(ms, shown);
}

/** A client for the address given on the command line, else in the environment. */
export function openClient(options: ConnectionOptions): WorkloadApiClient {
  const socket = options.socket ?? process.env.SPIFFE_ENDPOINT_SOCKET;
  if (socket === undefined || socket === "") {
    throw usageError(
      "Expected the address of a Workload API in SPIFFE_ENDPOINT_SOCKET or --socket, but neither is set",
      "Set it, for example --socket unix:///run/spire/agent/public/api.sock",
    );
  }
  return new WorkloadApiClient({ socket, timeoutMs: options.timeout });
}

/** Reads `500ms`, `30s`, `5m` into milliseconds; longer than an hour is taken for a slip. */
export function parseDuration(text: string): number {
  const found = /^(\d{1,7})(ms|s|m)$/.exec(text);
  const value = Number(found?.[1]) * { ms: 1, s: 1000, m: 60_000 }[(found?.[2] ?? "ms") as "ms" | "s" | "m"];
  if (!(value > 0 && value <= 3_600_000)) {
    throw usageError(`Expected a duration such as 500ms, 30s or 5m, but got "${text}"`, "The longest is 60m");
  }
  return value;
}

/** Gathers an option that may be given several times. */
export function collect(value: string, before: readonly string[] | undefined): string[] {
  return [...(before ?? []), value];
}
