/** Open connections for bytes are judged again when something else has come into force (S-9, S-26). */
import { accept, refuse } from "../../base/index.ts";
import type { X509Peer } from "../../id/index.ts";
import { type Decision, decide, explain } from "../../policy/index.ts";
import type { TlsListener } from "../../tls/index.ts";
import { confirmAll } from "../confirming.ts";
import { type ByteDoor, type ByteRoom, type ByteRules, factsOf, isInForce } from "./byte-route.ts";

/** A listener's part, open. */
export interface RejudgedDoor extends ByteDoor {
  readonly tls: Pick<TlsListener, "rejudge">;
}

/** Somebody whom the rules let stay, if the external authorizer does. */
interface Allowed {
  readonly door: RejudgedDoor;
  readonly peer: X509Peer;
  readonly decision: Decision;
  /** What decided. */
  readonly rules: ByteRules;
}

/**
 * Judges every connection again and ends those that would not be let in. Where there is an external authorizer it is asked
 * once about each SPIFFE ID of a listener that the rules allow, as nothing else of a connection is told to it.
 *
 * @param asks whether to ask the authorizer; not where nothing but the time is another
 */
export async function rejudgeBytes(
  doors: readonly RejudgedDoor[],
  room: ByteRoom,
  asks = true,
): Promise<{ ended: number }> {
  let ended = 0;
  const allowed: Allowed[] = [];
  for (const door of doors) {
    const known = new Set<string>();
    const judged = await door.tls.rejudge((peer) => {
      const rules = room.rules();
      const decision = decide(rules.policy, peer, factsOf(door, room));
      if (decision.verdict === "deny") return refuse(decision.reason, explain(decision, peer));
      if (asks && rules.authorizer !== undefined && peer !== undefined && !known.has(peer.id.uri)) {
        known.add(peer.id.uri);
        allowed.push({ door, peer, decision, rules });
      }
      return accept(peer);
    });
    ended += judged.ended;
  }
  const denied = new Map<RejudgedDoor, Map<string, Allowed & { readonly why: Decision }>>();
  // what came into force meanwhile judges by itself
  const isOver = ({ rules }: Allowed) => !isInForce(rules, room.rules());
  await confirmAll(allowed, {
    clock: room.clock,
    ask(one, signal) {
      const { door, peer, decision, rules } = one;
      if (isOver(one)) return undefined;
      return rules.authorizer?.confirm(decision, peer, factsOf(door, room), signal).then((said) => said.decision);
    },
    denied(one, why) {
      const { door, peer } = one;
      if (isOver(one)) return;
      const those = denied.get(door) ?? new Map();
      denied.set(door, those.set(peer.id.uri, { ...one, why }));
    },
  });
  for (const [door, those] of denied) {
    const judged = await door.tls.rejudge((peer) => {
      const one = peer && those.get(peer.id.uri);
      return one === undefined || isOver(one) ? accept(peer) : refuse(one.why.reason, explain(one.why, peer));
    });
    ended += judged.ended;
  }
  return { ended };
}
