/** TLS servers that take whoever comes and count what they are told. */
import type { Socket } from "node:net";
import { createServer, type Server, type TLSSocket } from "node:tls";
import type { Shown } from "./wire.testing.ts";

/** What a server has got so far. */
export interface Counting {
  readonly port: number;
  /** Application bytes, which come after the handshake alone. */
  bytes: number;
  /** TCP connections so far, and those that are open. */
  connections: number;
  open: number;
}

/** Servers of a test file, closed at its end. */
export class CountingServers {
  readonly #servers: Server[] = [];
  readonly #left = new Set<Socket>();

  /** @param show the certificate that it presents; it asks for one and judges none */
  async open(show: NonNullable<Shown>, alpn: readonly string[], more: object = {}): Promise<Counting> {
    const state = { port: 0, bytes: 0, connections: 0, open: 0 };
    const server = createServer({
      ...show,
      ALPNProtocols: [...alpn],
      requestCert: true,
      rejectUnauthorized: false,
      ...more,
    });
    server.on("connection", (socket: Socket) => {
      state.connections++;
      state.open++;
      this.#left.add(socket);
      socket.once("close", () => {
        state.open--;
        this.#left.delete(socket);
      });
    });
    server.on("secureConnection", (socket: TLSSocket) => {
      socket.on("error", () => {});
      socket.on("data", (chunk: Buffer) => {
        state.bytes += chunk.length;
      });
      socket.on("end", () => socket.destroy());
    });
    server.on("tlsClientError", () => {});
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    state.port = (server.address() as { port: number }).port;
    this.#servers.push(server);
    return state;
  }

  close(): void {
    for (const server of this.#servers) server.close();
    for (const socket of this.#left) socket.destroy();
  }
}
