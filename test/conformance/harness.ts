/**
 * The black-box harness, contract version 1: this package behind two ports, for tests that look from outside only.
 *
 *     npm run -s harness:bun        (or harness:deno, harness:node)
 *
 * Thin on purpose: nothing here retries, checks or decides, and every SPIFFE ID is welcome. `SPIFFE_ENDPOINT_SOCKET` alone
 * says where the Workload API is. The X.509 port writes the client's ID and closes; the control port speaks JSON.
 */
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import process from "node:process";
import { isSpiffeError, validateJwtSvid } from "spiffe-edge";
import about from "spiffe-edge/package.json" with { type: "json" };
import { connect, listen, peerOf, unsafeAnyPeer } from "spiffe-edge/tls";
import { JwtSource, WorkloadApiClient, X509Source } from "spiffe-edge/workload";

const BODY_BYTES = 1_048_576;
/** The first JWT bundles may still be on their way when the first X.509-SVID is here. */
const FIRST_BUNDLES_MS = 5_000;

process.on("SIGTERM", () => process.exit(0));

const log = (message: string, fields: object = {}) => console.error(message, JSON.stringify(fields));
const client = new WorkloadApiClient({ logger: { debug() {}, info: log, warn: log, error: log } });
const x509 = new X509Source({ client });
const jwt = new JwtSource({ client });

type Operation = (body: Record<string, unknown>) => Promise<object> | object;

const OPERATIONS: ReadonlyMap<string, Operation> = new Map<string, Operation>([
  ["GET /v1/info", () => ({ sdk: about.name, sdk_version: about.version, language: "typescript" })],
  [
    "POST /v1/jwt/validate",
    async ({ token, audience }) => {
      if (jwt.state === "starting") await jwt.ready(AbortSignal.timeout(FIRST_BUNDLES_MS));
      const { id, claims } = await validateJwtSvid(token as string, jwt, { audience: audience as string });
      return { spiffe_id: id.uri, claims };
    },
  ],
  [
    "POST /v1/jwt/fetch",
    async ({ audience, spiffe_id }) => {
      const id = spiffe_id === "" ? undefined : (spiffe_id as string | undefined);
      const svids = await client.fetchJwtSvids({ audience: audience as string[], id });
      return { svids: svids.map((svid) => ({ spiffe_id: svid.id.uri, token: svid.token, hint: svid.hint ?? "" })) };
    },
  ],
  [
    "POST /v1/x509/dial",
    async ({ address }) => {
      const { hostname, port } = new URL(`https://${address}`);
      const host = hostname.replace(/^\[|\]$/g, "");
      const { socket, peer } = await connect({ x509 }, { host, port: Number(port), peer: unsafeAnyPeer });
      socket.resume().end();
      return { spiffe_id: peer.id.uri };
    },
  ],
]);

/** Whether the package judged what it was given and said no; everything else could not be done. */
function isRefusal(error: unknown): boolean {
  if (isSpiffeError(error, "ERR_SPIFFE_JWT_VERIFY") || isSpiffeError(error, "ERR_SPIFFE_PEER_REFUSED")) return true;
  // An answer of the Workload API that broke a rule has the rule's reason; one that never came has this one or none.
  const { reason } = isSpiffeError(error, "ERR_SPIFFE_WORKLOAD_API") ? error : {};
  return reason !== undefined && reason !== "workload.unavailable";
}

async function bodyOf(request: IncomingMessage): Promise<Record<string, unknown>> {
  let text = "";
  for await (const chunk of request.setEncoding("utf8")) {
    text += chunk;
    if (text.length > BODY_BYTES) throw new Error("the body is too large");
  }
  return text === "" ? {} : JSON.parse(text);
}

async function answer(request: IncomingMessage): Promise<[status: number, body: object]> {
  const operation = OPERATIONS.get(`${request.method} ${request.url}`);
  if (operation === undefined) return [501, { status: "unsupported" }];
  try {
    return [200, { status: "ok", ...(await operation(await bodyOf(request))) }];
  } catch (error) {
    const { message } = error as Error;
    return isRefusal(error) ? [422, { status: "rejected", message }] : [500, { status: "error", message }];
  }
}

/** Integers beyond what a number holds are written as text. */
const plain = (_name: string, value: unknown) => (typeof value === "bigint" ? value.toString() : value);

await x509.ready();
const server = await listen(
  { x509 },
  {
    address: "127.0.0.1",
    port: 0,
    throttle: false,
    onConnection: (socket) => void socket.resume().end(`${peerOf(socket).id}\n`),
  },
);
const control = createServer(async (request, response) => {
  const [status, body] = await answer(request);
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body, plain));
});
await new Promise<void>((resolve) => control.listen(0, "127.0.0.1", resolve));
console.log("SPIFFE_HARNESS_VERSION=1");
console.log(`SPIFFE_X509_PORT=${server.port}`);
console.log(`SPIFFE_CONTROL_PORT=${(control.address() as AddressInfo).port}`);
console.log("READY");
