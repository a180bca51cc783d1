/** Drains under load: one gateway after another on one port is told to end while callers go on. */
import { setTimeout as wait } from "node:timers/promises";
import type { GatewayWorld } from "../support/gateway.ts";
import { freePort } from "../support/ports.ts";
import { Load, type Lost } from "./load.ts";

/** Requests before a gateway is told to end. */
const BEFORE = 200;
/** Milliseconds between tries of a caller that is refused. */
const AGAIN_MS = 20;
const MAX_TRIES = 3_000;

/** What became of the rounds. */
export interface Drained {
  readonly rounds: number;
  /** Numbers of callers that do not ask again: from this one to the end. */
  readonly first: number;
  readonly sent: number;
  /** Requests that had no answer: none of them may have reached the upstream. */
  readonly unanswered: readonly Lost[];
  /** Requests whose caller asked again while the port was refused, until the next gateway served it. */
  readonly served: number;
  /** Such requests that nobody served. */
  readonly abandoned: number;
  readonly codes: readonly (number | null)[];
  readonly stderr: string;
}

/** Runs the rounds; numbers begin with `first`. */
export async function drains(world: GatewayWorld, rounds: number, first: number): Promise<Drained> {
  const port = await freePort();
  const unanswered: Lost[] = [];
  const codes: (number | null)[] = [];
  let stderr = "";
  let number = first;
  let served = 0;
  let abandoned = 0;
  let gateway = await world.gateway(world.config({ listen: { address: "127.0.0.1", port } }));
  for (let round = 0; round < rounds; round++) {
    const load = new Load(world.web, port, number);
    await load.start();
    while (load.sent < number + BEFORE && load.lost.length === 0) await wait(10);
    const ended = gateway.end();
    await wait(50);
    // begun while the old one drains or is gone; only the next one can serve it
    const patient = again(world, port, load);
    await wait(150);
    await load.stop();
    const { code, stderr: said } = await ended;
    codes.push(code);
    stderr += said;
    gateway = await world.gateway(world.config({ listen: { address: "127.0.0.1", port } }));
    if (await patient) served++;
    else abandoned++;
    unanswered.push(...load.lost);
    number = load.sent;
  }
  const { code, stderr: said } = await gateway.end();
  return {
    rounds,
    first,
    sent: number,
    unanswered,
    served,
    abandoned,
    codes: [...codes, code],
    stderr: stderr + said,
  };
}

/** One request that is sent again while it is refused; whether somebody served it. */
async function again(world: GatewayWorld, port: number, load: Load): Promise<boolean> {
  const call = Load.fetching(world.web, port);
  const number = load.sent++;
  for (let left = MAX_TRIES; left > 0; left--) {
    const answer = await call(number, "again").catch(() => undefined);
    if (answer !== undefined) return answer === `200 ${number} again`;
    await wait(AGAIN_MS);
  }
  return false;
}
