/** `spiffe-edge doctor`: from the environment variable to a verified SVID, each step with what to do where it fails. */
import process from "node:process";
import { setTimeout as wait } from "node:timers/promises";
import { Command } from "commander";
import { type ConnectionOptions, withConnection } from "./connection.ts";
import { examine } from "./doctor/examine.ts";
import { asJson, fingerprint, type Report, renderText } from "./doctor/report.ts";
import { EXIT, type ExitCode } from "./exit.ts";
import { printableJson } from "./printable.ts";
import { untilSignal } from "./signals.ts";

interface DoctorOptions extends ConnectionOptions {
  json?: true;
  watch?: true;
}

/** Milliseconds between two looks with `--watch`. */
const WATCH_MS = 2_000;

/** The command; its exit code is handed to `finish`. */
export function doctorCommand(finish: (code: ExitCode) => void): Command {
  return withConnection(new Command("doctor"))
    .description("check every step to an identity: address, socket, agent, SVIDs, bundles, clock")
    .option("--json", "print one object in place of lines")
    .option("--watch", "look again and again, and print when something has changed; Ctrl-C ends it")
    .addHelpText(
      "after",
      `
✓ good, ✗ failed with what to do about it, – not looked at or worth knowing. Keys and tokens are never printed.
The exit code is 1 when a check failed, with --watch in the last look.

Examples:
  spiffe-edge doctor
  spiffe-edge doctor --socket unix:///run/spire/agent/public/api.sock --json`,
    )
    .action(async (options: DoctorOptions) => finish(await doctor(options)));
}

async function doctor({ socket, timeout, json, watch }: DoctorOptions): Promise<ExitCode> {
  const look = () => examine({ socket, timeoutMs: timeout });
  const print = (report: Report) => {
    process.stdout.write(json === true ? `${printableJson(asJson(report))}\n` : renderText(report));
  };
  let report = await look();
  print(report);
  if (watch === true) {
    const ending = new AbortController();
    void untilSignal(() => process.exit(EXIT.failed)).then(() => ending.abort());
    while (!ending.signal.aborted) {
      await wait(WATCH_MS, undefined, { signal: ending.signal }).catch(() => {});
      if (ending.signal.aborted) break;
      const next = await look();
      if (fingerprint(next) !== fingerprint(report)) {
        if (json !== true) process.stdout.write(`\n${new Date().toISOString()}\n`);
        print(next);
      }
      report = next;
    }
  }
  return report.ok ? EXIT.done : EXIT.failed;
}
