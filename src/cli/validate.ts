/** `spiffe-edge validate`: is this token good, and whose is it? */
import { readFileSync } from "node:fs";
import process from "node:process";
import { Command } from "commander";
import { LIMITS, SpiffeError } from "../base/index.ts";
import { safeValidateJwtSvid } from "../jwt/index.ts";
import { type ConnectionOptions, collect, openClient, withConnection } from "./connection.ts";
import { usageError } from "./exit.ts";

/** `validate jwt`. */
export function validateCommand(): Command {
  return new Command("validate")
    .description("check a token against the bundles of the Workload API")
    .addCommand(withConnection(jwtCommand()));
}

function jwtCommand(): Command {
  return new Command("jwt")
    .description("validate a JWT-SVID; prints its identity, expiry and claims as JSON")
    .argument("[file]", "the file that holds the token; without it, or as -, the token is read from stdin")
    .requiredOption(
      "--audience <audience>",
      "the audience the token must name; given several times, one must match",
      collect,
    )
    .addHelpText(
      "after",
      `
The token is never taken from the command line: other users can read that.

Examples:
  spiffe-edge validate jwt --audience spiffe://x0tta6bl4.local/orders token.jwt
  spiffe-edge fetch jwt --audience orders | spiffe-edge validate jwt --audience orders`,
    )
    .action(async (file: string | undefined, options: ConnectionOptions & { audience: string[] }) => {
      if (file !== undefined && file.split(".").length === 3 && file.length > 100) {
        throw usageError("Expected a file name, but got what looks like a token", "Pipe the token in on stdin instead");
      }
      const token = readToken(file);
      const client = openClient(options);
      try {
        const { bundles } = await client.fetchJwtBundles();
        const source = { jwtBundleFor: (domain: { name: string }) => bundles.get(domain.name) };
        const verdict = await safeValidateJwtSvid(token, source, { audience: options.audience });
        if (!verdict.ok) {
          throw new SpiffeError(
            "ERR_SPIFFE_JWT_VERIFY",
            `The token is refused (${verdict.reason}): ${verdict.message}`,
          );
        }
        const { id, audience, expiresAt, claims } = verdict.value;
        // A claim may be an integer beyond what JSON writers take; its digits are printed.
        const plain = (_key: string, value: unknown) => (typeof value === "bigint" ? value.toString() : value);
        process.stdout.write(`${JSON.stringify({ id: id.uri, expiresAt, audience, claims }, plain, 2)}\n`);
      } finally {
        await client.close();
      }
    });
}

function readToken(file: string | undefined): string {
  let content: Buffer;
  try {
    content = readFileSync(file === undefined || file === "-" ? process.stdin.fd : file);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? (error as Error).message;
    throw usageError(
      `Expected a token in ${file ?? "stdin"}, but reading it failed with ${code}`,
      "Check the file name",
    );
  }
  const token = content.toString("latin1").trim();
  if (token === "" || content.length > LIMITS.token + 2) {
    throw usageError(
      `Expected a token of 1 to ${LIMITS.token} bytes in ${file ?? "stdin"}, but got ${content.length} bytes`,
      "Give one token and nothing else",
    );
  }
  return token;
}
