/**
 * One client for proxies that take turns: `proxies-load.ts JOB`. It keeps its connections to each of them, so that it is as
 * warm for one as for another, and what else the machine does falls on all. Writes a list of results, one for each proxy.
 */
import { readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import { connect, type TLSSocket } from "node:tls";
import { ResponseReader } from "./lib/response-reader.ts";
import { cpuOf } from "./lib/serving.ts";
import type { LoadResult } from "./load.ts";

/** What it is told. */
export interface ProxiesJob {
  /** Port and process of each. */
  proxies: { port: number; pid: number }[];
  /** PEM: roots for the servers, and certificate and key of the client. */
  ca: string;
  cert: string;
  key: string;
  path: string;
  /** To each proxy. */
  connections: number;
  /** Of a turn. */
  requests: number;
  /** Turns of each proxy that count, and those before. */
  turns: number;
  warmTurns: number;
  out: string;
}

/** What it hands back of one proxy. */
export interface ProxyResult extends LoadResult {
  /** Requests of all turns. */
  sent: number;
  /** CPU of its process in those that count; 0 where the system does not tell. */
  micros: number;
}

const SLICE = 200;
const job = JSON.parse(readFileSync(process.argv[2]!, "utf8")) as ProxiesJob;
const micros = (): number => Number(process.hrtime.bigint()) / 1000;

/** A proxy and the connections to it. */
class Client {
  readonly result: ProxyResult = { latencies: [], slices: [], statuses: {}, sent: 0, micros: 0 };
  readonly #pid: number;
  readonly #request: Buffer;
  readonly #lines: { socket: TLSSocket; since: number; heard: (status: number) => void }[] = [];

  private constructor({ port, pid }: { port: number; pid: number }) {
    this.#pid = pid;
    this.#request = Buffer.from(`GET ${job.path} HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\n\r\n`);
  }

  static async open(proxy: { port: number; pid: number }): Promise<Client> {
    const client = new Client(proxy);
    for (let i = 0; i < job.connections; i++) await client.#dial(proxy.port);
    return client;
  }

  async #dial(port: number): Promise<void> {
    const { ca, cert, key } = job;
    const where = { host: "127.0.0.1", port, ALPNProtocols: ["http/1.1"] };
    // An SVID has no host name; the chain is still verified against the bundle.
    const socket = connect({ ...where, ca, cert, key, checkServerIdentity: () => undefined });
    await new Promise<void>((resolve, reject) => socket.once("secureConnect", resolve).once("error", reject));
    socket.setNoDelay(true);
    socket.once("close", () => {
      throw new Error(`the proxy on port ${port} closed a connection`);
    });
    const line = { socket, since: 0, heard: (_status: number) => {} };
    const reader = new ResponseReader();
    socket.on("data", (chunk: Buffer) => {
      const status = reader.push(chunk);
      if (status !== undefined) line.heard(status);
    });
    this.#lines.push(line);
  }

  /** One request after the other on each connection, until so many are answered. */
  async turn(counts: boolean): Promise<void> {
    const { result } = this;
    const cpu = cpuOf(this.#pid);
    let [sent, answered, sliceStart] = [0, 0, micros()];
    await new Promise<void>((resolve) => {
      for (const line of this.#lines) {
        const send = () => {
          if (sent === job.requests) return;
          sent++;
          line.since = micros();
          line.socket.write(this.#request);
        };
        line.heard = (status) => {
          const now = micros();
          answered++;
          if (counts) {
            result.latencies.push(now - line.since);
            result.statuses[status] = (result.statuses[status] ?? 0) + 1;
            if (answered % SLICE === 0) result.slices.push((now - sliceStart) / SLICE);
          }
          if (answered % SLICE === 0) sliceStart = now;
          if (answered === job.requests) resolve();
          else send();
        };
        send();
      }
    });
    result.sent += sent;
    const after = cpuOf(this.#pid);
    if (counts && cpu !== undefined && after !== undefined) result.micros += after - cpu;
  }
}

const clients: Client[] = [];
for (const proxy of job.proxies) clients.push(await Client.open(proxy));
for (let turn = -job.warmTurns; turn < job.turns; turn++) {
  for (const client of turn % 2 === 0 ? clients : [...clients].reverse()) await client.turn(turn >= 0);
}
writeFileSync(job.out, JSON.stringify(clients.map(({ result }) => result)));
process.exit(0);
