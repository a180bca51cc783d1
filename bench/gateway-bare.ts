/**
 * The bare proxy, to tell what identity, rules, log and metrics add: `gateway-bare.ts UPSTREAM-URL`. Requests go the gateway's own
 * way: request line, host and framing are checked, a route is found, fields are cleaned and added, times run, the request is
 * kept while it runs. Callers show no certificate, nobody looks at a rule, nothing is logged or counted. Prints `PORT <port>`.
 */
import process from "node:process";
import { systemClock } from "../src/base/index.ts";
import { AccessLog } from "../src/gateway/access-log.ts";
import { requestHandler } from "../src/gateway/handler.ts";
import { parseGatewayConfig } from "../src/gateway/index.ts";
import { Live } from "../src/gateway/live.ts";
import { RunningRequests } from "../src/gateway/running.ts";
import { TokenDoors } from "../src/gateway/token-doors.ts";
import type { Decision, Policy } from "../src/policy/index.ts";
import { silentLogger as logger } from "../src/telemetry/logger.ts";
import type { GatewayMetrics } from "../src/telemetry/metrics.ts";
import { listen } from "../src/tls/index.ts";
import { Workload } from "../src/workload/index.ts";

const identity = await Workload.open({ socket: process.env.SPIFFE_ENDPOINT_SOCKET! });
const config = parseGatewayConfig({
  listen: { name: "mesh", port: 0 },
  upstreams: { orders: { url: process.argv[2]! } },
  routes: [{ name: "orders", path: "/orders/**", upstream: "orders" }],
  policy: [{ rule: "anybody", allow: { anonymous: true } }],
  accessLog: false,
});
const clock = systemClock;
const access = await AccessLog.open(config.accessLog, logger, clock);
const metrics = { request() {}, decision() {} } as unknown as GatewayMetrics;
const running = new RunningRequests();
const doors = new TokenDoors(identity.jwt, clock);
const allowed: Decision = { verdict: "allow", reason: "policy.allowed", mode: "enforce" };
const policy = { decide: () => allowed, headers: [], namesAnonymous: true } as unknown as Policy;
const room = {
  ...new Live(config, { identity, clock, logger, metrics, running, access, doors }).room("mesh"),
  policy,
};
const listener = await listen(identity, {
  address: "127.0.0.1",
  port: 0,
  clientCertificate: "none",
  handler: requestHandler(() => room),
});
process.stdout.write(`PORT ${listener.port}\n`);
process.once("SIGTERM", () => process.exit(0));
