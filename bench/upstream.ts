/** The upstream of the proxy benches: a fixed small answer over plain HTTP on loopback; prints its port. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import process from "node:process";

const body = JSON.stringify({ orders: [1, 2, 3] });
const server = createServer((_request, response) => {
  response.writeHead(200, { "content-type": "application/json", "content-length": String(body.length) });
  response.end(body);
});
server.keepAliveTimeout = 60_000;
server.listen(0, "127.0.0.1", () => process.stdout.write(`PORT ${(server.address() as AddressInfo).port}\n`));
