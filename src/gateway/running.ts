/** The requests that run: judged again when what is in force changes, and ended where a new one would not be let in (S-9, S-26). */
import type { Decision } from "../policy/index.ts";
import { confirmAll } from "./confirming.ts";
import type { Room } from "./room.ts";
import type { Upstream } from "./upstream.ts";

/** A request, stream or tunnel between its acceptance and its end. */
export interface RunningRequest {
  readonly listener: string;
  /** Where it goes; an upstream that is retired lives as long as one goes there. */
  readonly upstream: Upstream;
  /** What the rules would decide of it now. */
  judge(room: Room): Decision;
  /** What the external authorizer would make of that; the signal ends the question. */
  confirm(room: Room, decision: Decision, signal: AbortSignal): Promise<Decision>;
  /** Breaks it off for this decision. */
  end(why: Decision): void;
}

/** Requests that one slice of {@link RunningRequests.rejudge} takes; others are served in between. */
const SLICE = 256;

/** A running request and its place. */
interface Entry {
  readonly request: RunningRequest;
  /** Negative once it is over. */
  at: number;
}

/** A request that the rules let run, if the external authorizer does. */
interface Allowed {
  readonly entry: Entry;
  readonly decision: Decision;
  /** What it was judged by. */
  readonly room: Room;
}

/** All running requests of a gateway. */
export class RunningRequests {
  // not a Set: the tables that one outgrows hold what was in them, and hand it to the collector of old objects
  readonly #running: Entry[] = [];
  readonly #users = new Map<Upstream, number>();
  readonly #waiting = new Map<Upstream, (() => void)[]>();

  get size(): number {
    return this.#running.length;
  }

  /**
   * Notes a request that was let in.
   *
   * @returns to be called when it is over
   */
  enter(request: RunningRequest): () => void {
    const { upstream } = request;
    const entry: Entry = { request, at: this.#running.length };
    this.#running.push(entry);
    this.#users.set(upstream, (this.#users.get(upstream) ?? 0) + 1);
    return () => {
      if (!this.#remove(entry)) return;
      const left = (this.#users.get(upstream) ?? 1) - 1;
      if (left > 0) return void this.#users.set(upstream, left);
      this.#users.delete(upstream);
      for (const resolve of this.#waiting.get(upstream) ?? []) resolve();
      this.#waiting.delete(upstream);
    };
  }

  /** The last one takes its place; false when it has gone before. */
  #remove(entry: Entry): boolean {
    const { at } = entry;
    if (at < 0) return false;
    entry.at = -1;
    const last = this.#running.pop() as Entry;
    if (last === entry) return true;
    this.#running[at] = last;
    last.at = at;
    return true;
  }

  /** Resolves once no request goes to an upstream any more. */
  async leftAlone(upstream: Upstream): Promise<void> {
    if (!this.#users.has(upstream)) return;
    const waiting = this.#waiting.get(upstream) ?? [];
    this.#waiting.set(upstream, waiting);
    await new Promise<void>((resolve) => waiting.push(resolve));
  }

  /**
   * Judges every request again and ends those that are denied; what cannot be judged is denied. Where there is an external
   * authorizer it is asked about those that the rules allow, and what it has not confirmed in time ends.
   *
   * @param room what is in force for the requests of a listener
   * @param asks whether to ask the authorizer; not where nothing but the time is another
   * @returns how many were ended
   */
  async rejudge(room: (listener: string) => Room, asks = true): Promise<number> {
    let ended = 0;
    let judged = 0;
    const allowed: Allowed[] = [];
    for (const entry of [...this.#running]) {
      if (++judged % SLICE === 0) await new Promise((resolve) => setImmediate(resolve));
      if (entry.at < 0) continue;
      const { request } = entry;
      const decision = decisionOn(request, room);
      if (decision.verdict === "allow") {
        const now = room(request.listener);
        if (asks && now.authorizer !== undefined) allowed.push({ entry, decision, room: now });
        continue;
      }
      ended++;
      endFor(request, decision);
    }
    return ended + (await this.#confirm(allowed, room));
  }

  async #confirm(allowed: readonly Allowed[], room: (listener: string) => Room): Promise<number> {
    const [first] = allowed;
    if (first === undefined) return 0;
    let ended = 0;
    // what came into force meanwhile judges by itself
    const isOver = ({ entry, room: then }: Allowed) => entry.at < 0 || room(entry.request.listener) !== then;
    await confirmAll(allowed, {
      clock: first.room.clock,
      ask: (one, signal) => (isOver(one) ? undefined : one.entry.request.confirm(one.room, one.decision, signal)),
      denied(one, why) {
        if (isOver(one)) return;
        ended++;
        endFor(one.entry.request, why);
      },
    });
    return ended;
  }
}

function decisionOn(request: RunningRequest, room: (listener: string) => Room): Decision {
  try {
    return request.judge(room(request.listener));
  } catch {
    return { verdict: "deny", reason: "policy.default-deny", mode: "enforce" };
  }
}

/** Ends one; what goes wrong there keeps no other one alive. */
function endFor(request: RunningRequest, why: Decision): void {
  try {
    request.end(why);
  } catch {
    // its connection is in no state to be broken off
  }
}
