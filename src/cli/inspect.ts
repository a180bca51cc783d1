/** `spiffe-edge inspect`: what is this, and would it be trusted? */
import { existsSync } from "node:fs";
import process from "node:process";
import { Command } from "commander";
import { collect, withConnection } from "./connection.ts";
import { type ExitCode, usageError } from "./exit.ts";
import { inspectBundle } from "./inspect/bundle.ts";
import { inspectCertificates, readDer, readPem } from "./inspect/chain.ts";
import { addressOf, inspectHost } from "./inspect/host.ts";
import { kindOf, readInput, textOf } from "./inspect/input.ts";
import { type Outcome, refused } from "./inspect/outcome.ts";
import { inspectToken } from "./inspect/token.ts";
import type { TrustOptions } from "./inspect/trust.ts";

/** The options of the command. */
export interface InspectOptions extends TrustOptions {
  audience?: string[];
}

/** The command; its exit code is handed to `finish`. */
export function inspectCommand(finish: (code: ExitCode) => void): Command {
  return withConnection(new Command("inspect"))
    .description("decode and verify a server's chain, a certificate, a bundle or a token, and say why not")
    .argument("<what>", "host:port, the file of a certificate, chain, SPIFFE bundle or token, or - for stdin")
    .option("--bundle <file>", "verify with this SPIFFE bundle (JSON) or these CA certificates (PEM, DER)")
    .option("--trust-domain <name>", "whose bundle --bundle is, where its authorities do not say so themselves")
    .option("--audience <audience>", "the audience a token must name; may be given several times", collect)
    .addHelpText(
      "after",
      `
Without --bundle the bundles of the Workload API are taken. Where there is neither, what can be decoded is shown as not
verified. Private keys, tokens and their signatures are never printed. The exit code is 1 when something is refused.

Examples:
  spiffe-edge inspect 127.0.0.1:8443
  spiffe-edge inspect svid.pem --bundle bundle.pem
  spiffe-edge fetch jwt --audience orders | spiffe-edge inspect - --audience orders`,
    )
    .action(async (what: string, options: InspectOptions) => {
      const { lines, code } = await inspect(what, options);
      process.stdout.write(`${lines.join("\n")}\n`);
      finish(code);
    });
}

/** Looks at whatever it is.
 *
 * @throws SpiffeError when there is nothing to look at, or nobody answers
 */
export async function inspect(what: string, options: InspectOptions): Promise<Outcome> {
  if (what !== "-" && !exists(what)) {
    const address = addressOf(what);
    if (address !== undefined) return inspectHost(address, options);
    if (what.split(".").length === 3 && what.length > 100) {
      throw usageError("Expected a file name, but got what looks like a token", "Pipe the token in on stdin instead");
    }
    throw usageError(`Expected host:port, a file or -, but there is no file ${what}`, "Check the name");
  }
  const bytes = readInput(what);
  switch (kindOf(bytes)) {
    case "json":
      return inspectBundle(bytes);
    case "token":
      return inspectToken(textOf(bytes), options);
    case "der": {
      const chain = readDer(bytes);
      return chain.ok ? inspectCertificates(chain.value, options) : refused([], chain);
    }
    case "pem": {
      const pem = readPem(bytes);
      if (!pem.ok) return refused([], pem);
      const outcome = await inspectCertificates(pem.value.chain, options);
      return { ...outcome, lines: [...pem.value.notes, ...outcome.lines] };
    }
    default:
      throw usageError(
        `Expected a certificate, a bundle or a token in ${what}, but it looks like none of them`,
        "Give PEM, DER, a SPIFFE bundle (JSON) or a compact JWT",
      );
  }
}

/** Deno throws where a name may not be looked up: one that is no address is taken for a file, and reading it says why not. */
function exists(file: string): boolean {
  try {
    return existsSync(file);
  } catch {
    return addressOf(file) === undefined;
  }
}
