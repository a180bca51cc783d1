/**
 * The server of the soak: `serve.ts WORLD REPORT`, identity by `SPIFFE_ENDPOINT_SOCKET`. Prints `PORT <n>`, then
 * `AT <handshakes of the caller>` again and again; writes its report on SIGTERM.
 */
import { writeFileSync } from "node:fs";
import process from "node:process";
import { authorizeOneOf, type ListenerCounters, listen, peerOf, type TlsIdentity } from "../../src/tls/index.ts";
import { Workload } from "../../src/workload/index.ts";
import { DOMAIN, HOME_WEB, LEAVING, LEAVING_WEB, otherBundles, PATHS, PROBER, readWorld, WEB } from "./world.ts";

/** What the server saw. */
export interface ServerReport {
  /** How often each number was handled; the index is the number. */
  readonly numbers: readonly number[];
  /** Requests under `/wrong/`: has to stay empty. */
  readonly wrong: readonly string[];
  readonly twins: number;
  /** Requests of HTTP/2 frames that name no path of their own, by the peer's ID. */
  readonly pathless: Readonly<Record<string, number>>;
  /** Accepted handshakes by ID. */
  readonly accepted: Readonly<Record<string, number>>;
  readonly counters: ListenerCounters;
}

const SAY_EVERY_MS = 200;
const [worldFile = "", reportFile = ""] = process.argv.slice(2);
const world = readWorld(worldFile);
const dropped = new Set<string>();
let others = otherBundles(world, dropped);
const workload = await Workload.open();
const identity: TlsIdentity = {
  x509: {
    x509Svid: () => workload.x509.x509Svid(),
    x509BundleFor: (td) => (td.name === DOMAIN ? workload.x509.x509BundleFor(td) : others.x509BundleFor(td)),
    updates: (signal) => workload.x509.updates(signal),
  },
};

const numbers: number[] = [];
const wrong: string[] = [];
const pathless: Record<string, number> = {};
const accepted: Record<string, number> = {};
let twins = 0;

const onList = authorizeOneOf(WEB, PROBER, HOME_WEB, LEAVING_WEB);
const server = await listen(identity, {
  port: 0,
  address: "127.0.0.1",
  // Every peer comes from one address, and many are refused on purpose.
  throttle: false,
  authorize: (peer) => {
    const verdict = onList(peer);
    if (verdict.ok) accepted[peer.id.uri] = (accepted[peer.id.uri] ?? 0) + 1;
    return verdict;
  },
  handler: (request, response) => {
    const peer = peerOf(request).id.uri;
    const path = request.url ?? "";
    if (path.startsWith(PATHS.numbered)) {
      const number = Number(path.slice(PATHS.numbered.length));
      while (numbers.length <= number) numbers.push(0);
      numbers[number]!++;
      response.end(`${number} for ${peer}`);
      return;
    }
    if (path.startsWith(PATHS.wrong)) wrong.push(`${path} by ${peer}`);
    else if (path.startsWith(PATHS.twin)) twins++;
    else if (path === PATHS.drop) {
      dropped.add(LEAVING);
      others = otherBundles(world, dropped);
    } else pathless[peer] = (pathless[peer] ?? 0) + 1;
    response.end(`for ${peer}`);
  },
});
process.stdout.write(`PORT ${server.port}\n`);
setInterval(() => process.stdout.write(`AT ${accepted[WEB] ?? 0}\n`), SAY_EVERY_MS);

process.once("SIGTERM", async () => {
  await server.close({ deadlineMs: 2_000 });
  const report: ServerReport = { numbers, wrong, twins, pathless, accepted, counters: { ...server.counters } };
  writeFileSync(reportFile, JSON.stringify(report));
  await workload.close();
  process.exit(0);
});
