/**
 * The stream proxy alone, to tell what the gateway adds to it: `gateway-bare.ts UPSTREAM-URL`. No identity of callers, no
 * policy, no log, no metrics. Prints `PORT <port>`.
 */
import process from "node:process";
import { systemClock } from "../src/base/index.ts";
import { Reader } from "../src/gateway/config-reader.ts";
import { readUpstream } from "../src/gateway/config-upstream.ts";
import { endToEnd, fieldsOf } from "../src/gateway/headers.ts";
import { pass } from "../src/gateway/proxy-stream.ts";
import { Upstream } from "../src/gateway/upstream.ts";
import { listen } from "../src/tls/index.ts";
import { Workload } from "../src/workload/index.ts";

const workload = await Workload.open({ socket: process.env.SPIFFE_ENDPOINT_SOCKET! });
const config = readUpstream(new Reader(), "orders", { url: process.argv[2] }, [])!;
const upstream = new Upstream(config, workload, systemClock);
const listener = await listen(workload, {
  address: "127.0.0.1",
  port: 0,
  clientCertificate: "none",
  handler: async (request, response) => {
    const received = endToEnd(fieldsOf(request.rawHeaders)).filter(([name]) => name.toLowerCase() !== "host");
    await pass(request, response, {
      upstream,
      method: request.method ?? "GET",
      target: request.url ?? "/",
      fields: (host) => [["host", host], ...received],
      timeoutMs: 30_000,
      idleMs: 60_000,
      bodyBytes: 10_485_760,
      requestId: "bare",
      explain: "none",
      clock: systemClock,
    });
  },
});
process.stdout.write(`PORT ${listener.port}\n`);
process.once("SIGTERM", () => process.exit(0));
