/** What the tests of bytes share: upstreams that count, numbered payloads, clients that half-close. */
import { createServer, connect as dialPlain, type Server, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { connect, type TlsIdentity } from "../../tls/index.ts";
import { GATEWAY, requestLog } from "../world.testing.ts";

/** A payload that only one number makes: which bytes, and how many, tell whose they are. */
export function payload(number: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at + 8 <= length; at += 8) {
    bytes.writeUInt32BE(number, at);
    bytes.writeUInt32BE(at, at + 4);
  }
  return bytes;
}

/** Everything that comes until the other side has said all, or breaks off. */
export function whole(socket: Duplex): Promise<{ bytes: Buffer; clean: boolean }> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    const over = (clean: boolean) => resolve({ bytes: Buffer.concat(chunks), clean });
    socket.on("data", (chunk: Buffer) => void chunks.push(chunk));
    socket.on("error", () => {});
    socket.once("end", () => over(true));
    if (socket.destroyed) over(false);
    else socket.once("close", () => over(false));
  });
}

/** A plain server on loopback or a unix socket that counts what reaches it. */
export class ByteServer {
  /** Those that run: a test that fails leaves its own. */
  static readonly #running = new Set<ByteServer>();
  connections = 0;
  open = 0;
  bytes = 0;
  readonly sockets: Socket[] = [];
  readonly #server: Server;

  constructor(serve: (socket: Socket) => void) {
    this.#server = createServer({ allowHalfOpen: true }, (socket) => {
      this.connections++;
      this.open++;
      this.sockets.push(socket);
      socket.on("error", () => {});
      socket.once("close", () => {
        this.open--;
      });
      socket.on("data", (chunk: Buffer) => {
        this.bytes += chunk.length;
      });
      serve(socket);
    });
  }

  async start(at: { path: string } | { port: number } = { port: 0 }): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen({ host: "127.0.0.1", ...at }, resolve));
    ByteServer.#running.add(this);
    return this;
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port;
  }

  get url(): string {
    return `tcp://127.0.0.1:${this.port}`;
  }

  /** Closes all that run, for the end of a file. */
  static async closeAll(): Promise<void> {
    for (const one of ByteServer.#running) await one.close();
  }

  async close(): Promise<void> {
    ByteServer.#running.delete(this);
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** Sends everything back, and its end after the caller's. */
export const echo = (socket: Socket): void => void socket.pipe(socket);

/** Answers only after the caller has said all: how many bytes came, and the same bytes. */
export function afterAll(socket: Socket): void {
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => void chunks.push(chunk));
  socket.once("end", () => socket.end(Buffer.concat(chunks)));
}

/** A verified connection to a gateway, on an open socket so that its reading can be stopped everywhere. */
export async function dial(identity: TlsIdentity, port: number): Promise<Duplex> {
  const plain = dialPlain(port, "127.0.0.1");
  plain.on("error", () => {});
  try {
    const { socket } = await connect(identity, { socket: plain, peer: GATEWAY, timeoutMs: 60_000 });
    socket.allowHalfOpen = true;
    return socket;
  } catch (error) {
    plain.destroy();
    throw error;
  }
}

/** Says all, and hears all. */
export async function exchange(
  identity: TlsIdentity,
  port: number,
  bytes: Uint8Array,
): Promise<{ bytes: Buffer; clean: boolean }> {
  const socket = await dial(identity, port);
  const heard = whole(socket);
  socket.end(bytes);
  return heard;
}

/** A logger that keeps the fields of `connection` lines. */
export const connectionLog = (): ReturnType<typeof requestLog> => requestLog("connection");
