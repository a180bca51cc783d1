/** The requests that run: judged again when what is in force changes, and ended where a new one would not be let in (S-9, S-26). */
import type { Decision } from "../policy/index.ts";
import type { Room } from "./handler.ts";
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

/** Requests that the external authorizer is asked about at a time. */
const WIDTH = 64;

/** Milliseconds after which a request ends that nobody has confirmed: all are judged within a second (S-26). */
const CONFIRM_MS = 900;

const UNCONFIRMED: Decision = Object.freeze({ verdict: "deny", reason: "policy.authorizer-timeout", mode: "enforce" });

/** A request that the rules let run, if the external authorizer does. */
interface Allowed {
  readonly request: RunningRequest;
  readonly decision: Decision;
}

/** All running requests of a gateway. */
export class RunningRequests {
  readonly #running = new Set<RunningRequest>();
  readonly #users = new Map<Upstream, number>();
  readonly #waiting = new Map<Upstream, (() => void)[]>();

  get size(): number {
    return this.#running.size;
  }

  /**
   * Notes a request that was let in.
   *
   * @returns to be called when it is over
   */
  enter(request: RunningRequest): () => void {
    const { upstream } = request;
    this.#running.add(request);
    this.#users.set(upstream, (this.#users.get(upstream) ?? 0) + 1);
    return () => {
      if (!this.#running.delete(request)) return;
      const left = (this.#users.get(upstream) ?? 1) - 1;
      if (left > 0) return void this.#users.set(upstream, left);
      this.#users.delete(upstream);
      for (const resolve of this.#waiting.get(upstream) ?? []) resolve();
      this.#waiting.delete(upstream);
    };
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
   * @returns how many were ended
   */
  async rejudge(room: (listener: string) => Room): Promise<number> {
    let ended = 0;
    let judged = 0;
    const allowed: Allowed[] = [];
    for (const request of [...this.#running]) {
      if (++judged % SLICE === 0) await new Promise((resolve) => setImmediate(resolve));
      if (!this.#running.has(request)) continue;
      const decision = decisionOn(request, room);
      if (decision.verdict === "allow") {
        if (room(request.listener).authorizer !== undefined) allowed.push({ request, decision });
        continue;
      }
      ended++;
      request.end(decision);
    }
    return ended + (await this.#confirm(allowed, room));
  }

  async #confirm(allowed: readonly Allowed[], room: (listener: string) => Room): Promise<number> {
    const [first] = allowed;
    if (first === undefined) return 0;
    const late = new AbortController();
    const over = new AbortController();
    room(first.request.listener)
      .clock.sleep(CONFIRM_MS, over.signal)
      .then(
        () => late.abort(),
        () => {},
      );
    let ended = 0;
    let next = 0;
    const lane = async () => {
      for (let one = allowed[next++]; one !== undefined; one = allowed[next++]) {
        const { request, decision } = one;
        if (!this.#running.has(request)) continue;
        const inForce = room(request.listener);
        const asked = late.signal.aborted ? UNCONFIRMED : request.confirm(inForce, decision, late.signal);
        const said = await Promise.resolve(asked).catch(() => UNCONFIRMED);
        // what came into force meanwhile judges by itself
        if (said.verdict === "allow" || !this.#running.has(request) || room(request.listener) !== inForce) continue;
        ended++;
        request.end(late.signal.aborted ? UNCONFIRMED : said);
      }
    };
    await Promise.all(Array.from({ length: Math.min(WIDTH, allowed.length) }, lane));
    over.abort();
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
