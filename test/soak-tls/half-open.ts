/** Handshakes that never end, in thousands, beside a caller that has to be served. */
import { setTimeout as wait } from "node:timers/promises";
import { Authority } from "../../src/authority/index.ts";
import { Workload } from "../../src/workload/index.ts";
import { byConnect } from "../peers/ways.ts";
import { onThisRuntime, Program } from "../support/programs.ts";
import type { Suffered } from "./half-open-server.ts";
import { DOMAIN, ORDERS, WEB } from "./world.ts";

export interface HalfOpenOptions {
  /** Connections whose handshake never ends. */
  readonly connections: number;
  /** Milliseconds that the server gives a handshake. */
  readonly handshakeMs: number;
  readonly limitMs: number;
}

export interface HalfOpenReport extends Suffered {
  /** Resident bytes of the server before. */
  readonly before: number;
  /** Connections that the server had closed in the end. */
  readonly closed: number;
  /** Calls over connections of their own meanwhile: those that were answered, and what happened to others. */
  readonly served: number;
  readonly failures: readonly string[];
}

/** Calls before, so that the server has what it needs. */
const WARMUP = 100;
const CALL_EVERY_MS = 20;

/** Runs until every connection is closed, or the time is over; the report tells what happened either way. */
export async function halfOpen({ connections, handshakeMs, limitMs }: HalfOpenOptions): Promise<HalfOpenReport> {
  const entries = [
    { id: ORDERS, socket: "orders" },
    { id: WEB, socket: "web" },
  ];
  const authority = await Authority.start({ trustDomain: DOMAIN, entries });
  const web = await Workload.open({ socket: authority.socketFor("web") });
  const programs: Program[] = [];
  const start = (name: string, args: readonly string[]): Program => {
    const env = { SPIFFE_ENDPOINT_SOCKET: authority.socketFor("orders") };
    const program = new Program(onThisRuntime(`test/soak-tls/${name}.ts`, args), { env });
    programs.push(program);
    return program;
  };
  try {
    const call = (port: number, path: string) => byConnect(web, port, ORDERS, path);
    const server = start("half-open-server", [String(handshakeMs)]);
    const port = Number((await server.until(/^PORT (\d+)$/m))[1]);
    for (let i = 0; i < WARMUP; i++) await call(port, "/");
    const before = Number(await call(port, "/begin"));
    const knocking = start("knock", [String(port), String(connections)]);
    let over = false;
    void Promise.race([knocking.ended, wait(limitMs, undefined, { ref: false })]).then(() => {
      over = true;
    });
    const failures: string[] = [];
    let served = 0;
    while (!over) {
      await call(port, "/").then(
        () => served++,
        (error: unknown) => failures.push(String(error)),
      );
      await wait(CALL_EVERY_MS);
    }
    const suffered = JSON.parse(await call(port, "/end")) as Suffered;
    const closed = Number(/^CLOSED (\d+)$/m.exec(knocking.stdout)?.[1] ?? 0);
    if (knocking.stderr !== "") failures.push(knocking.stderr.slice(-2_000));
    await server.end();
    return { ...suffered, before, closed, served, failures };
  } finally {
    for (const program of programs) program.child.kill("SIGKILL");
    await web.close();
    await authority.close();
  }
}
