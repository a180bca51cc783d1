/** What the soak of mTLS has to reach. Everything but the numbers asked for has to hold of the short form too. */
import { MAX_HANDSHAKES } from "../../src/tls/handshakes.ts";
import type { HalfOpenReport } from "./half-open.ts";
import type { TlsSoakReport } from "./soak.ts";
import { WEB } from "./world.ts";

export interface TlsSoakGoals {
  readonly handshakes: number;
  readonly cas: number;
  readonly perClass: number;
  readonly prepareMs: number;
}

/** Classes of wrong peers that there have to be (G-2). */
const CLASSES = 15;

/** The goals that were missed, one sentence each. */
export function missedByTls(report: TlsSoakReport, goals: TlsSoakGoals): string[] {
  return [...lost(report), ...letIn(report, goals), ...rotated(report, goals)];
}

/** Requests that were refused, broken, answered otherwise, or handled other than once (G-3). */
function lost({ server, calls }: TlsSoakReport): string[] {
  const missed = calls.failures.map(({ number, by, what }) => `request ${number} by ${by}: ${what}`);
  const { numbers } = server;
  if (numbers.length > calls.sent) missed.push(`${numbers.length} numbers handled, ${calls.sent} sent`);
  for (let number = 0; number < calls.sent; number++) {
    const count = numbers[number] ?? 0;
    if (count !== 1) missed.push(`request ${number} was handled ${count} times`);
  }
  for (const name of ["connect", "createFetch", "http2Options", "openssl", "curl"]) {
    if ((calls.by[name] ?? 0) === 0) missed.push(`no request by ${name}`);
  }
  const { stray, handlerErrors, timedOut, throttled, rotationsRefused } = server.counters;
  for (const [name, count] of Object.entries({ stray, handlerErrors, timedOut, throttled, rotationsRefused })) {
    if (count !== 0) missed.push(`the server counted ${count} ${name}`);
  }
  return missed;
}

/** Wrong peers that came through, refusals that are not theirs, and twins that did not come through (G-2). */
function letIn({ server, attack }: TlsSoakReport, { perClass }: TlsSoakGoals): string[] {
  const missed = [...attack.faults, ...server.wrong.map((what) => `a wrong peer reached the handler: ${what}`)];
  const counts = Object.entries(attack.sent);
  if (counts.length < CLASSES) missed.push(`only ${counts.length} classes of wrong peers`);
  for (const [name, count] of counts) if (count < perClass) missed.push(`only ${count} of the class ${name}`);
  const pathless = Object.values(server.pathless).reduce((sum, count) => sum + count, 0);
  if (server.twins !== attack.twins) missed.push(`${server.twins} twins handled, ${attack.twins} answered`);
  if (pathless !== attack.pathless) missed.push(`${pathless} twins of HTTP/2 handled, ${attack.pathless} answered`);
  const { reasons } = server.counters;
  for (const reason of new Set([...Object.keys(reasons), ...Object.keys(attack.reasons)])) {
    const [seen, sent] = [(reasons as Record<string, number>)[reason] ?? 0, attack.reasons[reason] ?? 0];
    if (seen !== sent) missed.push(`${seen} refusals with ${reason}, ${sent} wrong peers of that kind`);
  }
  return missed;
}

function rotated(report: TlsSoakReport, goals: TlsSoakGoals): string[] {
  const missed: string[] = [];
  const handshakes = report.server.accepted[WEB] ?? 0;
  if (handshakes < goals.handshakes) missed.push(`${handshakes} handshakes, expected ${goals.handshakes}`);
  if (report.cas < goals.cas) missed.push(`${report.cas} changes of the CA, expected ${goals.cas}`);
  // Half, because a reader sees the newest SVID and not every one.
  const least = Math.floor(report.svids / 2);
  if (report.calls.svids < least) missed.push(`the caller used ${report.calls.svids} SVIDs of ${report.svids}`);
  const { rotations } = report.server.counters;
  if (rotations < least) missed.push(`the server used ${rotations} SVIDs of ${report.svids}`);
  return missed;
}

/** Bytes that half-open handshakes may add to what the server is resident with, at the peak. */
const MOST_GROWTH = 64_000_000;
/** Calls that have to be answered meanwhile. */
const LEAST_SERVED = 20;

/** The goals that half-open handshakes missed: each is closed, others are served, memory stays. */
export function missedByHalfOpen(report: HalfOpenReport, connections: number): string[] {
  const { before, peak, closed, served, failures } = report;
  const { overLimit, timedOut, failed, refused, throttled, stray, handlerErrors } = report.counters;
  const missed = failures.map((what) => `a caller was not served: ${what}`);
  if (served < LEAST_SERVED) missed.push(`${served} calls were served meanwhile, expected ${LEAST_SERVED}`);
  if (closed !== connections) missed.push(`${closed} of ${connections} half-open connections were closed`);
  const counted = overLimit + timedOut;
  if (counted !== connections) missed.push(`${counted} counted over the limit or timed out, expected ${connections}`);
  if (connections > MAX_HANDSHAKES && overLimit === 0) missed.push("none was over the limit");
  if (timedOut === 0) missed.push("none timed out");
  for (const [name, count] of Object.entries({ failed, refused, throttled, stray, handlerErrors })) {
    if (count !== 0) missed.push(`the server counted ${count} ${name}`);
  }
  const growth = peak - before;
  if (!(growth <= MOST_GROWTH)) missed.push(`grew by ${growth} bytes, expected at most ${MOST_GROWTH}`);
  return missed;
}
