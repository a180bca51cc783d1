/** `spiffe-edge call`: one request with the own SVID to a peer that must be who it is said to be. */
import process from "node:process";
import { Command } from "commander";
import { SpiffeError } from "../base/index.ts";
import { presentedChain } from "../tls/chain.ts";
import { exchange } from "../tls/fetch-exchange.ts";
import type { Call } from "../tls/fetch-request.ts";
import type { TlsIdentity } from "../tls/index.ts";
import { connect } from "../tls/index.ts";
import type { X509Context } from "../workload/index.ts";
import { Certificate, type X509BundleSource, type X509Svid } from "../x509/index.ts";
import { peersOf, type RequestOptions, requestOf } from "./call/request.ts";
import { Timings } from "./call/timings.ts";
import { type ConnectionOptions, collect, openClient, withConnection } from "./connection.ts";
import { EXIT, type ExitCode } from "./exit.ts";
import { describePeer } from "./inspect/certificate.ts";
import { printable } from "./printable.ts";

interface CallCommandOptions extends ConnectionOptions, RequestOptions {
  peer: string[];
  hint?: string;
  include?: true;
}

/** From this status on the call has failed. */
const BAD_STATUS = 400;

/** The command; its exit code is handed to `finish`. */
export function callCommand(finish: (code: ExitCode) => void): Command {
  return withConnection(new Command("call"))
    .description("make a request over mTLS with the own SVID; body on stdout, who answered and how fast on stderr")
    .argument("<url>", "https://host[:port]/path; the host is where to dial, and proves nothing")
    .requiredOption("--peer <spiffe-id>", "who must answer; given several times, one of them must", collect)
    .option("--hint <hint>", "which of several own SVIDs to call with; default the agent's first")
    .option("--method <method>", "default GET, with --data POST")
    .option("--header <line>", "'name: value'; may be given several times", collect)
    .option("--data <text>", "the body; @file takes a file, @- stdin")
    .option("--jwt <audience>", "send a JWT-SVID for this audience as Authorization: Bearer")
    .option("--include", "print status and headers before the body, on stdout")
    .addHelpText(
      "after",
      `
Nothing is sent before the peer is verified, and redirects are not followed. The exit code is 1 when the peer is refused,
when it does not answer, and for a status from 400 on.

Examples:
  spiffe-edge call https://127.0.0.1:8443/orders --peer spiffe://x0tta6bl4.local/gateway
  spiffe-edge call https://127.0.0.1:8443/orders --peer spiffe://x0tta6bl4.local/gateway --data '{"id":1}' --header 'content-type: application/json'`,
    )
    .action(async (url: string, options: CallCommandOptions) => finish(await call(url, options)));
}

async function call(url: string, options: CallCommandOptions): Promise<ExitCode> {
  const peers = peersOf(options.peer);
  const request = requestOf(url, options, AbortSignal.timeout(options.timeout));
  const client = openClient(options);
  try {
    const context = await client.fetchX509Context();
    const svid = ownSvid(context.svids, options.hint);
    if (options.jwt !== undefined) {
      // Of the same identity: certificate and token are to name one caller.
      const { token } = await client.fetchJwtSvid({ audience: options.jwt, id: svid.id });
      request.headers.set("authorization", `Bearer ${token}`);
    }
    const identity = identityOf(svid, context);
    const timings = new Timings();
    const { socket } = await connect(identity, {
      host: request.url.hostname.replace(/^\[|\]$/g, ""),
      port: request.url.port === "" ? 443 : Number(request.url.port),
      peer: peers.length === 1 ? peers[0]! : peers,
      alpn: ["http/1.1"],
      timeoutMs: options.timeout,
      signal: request.signal!,
      onStep: (step) => timings.mark(step),
    });
    timings.mark("verdict");
    const presented = presentedChain(socket);
    if (presented.ok) tell(await peerLines(presented.value, identity.x509));
    return await answer(request, await exchange(request, { socket }), timings, options.include === true);
  } finally {
    await client.close();
  }
}

/** The first SVID, or the one with the hint. */
function ownSvid(svids: readonly X509Svid[], hint: string | undefined): X509Svid {
  const svid = hint === undefined ? svids[0] : svids.find((candidate) => candidate.hint === hint);
  if (svid !== undefined) return svid;
  const there = svids.map(({ id, hint }) => (hint === undefined ? `${id}` : `${id} with ${JSON.stringify(hint)}`));
  const sentence = `Expected an own SVID with the hint ${JSON.stringify(hint)}, but there are ${there.join(", ")}`;
  throw new SpiffeError("ERR_SPIFFE_NO_IDENTITY", sentence, { reason: "workload.no-svid" });
}

/** The identity as it was fetched: one call does not outlive it. */
function identityOf(svid: X509Svid, { bundles }: X509Context): TlsIdentity {
  return {
    x509: {
      x509Svid: () => svid,
      x509BundleFor: ({ name }) => bundles.get(name),
      async *updates() {},
    },
  };
}

async function peerLines(chain: readonly Uint8Array[], bundles: X509BundleSource): Promise<string[]> {
  return describePeer(
    chain.map((der) => Certificate.parse(der)),
    bundles,
  );
}

async function answer(request: Call, response: Response, timings: Timings, include: boolean): Promise<ExitCode> {
  timings.mark("head");
  const status = `${response.status}${response.statusText === "" ? "" : ` ${response.statusText}`}`;
  if (include) {
    const fields = [...response.headers].map(([name, value]) => `${name}: ${printable(value)}\n`);
    await write(new TextEncoder().encode(`HTTP/1.1 ${printable(status)}\n${fields.join("")}\n`));
  }
  for await (const chunk of response.body ?? []) await write(chunk);
  timings.mark("end");
  tell([`status     ${printable(status)}  ${request.method} ${request.url.href}`, `timings    ${timings}`]);
  return response.status < BAD_STATUS ? EXIT.done : EXIT.failed;
}

function tell(lines: readonly string[]): void {
  process.stderr.write(lines.map((line) => `${line}\n`).join(""));
}

/** Writes to stdout no faster than it is read. */
function write(chunk: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(chunk, (error) => (error ? reject(error) : resolve()));
  });
}
