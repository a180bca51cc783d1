import { createFetch } from "spiffe-edge/tls";
import { Workload } from "spiffe-edge/workload";

const workload = await Workload.open(); // SPIFFE_ENDPOINT_SOCKET
const call = createFetch(workload, { peer: "spiffe://x0tta6bl4.local/orders" });
const url = process.env.ORDERS_URL ?? "https://127.0.0.1:8443/orders";
const answer = await call(url, { signal: AbortSignal.timeout(2_000) });
console.log(answer.status, await answer.text());
await workload.close();
