/**
 * The load generator, the same for every stack: `load.ts JOB`. Raw TLS with prebuilt HTTP/1.1 requests, so that it
 * costs little beside what it measures. Prints one JSON object `{ latencies, slices, statuses }`, microseconds.
 */
import { readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import { connect, type TLSSocket } from "node:tls";
import { ResponseReader } from "./lib/response-reader.ts";

/** What the generator is told. */
export interface LoadJob {
  port: number;
  path: string;
  /** PEM: roots for the server, and certificate and key of the client where it shows one. */
  ca: string;
  cert?: string;
  key?: string;
  /** In place of one client many, used in turn; a connection that is closed without an answer then counts as status 0. */
  leaves?: { cert: string; key: string }[];
  /** Bearer tokens, used in turn. */
  tokens?: string[];
  connections: number;
  requests: number;
  warmup: number;
  /** A new connection per request. */
  reconnect?: boolean;
  out: string;
}

/** What it hands back. */
export interface LoadResult {
  latencies: number[];
  /** Wall time ÷ count over each slice of finished requests. */
  slices: number[];
  statuses: Record<string, number>;
}

const SLICE = 200;
const job = JSON.parse(readFileSync(process.argv[2]!, "utf8")) as LoadJob;
const micros = (): number => Number(process.hrtime.bigint()) / 1000;

function dial(i: number): Promise<TLSSocket> {
  const { cert, key } = job.leaves?.[i % job.leaves.length] ?? job;
  return new Promise((resolve, reject) => {
    const socket = connect({
      host: "127.0.0.1",
      port: job.port,
      ca: job.ca,
      ...(cert !== undefined && { cert }),
      ...(key !== undefined && { key }),
      ALPNProtocols: ["http/1.1"],
      // An SVID has no host name; the chain is still verified against the bundle.
      checkServerIdentity: () => undefined,
    });
    socket.setNoDelay(true);
    socket.once("secureConnect", () => resolve(socket));
    socket.once("error", reject);
  });
}

function requestBytes(i: number): Buffer {
  const token = job.tokens?.[i % job.tokens.length];
  const authorization = token === undefined ? "" : `authorization: Bearer ${token}\r\n`;
  const close = job.reconnect ? "connection: close\r\n" : "";
  return Buffer.from(`GET ${job.path} HTTP/1.1\r\nhost: 127.0.0.1:${job.port}\r\n${authorization}${close}\r\n`);
}

/** One request on an open connection; resolves with the status. */
function exchange(socket: TLSSocket, reader: ResponseReader, bytes: Buffer): Promise<number> {
  return new Promise((resolve, reject) => {
    const settle = (act: () => void) => {
      socket.off("data", onData);
      socket.off("error", onEnd);
      socket.off("close", onEnd);
      act();
    };
    const onEnd = (error?: unknown) =>
      settle(() => reject(error instanceof Error ? error : new Error("the connection closed before the answer")));
    const onData = (chunk: Buffer) => {
      const status = reader.push(chunk);
      if (status !== undefined) settle(() => resolve(status));
    };
    socket.on("data", onData);
    socket.once("error", onEnd);
    socket.once("close", onEnd);
    socket.write(bytes);
  });
}

async function runLoad(requests: number, first: number): Promise<LoadResult> {
  const result: LoadResult = { latencies: [], slices: [], statuses: {} };
  let next = 0;
  let sliceStart = micros();
  const finished = (start: number, status: number) => {
    const end = micros();
    result.latencies.push(end - start);
    result.statuses[status] = (result.statuses[status] ?? 0) + 1;
    if (result.latencies.length % SLICE === 0) {
      result.slices.push((end - sliceStart) / SLICE);
      sliceStart = end;
    }
  };
  const worker = async () => {
    let socket: TLSSocket | undefined;
    const reader = new ResponseReader();
    while (next < requests) {
      const i = first + next++;
      const bytes = requestBytes(i);
      const start = micros();
      if (socket === undefined || job.reconnect) socket = await dial(i);
      const status = await exchange(socket, reader, bytes).catch((error: unknown) => {
        if (job.leaves === undefined) throw error;
        return 0;
      });
      finished(start, status);
      if (job.reconnect) socket.destroy();
    }
    socket?.destroy();
  };
  await Promise.all(Array.from({ length: job.connections }, worker));
  return result;
}

await runLoad(job.warmup, 0);
writeFileSync(job.out, JSON.stringify(await runLoad(job.requests, 0)));
process.exit(0);
