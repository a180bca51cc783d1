/** The demo upstream: plain HTTP on loopback, answers `GET /orders` and says whom the gateway let through. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

/** A running upstream. */
export interface Upstream {
  readonly url: string;
  close(): Promise<void>;
}

/** Starts the upstream on a free port of 127.0.0.1. */
export function startUpstream(): Promise<Upstream> {
  const server = createServer((request, response) => {
    const found = request.url?.split("?", 1)[0] === "/orders";
    const body = JSON.stringify(found ? { orders: ["tea", "bread"], caller: request.headers["x-spiffe-id"] } : {});
    response.writeHead(found ? 200 : 404, {
      "content-type": "application/json",
      "content-length": String(body.length),
    });
    response.end(body);
  });
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      resolve({
        url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
        close: () =>
          new Promise((done) => {
            server.close(() => done());
            server.closeAllConnections();
          }),
      });
    });
  });
}
