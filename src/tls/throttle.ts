/** Addresses whose handshakes keep being refused, shut out for a while before TLS costs anything (S-7). */
import type { Clock } from "../base/clock.ts";
import { addressBytes } from "../encoding/proxy-protocol.ts";
import { plainAddress } from "./proxy-gate.ts";

/** When an address is shut out, and for how long. */
export interface ThrottleLimits {
  /** Refused handshakes within `windowMs` that shut an address out. */
  readonly refusals: number;
  /** Milliseconds in which refusals count together. */
  readonly windowMs: number;
  /** Milliseconds for which an address stays shut out. */
  readonly penaltyMs: number;
  /** Addresses and prefixes remembered at most; the one that was refused longest ago is forgotten first. */
  readonly addresses: number;
}

/** Five refusals in ten seconds shut an address out for ten seconds. */
export const DEFAULT_THROTTLE: ThrottleLimits = Object.freeze({
  refusals: 5,
  windowMs: 10_000,
  penaltyMs: 10_000,
  addresses: 4_096,
});

interface Row {
  times: number[];
  shutUntil: number;
  /** The end of the time that was told of. */
  toldUntil: number;
}

/**
 * What counts together: an IPv4 address in either of its forms, or the /64 that an IPv6 address is in, of which whoever
 * has one address has all.
 */
export function callerAt(address: string): string {
  const plain = plainAddress(address);
  const bytes = addressBytes(plain);
  if (bytes?.length !== 16) return plain;
  // link-local prefixes are the same on every link
  const zone = /%.*$/.exec(address)?.[0] ?? "";
  return bytes.subarray(0, 8).join(":") + zone;
}

/** The bounded table of refusals, by IPv4 address and IPv6 /64. */
export class Throttle {
  readonly #limits: ThrottleLimits;
  readonly #clock: Clock;
  readonly #rows = new Map<string, Row>();

  constructor(limits: ThrottleLimits, clock: Clock) {
    this.#limits = limits;
    this.#clock = clock;
  }

  /** Addresses in the table. */
  get size(): number {
    return this.#rows.size;
  }

  /** Notes a refused handshake. */
  refused(address: string): void {
    const now = this.#clock.monotonic();
    const caller = callerAt(address);
    const row = this.#rows.get(caller) ?? { times: [], shutUntil: 0, toldUntil: 0 };
    row.times = row.times.filter((time) => now - time < this.#limits.windowMs);
    row.times.push(now);
    if (row.times.length >= this.#limits.refusals) {
      row.shutUntil = now + this.#limits.penaltyMs;
      row.times = [];
    }
    // Map order is age: the row moves to the young end.
    this.#rows.delete(caller);
    this.#rows.set(caller, row);
    if (this.#rows.size > this.#limits.addresses) this.#rows.delete(this.#rows.keys().next().value!);
  }

  /** Whether an address is shut out now. */
  isShut(address: string): boolean {
    if (this.#rows.size === 0) return false;
    const row = this.#rows.get(callerAt(address));
    return row !== undefined && row.shutUntil > this.#clock.monotonic();
  }

  /** Whether nobody was told yet that an address is shut out this time; true once each time. */
  isNews(address: string): boolean {
    const row = this.#rows.get(callerAt(address));
    if (row === undefined || row.toldUntil === row.shutUntil) return false;
    row.toldUntil = row.shutUntil;
    return true;
  }
}
