/** The command line: which subcommands there are, and how a failure of any of them is told. */
import process from "node:process";
import { Command, CommanderError } from "commander";
import { EXIT, type ExitCode, exitCodeOf, lastWords } from "./exit.ts";
import { VERSION } from "./version.ts";

type Finish = (code: ExitCode) => void;

/** The subcommands; each is loaded when it is named, so that getting an SVID does not wait for the gateway's code. */
const COMMANDS: Readonly<Record<string, (finish: Finish) => Promise<Command>>> = {
  dev: async (finish) => (await import("./dev.ts")).devCommand(finish),
  gateway: async (finish) => (await import("./gateway.ts")).gatewayCommand(finish),
  status: async (finish) => (await import("./status.ts")).statusCommand(finish),
  helper: async (finish) => (await import("./helper.ts")).helperCommand(finish),
  fetch: async () => (await import("./fetch.ts")).fetchCommand(),
  validate: async () => (await import("./validate.ts")).validateCommand(),
  doctor: async (finish) => (await import("./doctor.ts")).doctorCommand(finish),
  call: async (finish) => (await import("./call.ts")).callCommand(finish),
  inspect: async (finish) => (await import("./inspect.ts")).inspectCommand(finish),
  policy: async (finish) => (await import("./policy.ts")).policyCommand(finish),
};
/** Subcommands of subcommands, as hints name them. */
const BELOW: readonly string[] = ["x509", "jwt", "check", "test", "explain"];

/**
 * Runs one command line.
 *
 * @param args what follows the program's name
 * @returns the exit code: 0 done, 1 failed, 2 usage or configuration, 3 drain deadline passed
 */
export async function run(args: readonly string[]): Promise<ExitCode> {
  let code: ExitCode = EXIT.done;
  const finish = (result: ExitCode) => {
    code = result;
  };
  const [first = ""] = args;
  const wanted = Object.hasOwn(COMMANDS, first) ? [first] : Object.keys(COMMANDS);
  const program = new Command("spiffe-edge")
    .description(
      "SPIFFE identity for Bun, Deno and Node: a development trust domain, a gateway, SVIDs on the command line.",
    )
    .version(VERSION, "-V, --version", "print the version")
    .helpCommand(false)
    .addHelpText("after", EXAMPLES);
  for (const name of wanted) program.addCommand(await COMMANDS[name]!(finish));
  quietly(program);
  try {
    await program.parseAsync(args, { from: "user" });
    return code;
  } catch (error) {
    if (error instanceof CommanderError) return usage(error, args);
    process.stderr.write(`spiffe-edge: ${lastWords(error)}\n`);
    return exitCodeOf(error);
  }
}

const EXAMPLES = `
Examples:
  spiffe-edge dev                                    a whole trust domain, a gateway and a caller on this machine
  spiffe-edge gateway --config gateway.yaml          the gateway, with the identity of a real SPIRE agent
  spiffe-edge status                                 the state of a gateway on this machine
  spiffe-edge helper --config helper.yaml            certificates, key, bundles and tokens on disk, kept current
  spiffe-edge fetch x509 --out ./svid                certificate, key and bundle as PEM files
  spiffe-edge fetch jwt --audience spiffe://x0tta6bl4.local/orders
  spiffe-edge validate jwt --audience spiffe://x0tta6bl4.local/orders token.jwt
  spiffe-edge doctor                                 each step to an identity, and what to do where it fails
  spiffe-edge call https://127.0.0.1:8443/orders --peer spiffe://x0tta6bl4.local/gateway
  spiffe-edge inspect 127.0.0.1:8443                 what a server presents, and whether it would be trusted
  spiffe-edge policy test policy-test.yaml           whether a policy gives the verdicts it should

The Workload API is found by SPIFFE_ENDPOINT_SOCKET, for example unix:///run/spire/agent/public/api.sock.
Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 drain deadline passed.`;

/** Errors of the parser are thrown and told by {@link usage}, for every subcommand alike. */
function quietly(command: Command): void {
  command.exitOverride().configureOutput({ outputError: () => {} });
  for (const sub of command.commands) quietly(sub);
}

function usage(error: CommanderError, args: readonly string[]): ExitCode {
  if (error.exitCode === 0) return EXIT.done;
  const words = args.filter((word) => /^[a-z0-9]+$/.test(word)).slice(0, 2);
  const known = words.filter((word) => Object.hasOwn(COMMANDS, word) || BELOW.includes(word));
  // Without a subcommand the parser has printed the help already.
  const message = error.code === "commander.help" ? "expected a command" : error.message.replace(/^error: /, "");
  const sentence = message.replace(/\s*\n\s*/g, " ").replace(/[.\s]+$/, "");
  process.stderr.write(`spiffe-edge: ${sentence}. See: ${["spiffe-edge", ...known, "--help"].join(" ")}\n`);
  return EXIT.usage;
}
