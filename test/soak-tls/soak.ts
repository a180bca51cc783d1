/** The soak of mTLS: a server, its callers and wrong peers in processes of their own, while everything rotates. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { onThisRuntime, Program } from "../support/programs.ts";
import type { AttackReport } from "./attack.ts";
import type { CallReport } from "./call.ts";
import { type Pace, Rotation } from "./rotation.ts";
import type { ServerReport } from "./serve.ts";
import { makeSoakWorld, writeWorld } from "./world.ts";

export interface TlsSoakOptions extends Pace {
  /** Accepted handshakes of the caller, changes of the CA, and calls of openssl and curl to reach at least. */
  readonly handshakes: number;
  readonly cas: number;
  readonly programCalls: number;
  /** Wrong peers of each class. */
  readonly perClass: number;
  readonly limitMs: number;
  readonly say: (line: string) => void;
}

export interface TlsSoakReport {
  readonly server: ServerReport;
  readonly calls: CallReport;
  readonly attack: AttackReport;
  readonly cas: number;
  readonly svids: number;
  readonly shortestLeadMs: number;
  readonly casLeft: number;
  readonly seconds: number;
}

const SAY_EVERY_MS = 10_000;

/** Runs until every number is reached, or the time is over; the report tells what happened either way. */
export async function tlsSoak(options: TlsSoakOptions): Promise<TlsSoakReport> {
  const started = performance.now();
  const folder = mkdtempSync(join(tmpdir(), "soak-tls-"));
  const file = (name: string) => join(folder, `${name}.json`);
  const programs: Program[] = [];
  const rotation = await Rotation.start(options);
  const start = (name: string, args: readonly string[], socket: string): Program => {
    const env = { SPIFFE_ENDPOINT_SOCKET: rotation.authority.socketFor(socket) };
    const program = new Program(onThisRuntime(`test/soak-tls/${name}.ts`, args), { env });
    programs.push(program);
    return program;
  };
  const report = async <T>(name: string, program: Program): Promise<T> => {
    const { code, signal, stderr } = await program.ended;
    if (code !== 0) throw new Error(`${name} ended with ${signal ?? code}:\n${stderr.slice(-4_000)}`);
    return JSON.parse(readFileSync(file(name), "utf8")) as T;
  };

  try {
    writeWorld(file("world"), await makeSoakWorld());
    const server = start("serve", [file("world"), file("serve")], "orders");
    const port = (await server.until(/^PORT (\d+)$/m))[1]!;
    const calls = start("call", [port, String(options.programCalls), file("call")], "web");
    const guest = rotation.authority.socketFor("guest");
    const attack = start("attack", [port, String(options.perClass), file("world"), guest, file("attack")], "prober");
    let attacking = true;
    void attack.ended.then(() => {
      attacking = false;
    });
    let over = false;
    void Promise.race([server.ended, calls.ended]).then(() => {
      over = true;
    });
    const handshakes = () => Number([...server.stdout.slice(-100).matchAll(/^AT (\d+)$/gm)].at(-1)?.[1] ?? 0);
    let said = performance.now();
    while (handshakes() < options.handshakes || rotation.cas < options.cas || attacking) {
      if (over || performance.now() - started > options.limitMs) break;
      await wait(50);
      if (performance.now() - said < SAY_EVERY_MS) continue;
      said = performance.now();
      options.say(`${handshakes()} handshakes, ${rotation.cas} CAs, ${attacking ? "attacked" : "no more attacks"}`);
    }
    if (!over) await calls.end();
    const called = await report<CallReport>("call", calls);
    const attacked = await report<AttackReport>("attack", attack);
    await server.end();
    const { cas, svids, shortestLeadMs, left } = rotation;
    const seconds = Math.round((performance.now() - started) / 1_000);
    const served = await report<ServerReport>("serve", server);
    return { server: served, calls: called, attack: attacked, cas, svids, shortestLeadMs, casLeft: left, seconds };
  } finally {
    for (const program of programs) program.child.kill("SIGKILL");
    await rotation.close();
    rmSync(folder, { recursive: true, force: true });
  }
}
