/**
 * Clients that never end their handshake: `knock.ts PORT COUNT`. A third each say nothing, half a ClientHello, and a whole
 * one. Prints `DIALLED <n>` when all have knocked, and ends when the server has closed them all: `CLOSED <n>`.
 */
import { createServer, connect as dialTcp } from "node:net";
import process from "node:process";
import { connect as dialTls } from "node:tls";

/** Addresses that they come from, and connections of which nobody knows yet whether they were taken. */
const ADDRESSES = 100;
const WIDTH = 128;

/** The first flight of a TLS client. */
async function clientHello(): Promise<Buffer> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  const client = dialTls({ host: "127.0.0.1", port, rejectUnauthorized: false, ALPNProtocols: ["http/1.1"] });
  client.on("error", () => {});
  const hello = await new Promise<Buffer>((resolve) => {
    server.once("connection", (socket) => void socket.on("error", () => {}).once("data", resolve));
  });
  client.destroy();
  server.close();
  return hello;
}

const [port, count] = process.argv.slice(2).map(Number) as [number, number];
const hello = await clientHello();
const said = [undefined, hello.subarray(0, hello.length >> 1), hello];
let [next, closed] = [0, 0];

/** Resolves when the connection is there, or was closed before. */
function knock(turn: number): Promise<void> {
  return new Promise((resolve) => {
    const localAddress = `127.1.0.${1 + (turn % ADDRESSES)}`;
    const socket = dialTcp({ host: "127.0.0.1", port, localAddress }, () => {
      const bytes = said[turn % said.length];
      if (bytes !== undefined) socket.write(bytes);
      resolve();
    });
    socket.on("error", () => {});
    socket.resume().once("close", () => {
      closed++;
      resolve();
    });
  });
}

await Promise.all(
  Array.from({ length: WIDTH }, async () => {
    while (next < count) await knock(next++);
  }),
);
process.stdout.write(`DIALLED ${next}\n`);
while (closed < count) await new Promise((resolve) => setTimeout(resolve, 20));
process.stdout.write(`CLOSED ${closed}\n`, () => process.exit(0));
