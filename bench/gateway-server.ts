/**
 * The gateway under measurement: `gateway-server.ts UPSTREAM-URL CALLER-ID ACCESS-LOG`. Prints `PORT <mesh> <edge>`:
 * one listener for certificates, one for tokens. Writes a line per request, as in production.
 */
import { createWriteStream } from "node:fs";
import process from "node:process";
import { createGateway } from "../src/gateway/index.ts";
import { jsonLogger, silentLogger } from "../src/telemetry/logger.ts";
import { GATEWAY_AUDIENCE } from "./lib/environment.ts";

const [url = "", caller = "", accessLog = ""] = process.argv.slice(2);
const log = createWriteStream(accessLog);
const lines = jsonLogger((line) => log.write(line));
const gateway = await createGateway(
  {
    status: { port: 0 },
    listen: [
      { name: "mesh", address: "127.0.0.1", port: 0, clientCertificate: "require" },
      { name: "edge", address: "127.0.0.1", port: 0, clientCertificate: "none" },
    ],
    upstreams: { orders: { url } },
    routes: [{ name: "orders", path: "/orders/**", audience: [GATEWAY_AUDIENCE], upstream: "orders" }],
    policy: [{ rule: "bench-reads", allow: { ids: [caller] }, methods: ["GET"], routes: ["orders"] }],
  },
  {
    logger: { ...silentLogger, info: (message, fields) => void (message === "request" && lines.info(message, fields)) },
  },
);
process.stdout.write(`PORT ${gateway.listeners.map(({ port }) => port).join(" ")}\n`);
process.once("SIGTERM", async () => {
  await gateway.close();
  await new Promise((done) => log.end(done));
  process.exit(0);
});
