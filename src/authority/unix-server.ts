/** gRPC over one unix socket. */
import { chmod, unlink } from "node:fs/promises";
import { createServer, type ServerHttp2Session } from "node:http2";
import type { Socket } from "node:net";
import type { ConnectRouter, Interceptor } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { LIMITS, SpiffeError } from "../base/index.ts";
import { unlinkAtExit } from "./exit-cleanup.ts";

/** How long a connection may take to finish its streams when the server closes. */
const GRACE_MS = 100;

export interface UnixServer {
  /** Closes the listener and every connection, and removes the socket. */
  close(): Promise<void>;
}

/**
 * Serves gRPC, and only gRPC, on a socket of mode 0600.
 *
 * @param path absolute path, free
 * @throws `ERR_SPIFFE_AUTHORITY` when the socket cannot be opened
 */
export async function serveUnix(
  path: string,
  routes: (router: ConnectRouter) => void,
  interceptors: Interceptor[],
): Promise<UnixServer> {
  const handler = connectNodeAdapter({
    routes,
    interceptors,
    connect: false,
    grpcWeb: false,
    readMaxBytes: LIMITS.grpcMessage,
  });
  const server = createServer({}, handler);
  const sessions = new Set<ServerHttp2Session>();
  server.on("session", (session) => {
    sessions.add(session);
    session.once("close", () => sessions.delete(session));
    session.on("error", () => {});
  });
  server.on("sessionError", () => {});
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve, reject) => {
    server.on("error", (cause) => {
      reject(new SpiffeError("ERR_SPIFFE_AUTHORITY", `Cannot listen on ${path}`, { phase: "sockets", cause }));
    });
    server.listen(path, resolve);
  });
  const forget = unlinkAtExit(path);
  await chmod(path, 0o600);
  return {
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const session of sessions) session.close();
      // a client that keeps its half of the connection open must not hold up the end
      const impatience = setTimeout(() => {
        for (const socket of sockets) socket.destroy();
      }, GRACE_MS);
      await closed;
      clearTimeout(impatience);
      await unlink(path).catch(() => {});
      forget();
    },
  };
}
