import { Hono } from "hono";
import { authorize, serve, spiffe } from "spiffe-edge/gateway";
import { Workload } from "spiffe-edge/workload";

const gateway = "spiffe://x0tta6bl4.local/gateway";
const workload = await Workload.open(); // SPIFFE_ENDPOINT_SOCKET
const app = new Hono()
  .use(spiffe(workload, { forwarded: { from: [gateway] } }))
  .get("/orders", authorize({ ids: [gateway] }), (c) => c.json({ gateway: c.var.peer.id, caller: c.var.caller }));
const server = await serve(app, { workload, port: Number(process.env.PORT ?? 8443) });
console.log(`${workload.id} serves https://127.0.0.1:${server.port}/orders`);
await server.closed; // SIGTERM or Ctrl-C: drain
await workload.close();
