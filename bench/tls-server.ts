/**
 * The mTLS listener under measurement: `tls-server.ts [plain | guarded]`, identity by `SPIFFE_ENDPOINT_SOCKET`. `plain` asks
 * clients for no certificate, `guarded` shuts addresses out as by default. Prints `PORT <port>`, ends on SIGTERM.
 */
import process from "node:process";
import { connectionPeer, listen } from "../src/tls/index.ts";
import { X509Source } from "../src/workload/index.ts";

const clientCertificate = process.argv[2] === "plain" ? "none" : "require";
const source = await X509Source.open();
const server = await listen(
  { x509: source },
  {
    port: 0,
    address: "127.0.0.1",
    clientCertificate,
    // Elsewhere all clients come from one address, and some are refused on purpose.
    ...(process.argv[2] === "guarded" ? {} : { throttle: false }),
    handler: (request, response) => void response.end(`for ${connectionPeer(request)?.peer?.id ?? "anybody"}`),
  },
);
process.stdout.write(`PORT ${server.port}\n`);
process.once("SIGTERM", async () => {
  await server.close({ deadlineMs: 0 });
  await source.close();
  process.exit(0);
});
