/**
 * Both sides of `neighbour`: `neighbour-load.ts JOB`. A caller that sends one request after another at fixed times and
 * waits for none, so that each is late that comes while the server is busy; or others that dial, until SIGTERM.
 */
import { readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import { connect, createSecureContext, type SecureContext, type TLSSocket } from "node:tls";
import type { HostileLeaf } from "./lib/hostile-leaves.ts";

/** What a caller is told. */
export interface NeighbourJob {
  readonly port: number;
  /** Addresses to call from, in turn. */
  readonly from: readonly string[];
  /** Milliseconds between two requests, or two connections. */
  readonly everyMs: number;
  /** The certificate of the one caller, or those of the others in turn. */
  readonly leaves: readonly HostileLeaf[];
  /** Where the one caller puts its times, and how many; the others end when they are told to. */
  readonly measure?: { readonly out: string; readonly requests: number; readonly warmup: number };
}

const job = JSON.parse(readFileSync(process.argv[2]!, "utf8")) as NeighbourJob;
const micros = (): number => Number(process.hrtime.bigint()) / 1000;

/** Made once: reading chains again and again would take the processor from who is measured. */
const contexts: SecureContext[] = job.leaves.map(({ cert, key }) => createSecureContext({ cert, key }));

function dial(turn: number): TLSSocket {
  const { port, from } = job;
  const where = { host: "127.0.0.1", port, localAddress: from[turn % from.length] };
  const trust = { rejectUnauthorized: false, checkServerIdentity: () => undefined };
  const secureContext = contexts[turn % contexts.length];
  const options: object = { ...where, ...trust, secureContext, ALPNProtocols: ["http/1.1"] };
  const socket = connect(options);
  socket.setNoDelay(true);
  return socket;
}

/** Answers that are whole in what came so far, and what is left. */
function takeAnswers(text: string): { answers: number; rest: string } {
  let [answers, rest] = [0, text];
  for (;;) {
    const head = rest.indexOf("\r\n\r\n");
    const length = /\r\ncontent-length: *(\d+)/i.exec(rest.slice(0, Math.max(0, head)))?.[1];
    if (head < 0) return { answers, rest };
    if (!rest.startsWith("HTTP/1.1 200") || length === undefined) throw new Error(`no answer: ${rest.slice(0, head)}`);
    if (rest.length < head + 4 + Number(length)) return { answers, rest };
    rest = rest.slice(head + 4 + Number(length));
    answers++;
  }
}

async function measure({ out, requests, warmup }: NonNullable<NeighbourJob["measure"]>): Promise<void> {
  const socket = dial(0);
  await new Promise<void>((resolve, reject) => socket.once("secureConnect", resolve).once("error", reject));
  const sentAt: number[] = [];
  const latencies: number[] = [];
  let text = "";
  await new Promise<void>((resolve, reject) => {
    const bytes = `GET / HTTP/1.1\r\nhost: 127.0.0.1:${job.port}\r\n\r\n`;
    const timer = setInterval(() => {
      if (sentAt.length === requests + warmup) return clearInterval(timer);
      sentAt.push(micros());
      socket.write(bytes);
    }, job.everyMs);
    socket.on("error", reject);
    socket.once("close", () => reject(new Error("the connection closed before the last answer")));
    socket.on("data", (chunk: Buffer) => {
      const now = micros();
      const { answers, rest } = takeAnswers(text + chunk.toString("latin1"));
      text = rest;
      for (let i = 0; i < answers; i++) latencies.push(now - sentAt[latencies.length]!);
      if (latencies.length === requests + warmup) resolve();
    });
  });
  writeFileSync(out, JSON.stringify(latencies.slice(warmup)));
  process.exit(0);
}

/** Dials with one chain after the other, and says at the end how many were answered and how many were not. */
function dialOnAndOn(): void {
  let [next, refused, answered] = [0, 0, 0];
  const once = () => {
    const socket = dial(next++);
    let got = false;
    socket.on("error", () => {});
    socket.once("secureConnect", () => socket.write("GET / HTTP/1.1\r\nhost: x\r\n\r\n"));
    socket.once("data", () => {
      got = true;
      socket.destroy();
    });
    socket.once("close", () => {
      if (got) answered++;
      else refused++;
    });
  };
  setInterval(once, job.everyMs);
  process.once("SIGTERM", () => {
    process.stdout.write(`REFUSED ${refused} ANSWERED ${answered}\n`, () => process.exit(0));
  });
  process.stdout.write(`PORT ${job.port}\n`);
}

if (job.measure === undefined) dialOnAndOn();
else await measure(job.measure);
