/** The demo: three requests to the gateway and a short series of issuances, each as a line for the terminal. */
import { SpiffeError } from "../../base/index.ts";
import { Workload } from "../../workload/index.ts";
import { ms, msNumber, percentile } from "../format.ts";
import { type Answer, callWithCertificate, callWithoutCertificate, type Target } from "./calls.ts";
import type { Noted, RequestNotes } from "./request-notes.ts";
import type { Actor, World } from "./world.ts";

const ISSUANCES = 50;
/** Rounds before the printed one: what is shown is a running system, not a compiler. */
const WARM_UPS = 5;
const OPEN_TIMEOUT_MS = 10_000;

/** The finished demo. */
export interface DemoResult {
  readonly lines: string[];
  /** Milliseconds of the first JWT-SVID. */
  readonly jwtMs: number;
  /** Milliseconds, p99 of the issuances. */
  readonly issuanceP99: number;
  readonly issuances: number;
  /** Sentences about what did not go as it should. */
  readonly faults: string[];
}

interface Call {
  readonly who: string;
  readonly how: string;
  readonly expected: number;
  make(): Promise<Answer>;
}

/** Makes the calls one after the other; `notes` is the logger of the gateway. */
export async function runDemo(world: World, target: Target, notes: RequestNotes): Promise<DemoResult> {
  const open = ({ socket }: Actor) => Workload.open({ socket, timeoutMs: OPEN_TIMEOUT_MS });
  const [web, cron, guest] = await Promise.all([open(world.web), open(world.cron), open(world.guest)]);
  try {
    await issue(cron, WARM_UPS, [target.id, "warm-up"]);
    const jwtStart = performance.now();
    const { token } = await cron.jwt.fetch({ audience: target.id });
    const jwtMs = performance.now() - jwtStart;
    const refused: Call = world.embedded
      ? { who: world.guest.name, how: "mTLS", expected: 403, make: () => callWithCertificate(guest, target) }
      : { who: "nobody", how: "nothing", expected: 401, make: () => callWithoutCertificate(guest, target) };
    const calls: Call[] = [
      { who: world.web.name, how: "mTLS", expected: 200, make: () => callWithCertificate(web, target) },
      { who: world.cron.name, how: "JWT-SVID", expected: 200, make: () => callWithoutCertificate(cron, target, token) },
      refused,
    ];
    const width = Math.max(...calls.map(({ who }) => who.length));
    for (let round = 0; round < WARM_UPS; round++) {
      for (const call of calls) {
        await call.make();
        await notes.next();
      }
    }
    const lines: string[] = [];
    const faults: string[] = [];
    for (const call of calls) {
      const answer = await call.make();
      if (answer.status !== call.expected) {
        faults.push(`GET /orders as ${call.who} over ${call.how}: expected ${call.expected}, got ${answer.status}`);
      }
      lines.push(lineOf(call, answer, await notes.next(), width));
    }
    notes.stop();
    const times = await issue(cron, ISSUANCES, [target.id, "issuance"]);
    return { lines, jwtMs, issuanceP99: percentile(times, 0.99), issuances: times.length, faults };
  } finally {
    await Promise.all([web, cron, guest].map((workload) => workload.close()));
  }
}

function lineOf(call: Call, answer: Answer, noted: Noted, width: number): string {
  const passed = answer.status === 200;
  const head = `  ${passed ? "✓" : "✗"} ${answer.status} GET /orders  as ${call.who.padEnd(width)}  ${call.how.padEnd(8)}  `;
  if (!passed) {
    const as = answer.status === call.expected ? "      (as intended)" : "";
    return `${head}${refusalOf(answer.body)}${as}`;
  }
  const parts = [`handshake ${msNumber(answer.handshakeMs)}`];
  if (noted.upstreamMs !== undefined) parts.push(`upstream ${msNumber(noted.upstreamMs)}`);
  const detail = call.how === "mTLS" ? ` (${parts.join(", ")})` : "";
  return `${head}${`allowed by rule ${noted.rule ?? "?"}`.padEnd(36)}  ${ms(answer.totalMs)}${detail}`;
}

/** Reason and sentence of a refusal, from its problem document. */
function refusalOf(body: string): string {
  try {
    const { reason, detail } = JSON.parse(body) as { reason?: string; detail?: string };
    return [reason, detail].filter((part) => part !== undefined).join(": ");
  } catch {
    return "refused";
  }
}

/** Milliseconds of each issuance: an audience that nobody has asked for has to be signed anew. */
async function issue(workload: Workload, count: number, audience: readonly string[]): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    const start = performance.now();
    const svid = await workload.jwt.fetch({ audience: [...audience, String(i)] });
    times.push(performance.now() - start);
    if (svid.expiresAt.getTime() <= Date.now()) throw new SpiffeError("ERR_SPIFFE_EXPIRED", "An expired JWT-SVID came");
  }
  return times;
}
