/** What the tests of drivers share: a trust domain, its workloads, and peers of the same domain that nobody asked for. */
import assert from "node:assert/strict";
import { createServer as createTcpServer, connect as dialTcp, type Server, type Socket } from "node:net";
import { createServer as createTlsServer, type TLSSocket } from "node:tls";
import { Authority } from "../../src/authority/index.ts";
import { isSpiffeError } from "../../src/base/index.ts";
import { Workload } from "../../src/workload/index.ts";
import { eventually } from "../support/eventually.ts";

export const SERVER = "spiffe://seams.example/server";

/** One authority and three workloads of one trust domain. */
export interface World {
  readonly authority: Authority;
  /** Dials, and expects {@link SERVER}. */
  readonly app: Workload;
  readonly server: Workload;
  /** Has a valid identity of the same domain, and is not who is expected. */
  readonly intruder: Workload;
  /** Lets the CA change; resolves when every workload has an SVID of the new one. */
  rotate(): Promise<void>;
  close(): Promise<void>;
}

export async function openWorld(): Promise<World> {
  const entries = ["app", "server", "intruder"].map((name) => ({ id: `spiffe://seams.example/${name}`, socket: name }));
  const authority = await Authority.start({ trustDomain: "seams.example", prepareMs: 200, entries });
  const open = (name: string) => Workload.open({ socket: authority.socketFor(name) });
  const [app, server, intruder] = await Promise.all([open("app"), open("server"), open("intruder")]);
  const all = [app, server, intruder];
  return {
    authority,
    app,
    server,
    intruder,
    async rotate() {
      const before = all.map((workload) => workload.x509.x509Svid());
      await authority.rotate();
      await eventually(() => all.every((workload, i) => workload.x509.x509Svid() !== before[i]));
    },
    async close() {
      for (const workload of all) await workload.close();
      await authority.close();
    },
  };
}

/** A server that only counts what it gets after the handshake. */
export interface Counting {
  readonly port: number;
  bytes: number;
  connections: number;
  open: number;
  close(): Promise<void>;
}

/** What a protocol says before TLS: called with the connection, resolves when the handshake begins. */
export type Prelude = (tcp: Socket) => Promise<void>;

/** Counts the application bytes that a client of this workload's SVID sends. */
export async function counting(as: Workload, alpn: string[] = [], prelude?: Prelude): Promise<Counting> {
  const { certificates: cert, privateKey: key } = as.x509.x509Svid().toPem();
  const sockets = new Set<Socket>();
  const servers: Server[] = [];
  const state: Counting = {
    port: 0,
    bytes: 0,
    connections: 0,
    open: 0,
    async close() {
      for (const socket of sockets) socket.destroy();
      for (const server of servers.splice(0)) await new Promise((resolve) => server.close(resolve));
    },
  };
  const watch = (socket: Socket) => {
    socket.on("error", () => {});
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  };
  const tls = createTlsServer({ cert, key, ALPNProtocols: alpn, requestCert: true, rejectUnauthorized: false });
  tls.on("connection", (socket: Socket) => {
    watch(socket);
    state.connections++;
    state.open++;
    socket.once("close", () => state.open--);
  });
  tls.on("secureConnection", (socket: TLSSocket) => {
    watch(socket);
    socket.on("data", (chunk: Buffer) => {
      state.bytes += chunk.length;
    });
    socket.on("end", () => socket.destroy());
  });
  tls.on("tlsClientError", () => {});
  servers.push(tls);
  let port = await listening(tls);
  if (prelude !== undefined) {
    const relay = relayTo(port, prelude, watch);
    servers.push(relay);
    port = await listening(relay);
  }
  return Object.assign(state, { port });
}

/** A server that talks first, and then passes on what comes to a port. */
export function relayTo(port: number, prelude: Prelude, watch: (socket: Socket) => void = quiet): Server {
  return createTcpServer((client) => {
    watch(client);
    void prelude(client).then(() => {
      const upstream = dialTcp(port, "127.0.0.1");
      watch(upstream);
      upstream.pipe(client).pipe(upstream);
      client.once("close", () => upstream.destroy());
      upstream.once("close", () => client.destroy());
    });
  });
}

function quiet(socket: Socket): void {
  socket.on("error", () => {});
}

export function listening(server: Server): Promise<number> {
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => resolve((server.address() as { port: number }).port));
  });
}

/**
 * That a driver sends nothing to a wrong peer of the same trust domain and fails with the reason, and that the twin with
 * the expected identity gets what the driver sends.
 *
 * @param go makes the driver dial `port` and send something; rejects with what the driver gave as the error
 */
export async function assertOnlyTheExpectedPeer(
  world: World,
  go: (port: number) => Promise<unknown>,
  { alpn = [], prelude }: { alpn?: string[]; prelude?: Prelude } = {},
): Promise<void> {
  const wrong = await counting(world.intruder, alpn, prelude);
  const right = await counting(world.server, alpn, prelude);
  try {
    for (let i = 0; i < 10; i++) {
      const error = await go(wrong.port).then(
        () => assert.fail("the wrong peer was taken"),
        (reason: unknown) => reason,
      );
      assert.match(told(error), /is not who was expected/);
    }
    assert.ok(wrong.connections >= 10, `${wrong.connections} connections`);
    await eventually(() => wrong.open === 0);
    assert.equal(wrong.bytes, 0, "the wrong peer got bytes");
    const sent = go(right.port).catch(() => {});
    await eventually(() => right.bytes > 0);
    await right.close();
    await sent;
  } finally {
    await wrong.close();
    await right.close();
  }
}

/** Every message in an error and its causes. */
function told(error: unknown): string {
  const messages: string[] = [];
  for (let at = error as Error | undefined; at !== undefined && at !== null; at = at.cause as Error | undefined) {
    messages.push(String(at.message ?? at));
    if (at instanceof AggregateError) messages.push(...at.errors.map(told));
    if (isSpiffeError(at)) messages.push(at.code);
  }
  return messages.join("; ");
}
