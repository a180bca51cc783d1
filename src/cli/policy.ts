/** `spiffe-edge policy`: is a policy sound, does it do what it should, and why did it decide so? */
import process from "node:process";
import { Command, Option } from "commander";
import { collect } from "./connection.ts";
import type { ExitCode } from "./exit.ts";
import { check } from "./policy/check.ts";
import { type ExplainOptions, explainRequest } from "./policy/explain.ts";
import { test } from "./policy/test.ts";

/** What a subcommand prints, and how it ends. */
export interface PolicyOutcome {
  readonly lines: readonly string[];
  readonly code: ExitCode;
}

/** The command with its subcommands; the exit code is handed to `finish`. */
export function policyCommand(finish: (code: ExitCode) => void): Command {
  const told = ({ lines, code }: PolicyOutcome) => {
    process.stdout.write(`${lines.join("\n")}\n`);
    finish(code);
  };
  return new Command("policy")
    .description("judge policy files, test them with fixtures, explain a decision")
    .addCommand(checkCommand(told))
    .addCommand(testCommand(told))
    .addCommand(explainCommand(told));
}

function checkCommand(told: (outcome: PolicyOutcome) => void): Command {
  return new Command("check")
    .description("read policy files, or the policy of gateway files, and tell everything that is wrong with them")
    .argument("<files...>", "policy files, taken together as one policy, and gateway files, each by itself")
    .addHelpText(
      "after",
      `
The exit code is 2 when a file has a fault; every fault is a line with its place.

Examples:
  spiffe-edge policy check policy.d/*.yaml
  spiffe-edge policy check gateway.yaml`,
    )
    .action(async (files: string[]) => told(await check(files)));
}

function testCommand(told: (outcome: PolicyOutcome) => void): Command {
  return new Command("test")
    .description("run fixtures: requests with the verdicts they should get")
    .argument("<fixtures...>", "fixture files, YAML or JSON")
    .option(
      "--policy <file>",
      "the policy to test in place of the one that the fixtures name; may be given several times",
      collect,
    )
    .addHelpText(
      "after",
      `
A fixture file holds "policy", the name of one file or a list, relative to itself, and "fixtures", a list. The exit code
is 1 when one of them does not hold.

Examples:
  spiffe-edge policy test policy-test.yaml
  spiffe-edge policy test --policy gateway.yaml policy-test.yaml`,
    )
    .action(async (files: string[], { policy }: { policy?: string[] }) => told(await test(files, policy)));
}

function explainCommand(told: (outcome: PolicyOutcome) => void): Command {
  const policy = new Option("--policy <file>", "a policy file or a gateway file; may be given several times");
  return new Command("explain")
    .description("say what the policy decides on one request, and what every rule makes of it")
    .addOption(policy.argParser(collect).makeOptionMandatory())
    .option("--input <json>", "the request as one JSON object, - for stdin")
    .option("--request <id>", "the request of this id in the access log")
    .option("--log <file>", "the access log, JSON lines; - for stdin")
    .option("--peer <id>", "the caller's SPIFFE ID; without it the caller has no identity")
    .addOption(new Option("--via <kind>", "how the caller proved it").choices(["x509", "jwt"]))
    .option("--token <id>", "the SPIFFE ID of a token beside the certificate")
    .option(
      "--claim <name=value>",
      "a claim of the token, the value as JSON or as text; may be given several times",
      collect,
    )
    .option("--method <method>", "GET unless given")
    .option("--path <path>", "/ unless given")
    .option("--host <host>", "the request's host")
    .option("--listener <name>", "the gateway listener")
    .option("--route <name>", "the gateway route")
    .option("--header <name=value>", "a header; may be given several times", collect)
    .option("--time <time>", "when, such as 2026-12-15T00:00:00Z; now unless given")
    .option("--json", "print one object in place of lines")
    .addHelpText(
      "after",
      `
✓ matches, – does not, with the first condition that fails. Options complete or replace what --input and --request say.
The exit code is 0 whatever the verdict is.

Examples:
  spiffe-edge policy explain --policy gateway.yaml --peer spiffe://example.org/web --path /orders/7 --route orders
  spiffe-edge policy explain --policy gateway.yaml --request 0b0c5f8e-3f53-4f0e-8c8b-2f8f1a6f2f11 --log access.log`,
    )
    .action(async (options: ExplainOptions) => told(await explainRequest(options)));
}
