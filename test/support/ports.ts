/** Ports that programs of tests open themselves, where a test has to know the number before. */
import { createServer, type Server } from "node:net";

/** Below the ports that the system gives to callers and to listeners on port 0 (32768 on Linux), so none of those comes
 * between the look and the opening. */
const LOWEST = 15_000;
const HIGHEST = 32_000;
const MAX_TRIES = 200;

function listen(port: number): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(undefined));
    server.listen(port, "127.0.0.1", () => resolve(server));
  });
}

const close = (server: Server) => new Promise<void>((resolve) => server.close(() => resolve()));

/** The first of so many ports in a row of 127.0.0.1 that nobody listens on. */
export async function freePort(inARow = 1): Promise<number> {
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const first = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST - inARow));
    const servers = await Promise.all(Array.from({ length: inARow }, (_, i) => listen(first + i)));
    await Promise.all(servers.map((server) => server && close(server)));
    if (servers.every((server) => server !== undefined)) return first;
  }
  throw new Error(`Expected ${inARow} free ports in a row, but found none in ${MAX_TRIES} tries`);
}

/** A port of 127.0.0.1 that somebody listens on until it is freed, and nobody but the test after that. */
export async function takenPort(): Promise<{ port: number; free(): Promise<void> }> {
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const port = await freePort();
    const server = await listen(port);
    if (server !== undefined) return { port, free: () => close(server) };
  }
  throw new Error(`Expected a free port, but found none in ${MAX_TRIES} tries`);
}
