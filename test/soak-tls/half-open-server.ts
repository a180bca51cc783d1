/**
 * The server under half-open handshakes: `half-open-server.ts HANDSHAKE-MS`, identity by `SPIFFE_ENDPOINT_SOCKET`. Prints
 * `PORT <n>`; answers `/begin` with the bytes it is resident with, after a collection, and `/end` with {@link Suffered}.
 */
import process from "node:process";
import { type ListenerCounters, listen } from "../../src/tls/index.ts";
import { Workload } from "../../src/workload/index.ts";
import { collectGarbage } from "../support/collect.ts";

/** What the server saw since `/begin`. */
export interface Suffered {
  /** Resident bytes at their highest. */
  readonly peak: number;
  /** Resident bytes after a collection. */
  readonly left: number;
  readonly counters: ListenerCounters;
}

const LOOK_EVERY_MS = 10;
const workload = await Workload.open();
let peak = 0;
setInterval(() => {
  peak = Math.max(peak, process.memoryUsage.rss());
}, LOOK_EVERY_MS);

function resident(): number {
  collectGarbage();
  return process.memoryUsage.rss();
}

const server = await listen(workload, {
  port: 0,
  address: "127.0.0.1",
  handshakeTimeoutMs: Number(process.argv[2]),
  handler: (request, response) => {
    if (request.url === "/begin") {
      peak = resident();
      response.end(String(peak));
    } else if (request.url === "/end") {
      const suffered: Suffered = { peak, left: resident(), counters: server.counters };
      response.end(JSON.stringify(suffered));
    } else response.end("ok");
  },
});
process.stdout.write(`PORT ${server.port}\n`);
process.once("SIGTERM", async () => {
  await server.close({ deadlineMs: 0 });
  await workload.close();
  process.exit(0);
});
