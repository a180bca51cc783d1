import type { IncomingMessage, ServerResponse } from "node:http";
import express from "express";
import { listen, peerOf } from "spiffe-edge/tls";
import { Workload } from "spiffe-edge/workload";

const workload = await Workload.open(); // SPIFFE_ENDPOINT_SOCKET
const app = express().get("/orders", (req, res) => {
  const { id } = peerOf(req); // verified before the request was read
  if (id.uri === "spiffe://x0tta6bl4.local/web") res.json({ you: id });
  else res.sendStatus(403);
});
const server = await listen(workload, {
  port: Number(process.env.PORT ?? 8443),
  handler: (req, res) => {
    // Express knows HTTP/1.1 alone
    if (req.httpVersionMajor === 1) app(req as IncomingMessage, res as ServerResponse);
    else {
      res.writeHead(505);
      res.end();
    }
  },
});
console.log(`${workload.id} serves https://127.0.0.1:${server.port}/orders`);
process.once("SIGTERM", () => server.close());
await server.closed;
await workload.close();
