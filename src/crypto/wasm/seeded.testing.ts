/** Numbers that depend on a seed alone (Mulberry32). */
import { toBigInt } from "../octets.ts";

export class Seeded {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0;
  }

  /** A number from 0 below a bound. */
  below(bound: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4_294_967_296) * bound);
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }

  octets(length: number): Uint8Array {
    const octets = new Uint8Array(length);
    for (let i = 0; i < length; i++) octets[i] = this.below(256);
    return octets;
  }

  /** A number of at most so many bits. */
  bits(count: number): bigint {
    return toBigInt(this.octets(Math.ceil(count / 8))) >> BigInt((8 - (count % 8)) % 8);
  }
}
