import fastify from "fastify";
import { listen, peerOf } from "spiffe-edge/tls";
import { Workload } from "spiffe-edge/workload";

const workload = await Workload.open(); // SPIFFE_ENDPOINT_SOCKET
const app = fastify();
app.get("/orders", (request, reply) => {
  const { id } = peerOf(request.raw); // verified before the request was read
  if (id.uri === "spiffe://x0tta6bl4.local/web") return reply.send({ you: id });
  return reply.code(403).send();
});
await app.ready();
const server = await listen(workload, {
  port: Number(process.env.PORT ?? 8443),
  handler: (req, res) => app.routing(req as never, res as never),
});
console.log(`${workload.id} serves https://127.0.0.1:${server.port}/orders`);
process.once("SIGTERM", () => server.close());
await server.closed;
await app.close();
await workload.close();
