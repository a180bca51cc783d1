import { Hono } from "hono";
import { authorize, spiffe } from "spiffe-edge/gateway";
import { Authority, asPeer } from "spiffe-edge/testing";
import { Workload } from "spiffe-edge/workload";

const authority = await Authority.start({
  trustDomain: "x0tta6bl4.local",
  entries: [{ id: "spiffe://x0tta6bl4.local/orders", socket: "orders" }],
});
const workload = await Workload.open({ socket: authority.socketFor("orders") });
const app = new Hono()
  .use(spiffe(workload))
  .get("/orders", authorize({ ids: ["spiffe://x0tta6bl4.local/web"] }), (c) => c.json({ you: c.var.peer.id }));

const web = await app.request("/orders", {}, asPeer("spiffe://x0tta6bl4.local/web"));
const guest = await app.request("/orders", {}, asPeer("spiffe://x0tta6bl4.local/guest"));
console.log(web.status, guest.status); // 200 403
await workload.close();
await authority.close();
