/** A gRPC transport to one Workload API: HTTP/2 over a Unix socket, or over TCP where the endpoint says so. */
import { connect, type Socket } from "node:net";
import type { Transport } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { LIMITS } from "../base/limits.ts";
import type { Endpoint } from "./endpoint.ts";

/** A transport and the one connection under it. */
export interface OpenTransport {
  readonly transport: Transport;
  /** Ends the connection and with it every open stream. */
  close(): void;
}

/** More often than every five minutes a gRPC server takes for abuse; it is there to find a half-open TCP connection. */
const PING_INTERVAL_MS = 330_000;

/** Makes a transport; nothing is dialled before the first call, and a lost connection is dialled anew by the next. */
export function openTransport(endpoint: Endpoint): OpenTransport {
  const dial = (): Socket =>
    endpoint.kind === "unix" ? connect(endpoint.path) : connect({ host: endpoint.host, port: endpoint.port });
  // The URL only fills the :authority header: the socket comes from `dial`.
  const baseUrl = "http://localhost";
  const sessionManager = new Http2SessionManager(
    baseUrl,
    { pingIntervalMs: PING_INTERVAL_MS },
    { createConnection: dial },
  );
  const transport = createGrpcTransport({
    baseUrl,
    sessionManager,
    // Compression buys nothing between two processes of one host.
    acceptCompression: [],
    readMaxBytes: LIMITS.grpcMessage,
    writeMaxBytes: LIMITS.grpcMessage,
  });
  return { transport, close: () => sessionManager.abort() };
}
