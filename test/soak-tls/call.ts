/**
 * The callers of the soak: `call.ts PORT OPENSSL-CALLS REPORT`, identity by `SPIFFE_ENDPOINT_SOCKET`. Every request has a
 * number and is sent once, by one of the package's clients or by another TLS stack, until SIGTERM.
 */
import { execFile, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { connect, createFetch, http2Options } from "../../src/tls/index.ts";
import { Workload } from "../../src/workload/index.ts";
import { ORDERS, PATHS, WEB } from "./world.ts";

/** What the callers saw. */
export interface CallReport {
  /** Numbers 0 to below this were sent. */
  readonly sent: number;
  /** Requests whose answer was not exactly the expected one. */
  readonly failures: readonly { readonly number: number; readonly by: string; readonly what: string }[];
  /** Requests by client. */
  readonly by: Readonly<Record<string, number>>;
  /** Own SVIDs that were used. */
  readonly svids: number;
}

const TIMEOUT_MS = 20_000;
const [port = "", programCalls = "", reportFile = ""] = process.argv.slice(2);
const url = `https://127.0.0.1:${port}`;
const workload = await Workload.open();
const own = mkdtempSync(join(tmpdir(), "soak-tls-"));
const fetchOrders = createFetch(workload, { peer: ORDERS });
const { sessionManager } = http2Options(workload, { baseUrl: url, peer: ORDERS });

/** A client: sends one GET and gives `<status> <body>`. */
type Client = (path: string, number: number) => Promise<string>;

function parsed(text: string): string {
  const head = /^HTTP\/1\.1 (\d{3}) /.exec(text)?.[1] ?? "no answer:";
  return `${head} ${text.slice(text.indexOf("\r\n\r\n") + 4)}`;
}

const byConnect: Client = async (path) => {
  const { socket } = await connect(workload, { host: "127.0.0.1", port: Number(port), peer: ORDERS });
  return new Promise((resolve, reject) => {
    let text = "";
    socket.setEncoding("latin1");
    socket.on("data", (chunk: string) => (text += chunk));
    socket.once("end", () => resolve(parsed(text)));
    socket.once("error", reject);
    socket.once("close", () => reject(new Error(`closed after ${text.length} bytes`)));
    socket.write(`GET ${path} HTTP/1.1\r\nhost: orders\r\nconnection: close\r\n\r\n`);
  });
};

const byFetch: Client = async (path) => {
  const response = await fetchOrders(url + path);
  return `${response.status} ${await response.text()}`;
};

const bySession: Client = async (path) => {
  const stream = await sessionManager.request("GET", path, {});
  return new Promise((resolve, reject) => {
    let text = "";
    let status: unknown;
    stream.setEncoding("utf8");
    stream.on("response", (headers) => (status = headers[":status"]));
    stream.on("data", (chunk: string) => (text += chunk));
    stream.once("end", () => resolve(`${status} ${text}`));
    stream.once("error", reject);
    stream.once("close", () => reject(new Error(`the stream closed with code ${stream.rstCode}`)));
    stream.end();
  });
};

/** Writes what another TLS stack shall show now. */
function files(number: number): { cert: string; key: string; roots: string } {
  const svid = workload.x509.x509Svid();
  const { certificates, privateKey } = svid.toPem();
  const { authorities } = workload.x509.x509BundleFor(svid.id.trustDomain)!;
  const [cert, key, roots] = ["pem", "key", "roots"].map((end) => join(own, `${number}.${end}`)) as [
    string,
    string,
    string,
  ];
  writeFileSync(cert, certificates);
  writeFileSync(key, privateKey, { mode: 0o600 });
  writeFileSync(roots, authorities.map((authority) => authority.toPem()).join(""));
  return { cert, key, roots };
}

const byOpenssl: Client = (path, number) => {
  const { cert, key, roots } = files(number);
  const args = ["s_client", "-connect", `127.0.0.1:${port}`, "-alpn", "http/1.1", "-cert", cert, "-key", key];
  // It verifies the server against the bundle of this moment, and says nothing but what the server said.
  args.push("-CAfile", roots, "-verify_return_error", "-quiet", "-ign_eof", "-nocommands");
  return new Promise((resolve, reject) => {
    const child = spawn("openssl", args, { stdio: "pipe" });
    let text = "";
    let said = "";
    child.stdout.setEncoding("latin1").on("data", (chunk: string) => (text += chunk));
    child.stderr.setEncoding("latin1").on("data", (chunk: string) => (said += chunk));
    child.stdin.on("error", () => {});
    child.stdin.end(`GET ${path} HTTP/1.1\r\nhost: orders\r\nconnection: close\r\n\r\n`);
    child.once("error", reject);
    child.once("close", () => (text === "" ? reject(new Error(said.slice(-300))) : resolve(parsed(text))));
  });
};

const byCurl: Client = (path, number) => {
  const { cert, key } = files(number);
  const args = [
    "-sSk",
    number % 2 === 0 ? "--http2" : "--http1.1",
    "-w",
    " %{http_code}",
    "--cert",
    cert,
    "--key",
    key,
  ];
  return new Promise((resolve, reject) => {
    execFile("curl", [...args, url + path], (error, out) => {
      if (error !== null) return reject(error);
      const [, body, status] = /^([\s\S]*) (\d+)$/.exec(String(out))!;
      resolve(`${status} ${body}`);
    });
  });
};

const report = {
  sent: 0,
  failures: [] as { number: number; by: string; what: string }[],
  by: {} as Record<string, number>,
};
const svids = new Set<unknown>();
let stopped = false;

async function once(name: string, client: Client): Promise<void> {
  const number = report.sent++;
  report.by[name] = (report.by[name] ?? 0) + 1;
  svids.add(workload.x509.x509Svid());
  const late = AbortSignal.timeout(TIMEOUT_MS);
  const answer = await Promise.race([
    client(`${PATHS.numbered}${number}`, number).catch(
      (error) => `${error?.code ?? ""} ${error?.phase ?? ""} ${error}`,
    ),
    new Promise<string>((resolve) => late.addEventListener("abort", () => resolve("timeout"), { once: true })),
  ]);
  if (answer !== `200 ${number} for ${WEB}`) report.failures.push({ number, by: name, what: answer.slice(0, 300) });
}

async function lane(name: string, client: Client, limit = Number.POSITIVE_INFINITY): Promise<void> {
  for (let i = 0; i < limit && !stopped; i++) await once(name, client);
}

process.once("SIGTERM", () => {
  stopped = true;
});
const each = Math.ceil(Number(programCalls) / 2);
await Promise.all([
  ...Array.from({ length: 4 }, () => lane("connect", byConnect)),
  ...Array.from({ length: 3 }, () => lane("createFetch", byFetch)),
  lane("http2Options", bySession),
  lane("openssl", byOpenssl, each),
  lane("curl", byCurl, each),
]);
sessionManager.close();
const whole: CallReport = { ...report, svids: svids.size };
writeFileSync(reportFile, JSON.stringify(whole));
await workload.close();
rmSync(own, { recursive: true });
process.exit(0);
