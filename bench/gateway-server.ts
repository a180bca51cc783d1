/**
 * The gateway under measurement: `gateway-server.ts UPSTREAM-URL CALLER-ID ACCESS-LOG`. Prints `PORT <mesh> <edge>`:
 * one listener for certificates, one for tokens. A hundred rules, the deciding one last, and a line per request.
 */
import process from "node:process";
import { createGateway } from "../src/gateway/index.ts";
import { BENCH_TRUST_DOMAIN, GATEWAY_AUDIENCE } from "./lib/environment.ts";

const [url = "", caller = "", accessLog = ""] = process.argv.slice(2);
const gateway = await createGateway({
  status: { port: 0 },
  listen: [
    { name: "mesh", address: "127.0.0.1", port: 0, clientCertificate: "require" },
    { name: "edge", address: "127.0.0.1", port: 0, clientCertificate: "none" },
  ],
  upstreams: { orders: { url } },
  routes: [{ name: "orders", path: "/orders/**", audience: [GATEWAY_AUDIENCE], upstream: "orders" }],
  policy: [
    ...Array.from({ length: 99 }, (_, i) => ({
      rule: `other-${i}`,
      allow: { ids: [`spiffe://${BENCH_TRUST_DOMAIN}/other/${i}`] },
      path: `/orders/${i}/**`,
    })),
    { rule: "bench-reads", allow: { ids: [caller] }, methods: ["GET"], routes: ["orders"] },
  ],
  accessLog: { file: accessLog, everyRefusal: true },
});
process.stdout.write(`PORT ${gateway.listeners.map(({ port }) => port).join(" ")}\n`);
process.once("SIGTERM", async () => {
  await gateway.close();
  process.exit(0);
});
