/** Handshakes that are not over: a bound on their number, shared out among the callers that they come from (S-7). */
import { callerAt } from "./throttle.ts";

/** Handshakes at a time: one that is not over holds some 40 KiB. */
export const MAX_HANDSHAKES = 512;

/** What an address without a name, as on a unix socket, counts as. */
const NOWHERE = "";

/**
 * The places of handshakes. When all are taken, the caller that has the most of them has to give one up to a newcomer
 * from elsewhere, its oldest; it gets no further one itself. Who knocks without end so takes places from nobody else. A
 * caller is what {@link callerAt} says: of a /64 that one has whole, no address counts by itself.
 */
export class Handshakes<Held extends object> {
  readonly #most: number;
  readonly #callerOf = new Map<object, string>();
  /** In the order in which they came. */
  readonly #byCaller = new Map<string, Set<Held>>();

  constructor(most: number = MAX_HANDSHAKES) {
    this.#most = most;
  }

  /** Places that are taken. */
  get size(): number {
    return this.#callerOf.size;
  }

  /**
   * Asks for a place.
   *
   * @returns undefined when there is one; who has to go for it, which may be the newcomer itself
   */
  add(newcomer: Held, address: string = NOWHERE): Held | undefined {
    const caller = callerAt(address);
    let leaving: Held | undefined;
    if (this.size >= this.#most) {
      const [busiest, held] = this.#busiest();
      if (busiest === caller || held.size <= (this.#byCaller.get(caller)?.size ?? 0) + 1) return newcomer;
      leaving = held.values().next().value;
      if (leaving !== undefined) this.over(leaving);
    }
    this.#take(newcomer, caller);
    return leaving;
  }

  /** Counts a handshake to the caller that a load balancer speaks for; does nothing for one that has no place. */
  move(who: Held, address: string): void {
    if (!this.#callerOf.has(who)) return;
    this.over(who);
    this.#take(who, callerAt(address));
  }

  /** A handshake is over, or its connection; does nothing for one that has no place. */
  over(who: object): void {
    const caller = this.#callerOf.get(who);
    if (caller === undefined) return;
    this.#callerOf.delete(who);
    const held = this.#byCaller.get(caller);
    held?.delete(who as Held);
    if (held?.size === 0) this.#byCaller.delete(caller);
  }

  #take(who: Held, caller: string): void {
    const held = this.#byCaller.get(caller);
    if (held === undefined) this.#byCaller.set(caller, new Set([who]));
    else held.add(who);
    this.#callerOf.set(who, caller);
  }

  #busiest(): [caller: string, held: Set<Held>] {
    let most: [string, Set<Held>] = [NOWHERE, new Set()];
    for (const row of this.#byCaller) if (row[1].size > most[1].size) most = row;
    return most;
  }
}
