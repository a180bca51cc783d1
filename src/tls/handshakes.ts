/** Handshakes that are not over: a bound on their number, shared out among the addresses that they come from (S-7). */

/** Handshakes at a time: one that is not over holds some 40 KiB. */
export const MAX_HANDSHAKES = 512;

/** What an address without a name, as on a unix socket, counts as. */
const NOWHERE = "";

/**
 * The places of handshakes. When all are taken, the address that has the most of them has to give one up to a newcomer
 * from elsewhere, its oldest; it gets no further one itself. Who knocks without end so takes places from nobody else.
 */
export class Handshakes<Held extends object> {
  readonly #most: number;
  readonly #addressOf = new Map<object, string>();
  /** In the order in which they came. */
  readonly #byAddress = new Map<string, Set<Held>>();

  constructor(most: number = MAX_HANDSHAKES) {
    this.#most = most;
  }

  /** Places that are taken. */
  get size(): number {
    return this.#addressOf.size;
  }

  /**
   * Asks for a place.
   *
   * @returns undefined when there is one; who has to go for it, which may be the newcomer itself
   */
  add(newcomer: Held, address: string = NOWHERE): Held | undefined {
    let leaving: Held | undefined;
    if (this.size >= this.#most) {
      const [busiest, held] = this.#busiest();
      if (busiest === address || held.size <= (this.#byAddress.get(address)?.size ?? 0) + 1) return newcomer;
      leaving = held.values().next().value;
      if (leaving !== undefined) this.over(leaving);
    }
    const held = this.#byAddress.get(address);
    if (held === undefined) this.#byAddress.set(address, new Set([newcomer]));
    else held.add(newcomer);
    this.#addressOf.set(newcomer, address);
    return leaving;
  }

  /** A handshake is over, or its connection; does nothing for one that has no place. */
  over(who: object): void {
    const address = this.#addressOf.get(who);
    if (address === undefined) return;
    this.#addressOf.delete(who);
    const held = this.#byAddress.get(address);
    held?.delete(who as Held);
    if (held?.size === 0) this.#byAddress.delete(address);
  }

  #busiest(): [address: string, held: Set<Held>] {
    let most: [string, Set<Held>] = [NOWHERE, new Set()];
    for (const row of this.#byAddress) if (row[1].size > most[1].size) most = row;
    return most;
  }
}
