/** The demo's requests to the gateway, timed: with a certificate, or with none and perhaps a token. */
import { type ClientRequest, request } from "node:http";
import type { Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { SpiffeError } from "../../base/index.ts";
import { encodePem } from "../../encoding/index.ts";
import { connect } from "../../tls/index.ts";
import type { Workload } from "../../workload/index.ts";
import { Certificate, spiffeIdOf } from "../../x509/index.ts";

const PATH = "/orders";
const TIMEOUT_MS = 10_000;

/** Where the gateway is, and who has to answer there. */
export interface Target {
  readonly port: number;
  readonly id: string;
}

/** What came back. */
export interface Answer {
  readonly status: number;
  readonly body: string;
  /** Milliseconds of the TLS handshake, verification of the gateway included. */
  readonly handshakeMs: number;
  /** Milliseconds of everything, handshake included. */
  readonly totalMs: number;
}

/** `GET /orders` over mTLS with the workload's X.509-SVID. */
export function callWithCertificate(workload: Workload, target: Target): Promise<Answer> {
  return timed(async () => {
    const options = { host: "127.0.0.1", port: target.port, peer: target.id, alpn: ["http/1.1"] };
    return (await connect(workload, options)).socket;
  });
}

/** `GET /orders` over TLS without a client certificate; the gateway is verified all the same. */
export function callWithoutCertificate(workload: Workload, target: Target, token?: string): Promise<Answer> {
  return timed(() => dial(workload, target), token);
}

async function timed(open: () => Promise<Socket>, token?: string): Promise<Answer> {
  const start = performance.now();
  const socket = await open();
  const handshakeMs = performance.now() - start;
  try {
    const { status, body } = await get(socket, token);
    return { status, body, handshakeMs, totalMs: performance.now() - start };
  } finally {
    socket.destroy();
  }
}

/**
 * TLS that the runtime itself verifies: the chain against the trust domain's roots, and the SPIFFE ID in place of the
 * host name. The dialler of this package always shows the own certificate, which this caller has to do without.
 */
function dial(workload: Workload, target: Target): Promise<Socket> {
  const bundle = workload.bundles.x509BundleFor(workload.id.trustDomain);
  if (bundle === undefined) throw new SpiffeError("ERR_SPIFFE_NOT_READY", `No bundle of ${workload.id.trustDomain}`);
  return new Promise((resolve, reject) => {
    const socket = connectTls({
      host: "127.0.0.1",
      port: target.port,
      ca: bundle.authorities.map(({ der }) => encodePem("CERTIFICATE", der)).join(""),
      minVersion: "TLSv1.3",
      ALPNProtocols: ["http/1.1"],
      checkServerIdentity: (_host, certificate) => {
        const parsed = Certificate.safeParse(new Uint8Array(certificate.raw));
        const id = parsed.ok ? spiffeIdOf(parsed.value) : parsed;
        return id.ok && id.value.equals(target.id) ? undefined : new Error(`the server is not ${target.id}`);
      },
    });
    socket.setTimeout(TIMEOUT_MS, () => socket.destroy(new Error("the gateway did not answer in time")));
    socket.once("secureConnect", () => resolve(socket));
    socket.once("error", reject);
  });
}

function get(socket: Socket, token: string | undefined): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const headers = { host: "127.0.0.1", ...(token !== undefined && { authorization: `Bearer ${token}` }) };
    const outgoing: ClientRequest = request({ createConnection: () => socket, path: PATH, headers }, (response) => {
      let body = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => {
        body += chunk;
      });
      response.once("end", () => resolve({ status: response.statusCode ?? 0, body }));
      response.once("error", reject);
    });
    outgoing.setTimeout(TIMEOUT_MS, () => outgoing.destroy(new Error("the gateway did not answer in time")));
    outgoing.once("error", reject);
    outgoing.end();
  });
}
