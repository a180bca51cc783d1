/** What is decided of a request that runs, when something else has come into force (S-9, S-26). */
import type { Peer } from "../id/index.ts";
import { type Decision, decide, type RequestFacts } from "../policy/index.ts";
import type { ListenerRequest } from "../tls/index.ts";
import type { Journey } from "./journey.ts";
import type { Judged } from "./judge.ts";
import { factsOf } from "./request-facts.ts";
import type { Room } from "./room.ts";
import type { Upstream } from "./upstream.ts";

const NO_DOOR: Decision = Object.freeze({ verdict: "deny", reason: "policy.default-deny", mode: "enforce" });

/** What a request that runs is judged by now; its path may belong to another route by now, or to none. */
function standing(
  room: Room,
  request: ListenerRequest,
  { target, route, peer }: Judged,
): { caller: Peer | undefined; facts: RequestFacts } | undefined {
  const now = room.routes.find(target.path, target.host) ?? route;
  const { token } = peer ?? {};
  const isForNow = token === undefined || token.audience.some((one) => now.audience.includes(one));
  // where tokens are taken, one for somebody else is refused, over a certificate too; elsewhere it says nothing
  if (!isForNow && (peer?.via === "jwt" || now.audience.length > 0)) return undefined;
  const caller = isForNow || peer?.via !== "x509" ? peer : { via: peer.via, id: peer.id, expiresAt: peer.expiresAt };
  return { caller, facts: factsOf(room, request, target, now) };
}

/** What the rules decide now of a request that runs. */
function decideAgain(room: Room, request: ListenerRequest, judged: Judged): Decision {
  const now = standing(room, request, judged);
  return now === undefined ? NO_DOOR : decide(room.policy, now.caller, now.facts);
}

/** What the external authorizer makes of that decision now. */
async function confirmAgain(
  room: Room,
  request: ListenerRequest,
  judged: Judged,
  decision: Decision,
  signal: AbortSignal,
): Promise<Decision> {
  const now = standing(room, request, judged);
  if (now === undefined) return NO_DOOR;
  const outcome = await room.authorizer?.confirm(decision, now.caller, now.facts, signal);
  return outcome?.decision ?? decision;
}

/**
 * Notes a request that was let in, for as long as it runs.
 *
 * @param cut breaks it off
 * @returns to be called when it is over
 */
export function enterRunning(
  room: Room,
  request: ListenerRequest,
  judged: Judged,
  journey: Journey,
  upstream: Upstream,
  cut: () => void,
): () => void {
  return room.running.enter({
    listener: room.listener,
    upstream,
    judge: (now) => decideAgain(now, request, judged),
    confirm: (now, decision, signal) => confirmAgain(now, request, judged, decision, signal),
    end(why) {
      journey.ended = why;
      cut();
    },
  });
}
