/** `spiffe-edge fetch`: an SVID from the Workload API, once. */
import process from "node:process";
import { Command } from "commander";
import { SpiffeError } from "../base/index.ts";
import { encodePem } from "../encoding/index.ts";
import { SpiffeId } from "../id/index.ts";
import type { X509Context } from "../workload/index.ts";
import type { X509Bundle } from "../x509/index.ts";
import { type ConnectionOptions, collect, openClient, withConnection } from "./connection.ts";
import { usageError } from "./exit.ts";
import { duration } from "./format.ts";
import { type Files, writeFilesAtomically } from "./write-files.ts";

/** `fetch x509` and `fetch jwt`. */
export function fetchCommand(): Command {
  return new Command("fetch")
    .description("get an SVID from the Workload API")
    .addCommand(withConnection(x509Command()))
    .addCommand(withConnection(jwtCommand()));
}

function x509Command(): Command {
  return new Command("x509")
    .description("show the X.509-SVID, or write it with its key and bundle as PEM files")
    .option("--out <folder>", "write svid.pem, key.pem and bundle.pem there, mode 0600, whole or not at all")
    .addHelpText(
      "after",
      `
Examples:
  spiffe-edge fetch x509
  spiffe-edge fetch x509 --out ./svid && openssl x509 -in ./svid/svid.pem -noout -ext subjectAltName`,
    )
    .action(async (options: ConnectionOptions & { out?: string }) => {
      const client = openClient(options);
      try {
        const context = await client.fetchX509Context();
        if (options.out === undefined) process.stdout.write(summary(context, Date.now()));
        else {
          await writeFilesAtomically(options.out, pemFiles(context));
          process.stdout.write(`${summary(context, Date.now())}written to ${options.out}\n`);
        }
      } finally {
        await client.close();
      }
    });
}

function jwtCommand(): Command {
  return new Command("jwt")
    .description("print a JWT-SVID to stdout")
    .requiredOption("--audience <audience>", "who the token is for; may be given several times", collect)
    .option("--id <spiffe-id>", "the identity to get it for, where the workload has several")
    .addHelpText(
      "after",
      `
The token is a secret: whoever has it is the workload, at that audience, until it expires.

Examples:
  spiffe-edge fetch jwt --audience spiffe://x0tta6bl4.local/orders
  curl -k -H "authorization: Bearer $(spiffe-edge fetch jwt --audience orders)" https://127.0.0.1:8443/orders`,
    )
    .action(async (options: ConnectionOptions & { audience: string[]; id?: string }) => {
      const id = options.id === undefined ? undefined : parseId(options.id);
      const client = openClient(options);
      try {
        const svid = await client.fetchJwtSvid({ audience: options.audience, ...(id && { id }) });
        process.stdout.write(`${svid.token}\n`);
      } finally {
        await client.close();
      }
    });
}

function parseId(text: string): SpiffeId {
  const parsed = SpiffeId.safeParseConfig(text);
  if (parsed.ok) return parsed.value;
  throw usageError(`Expected a SPIFFE ID after --id: ${parsed.message}`, "Write it as spiffe://<trust domain>/<path>");
}

/** One line per SVID: identity, life left, chain length, hint. */
function summary(context: X509Context, now: number): string {
  const bundles = [...context.bundles.values()].map((bundle) => `${bundle.trustDomain} (${bundle.authorities.length})`);
  const lines = context.svids.map((svid) => {
    const left = duration(svid.expiresAt.getTime() - now);
    const hint = svid.hint === undefined || svid.hint === "" ? "" : `  hint ${svid.hint}`;
    const expiry = svid.expiresAt.toISOString().replace(".000Z", "Z");
    return `${svid.id}  expires ${expiry} (in ${left})  ${svid.certificates.length} in chain${hint}\n`;
  });
  return `${lines.join("")}bundles: ${bundles.join(", ")}\n`;
}

function pemFiles(context: X509Context): Files {
  const svid = context.svids[0]!;
  const pem = svid.toPem();
  const own = context.bundles.get(svid.id.trustDomain.name);
  if (own === undefined) {
    throw new SpiffeError("ERR_SPIFFE_WORKLOAD_API", `Expected a bundle of ${svid.id.trustDomain}, but none came`);
  }
  const federated = [...context.bundles.values()].filter((bundle) => bundle !== own);
  return [
    ...federated.map((bundle) => [`bundle-${bundle.trustDomain}.pem`, bundlePem(bundle)] as const),
    ["bundle.pem", bundlePem(own)],
    ["svid.pem", pem.certificates],
    ["key.pem", pem.privateKey],
  ];
}

function bundlePem(bundle: X509Bundle): string {
  return bundle.authorities.map((authority) => encodePem("CERTIFICATE", authority.der)).join("");
}
