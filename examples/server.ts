import { Hono } from "hono";
import { authorize, serve, spiffe } from "spiffe-edge/gateway";
import { Workload } from "spiffe-edge/workload";

await using workload = await Workload.open(); // SPIFFE_ENDPOINT_SOCKET
const app = new Hono()
  .use(spiffe(workload, { jwt: { audience: "spiffe://x0tta6bl4.local/orders" } }))
  .get("/orders", authorize({ ids: ["spiffe://x0tta6bl4.local/web"] }), (c) => c.json({ you: c.var.peer.id }));
await using server = await serve(app, { workload, port: Number(process.env.PORT ?? 8443) });
console.log(`${workload.id} serves https://127.0.0.1:${server.port}/orders`);
await server.closed; // SIGTERM or Ctrl-C: drain, then server and workload close
