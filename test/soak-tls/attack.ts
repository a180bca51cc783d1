/**
 * The wrong peers of the soak: `attack.ts PORT PER-CLASS WORLD GUEST-SOCKET REPORT`, with the identity of a workload that
 * is on the server's list by `SPIFFE_ENDPOINT_SOCKET`. Each wrong peer is followed by its twin, which has to be served.
 */
import { writeFileSync } from "node:fs";
import process from "node:process";
import { isSpiffeError } from "../../src/base/errors.ts";
import { connect, createFetch } from "../../src/tls/index.ts";
import {
  http1Done,
  http1Get,
  http2Ended,
  http2Requests,
  Relay,
  rawExchange,
  rawOptions,
  type Shown,
} from "../../src/tls/wire.testing.ts";
import { Workload } from "../../src/workload/index.ts";
import { ORDERS, PATHS, PROBER, readWorld, type WrongClass } from "./world.ts";

/** What the attacker saw. */
export interface AttackReport {
  /** Wrong peers by class. */
  readonly sent: Readonly<Record<string, number>>;
  /** How often the server has to have refused, by reason. */
  readonly reasons: Readonly<Record<string, number>>;
  /** Twins that were served over HTTP/1.1 and over HTTP/2 frames, the last with their ID. */
  readonly twins: number;
  readonly pathless: number;
  /** What went otherwise than it has to. */
  readonly faults: readonly string[];
}

const H2_REQUESTS = 3;
const [port = "", perClass = "", worldFile = "", guestSocket = "", reportFile = ""] = process.argv.slice(2);
const url = `https://127.0.0.1:${port}`;
const { classes } = readWorld(worldFile);
const relay = await Relay.start(Number(port));
const guest = await Workload.open({ socket: guestSocket });
const prober = await Workload.open();

const sent: Record<string, number> = {};
const reasons: Record<string, number> = {};
const faults: string[] = [];
let twins = 0;
let pathless = 0;

/** One raw client; gives back how many answers it got. */
async function raw(show: Shown, how: WrongClass["how"], path: string, h2: boolean): Promise<number> {
  const through = how === "pipelined" ? relay.port : Number(port);
  const more = how === "tls 1.2" ? ({ minVersion: "TLSv1.2", maxVersion: "TLSv1.2" } as const) : {};
  const { bytes } = await rawExchange(
    rawOptions(through, show, h2 ? "h2" : "http/1.1", more),
    h2 ? http2Requests(H2_REQUESTS) : http1Get(path),
    h2 ? (seen) => http2Ended(seen) >= H2_REQUESTS : http1Done,
    (socket) => how === "pipelined" && relay.release(socket.localPort ?? 0),
  );
  return h2 ? http2Ended(bytes) : Number(http1Done(bytes));
}

async function wrongOne(each: WrongClass, i: number, h2: boolean): Promise<void> {
  sent[each.name] = (sent[each.name] ?? 0) + 1;
  if (each.reason !== undefined) reasons[each.reason] = (reasons[each.reason] ?? 0) + 1;
  const answers = await raw(each.show, each.how, `${PATHS.wrong}${i}`, h2);
  if (answers !== 0) faults.push(`${each.name}: a wrong peer got an answer`);
}

async function twinOf({ name, twin, how }: WrongClass, i: number, h2: boolean): Promise<void> {
  const answers = await raw(twin, how === "pipelined" ? how : undefined, `${PATHS.twin}${i}`, h2);
  if (answers !== (h2 ? H2_REQUESTS : 1)) faults.push(`${name}: a twin got ${answers} answers`);
  if (h2) pathless += answers;
  else twins += answers;
}

async function runClass(each: WrongClass, count: number): Promise<void> {
  if (each.how === "leaving") {
    for (let i = 0; i < count; i++) await twinOf(each, i, i % 2 === 0);
    await raw(classes[0]!.twin, undefined, PATHS.drop, false);
    for (let i = 0; i < count; i++) await wrongOne(each, i, i % 2 === 0);
    return;
  }
  for (let i = 0; i < count; i++) {
    await wrongOne(each, i, i % 2 === 0);
    await twinOf(each, i, i % 2 === 0);
  }
}

/** Workloads of the authority itself, whose SVIDs rotate: the server knows one of them, and not the other. */
async function asGuest(count: number): Promise<void> {
  const name = "another workload of the authority";
  const [wrongCall, twinCall] = [guest, prober].map((workload) => createFetch(workload, { peer: ORDERS })) as [
    ReturnType<typeof createFetch>,
    ReturnType<typeof createFetch>,
  ];
  for (let i = 0; i < count; i++) {
    sent[name] = (sent[name] ?? 0) + 1;
    reasons["peer.not-authorized"] = (reasons["peer.not-authorized"] ?? 0) + 1;
    const answered = await wrongCall(`${url}${PATHS.wrong}${i}`).then(
      () => true,
      () => false,
    );
    if (answered) faults.push(`${name}: got an answer`);
    const twin = await twinCall(`${url}${PATHS.twin}${i}`);
    if ((await twin.text()) === `for ${PROBER}`) twins++;
    else faults.push(`${name}: the twin was not served`);
  }
}

/** The server is not who is expected: nothing may be sent to it. */
async function otherExpectation(count: number): Promise<void> {
  const name = "server with another ID than expected";
  const peer = `${ORDERS}2`;
  const call = createFetch(prober, { peer });
  for (let i = 0; i < count; i++) {
    sent[name] = (sent[name] ?? 0) + 1;
    const tried =
      i % 2 === 0 ? call(`${url}${PATHS.wrong}${i}`) : connect(prober, { host: "127.0.0.1", port: Number(port), peer });
    const why = await tried.then(
      () => "no error",
      (error: unknown) => (isSpiffeError(error, "ERR_SPIFFE_PEER_REFUSED") ? error.reason : String(error)),
    );
    if (why !== "peer.not-authorized") faults.push(`${name}: ${why}`);
  }
}

const count = Number(perClass);
// The class that takes a bundle away last: its twins need it.
const order = [...classes].sort((a, b) => Number(a.how === "leaving") - Number(b.how === "leaving"));
for (const each of order) await runClass(each, count);
await asGuest(count);
await otherExpectation(count);
await relay.close();
await Promise.all([guest.close(), prober.close()]);
const report: AttackReport = { sent, reasons, twins, pathless, faults };
writeFileSync(reportFile, JSON.stringify(report));
process.exit(0);
