/** Random choices that a seed repeats, on every runtime alike. */

/** A stream of random choices; the same seed and labels give the same stream. */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  /** @param labels what the stream is for, so that one case can be repeated without the cases before it */
  constructor(seed: number, ...labels: readonly (string | number)[]) {
    let hash = seed >>> 0;
    const mix = (value: number) => {
      hash = Math.imul(hash ^ value, 0x9e3779b1);
      hash = (hash ^ (hash >>> 15)) >>> 0;
      return hash;
    };
    for (const character of labels.join("/")) mix(character.charCodeAt(0));
    this.#a = mix(1);
    this.#b = mix(2);
    this.#c = mix(3);
    for (let i = 0; i < 12; i++) this.uint32();
  }

  /** 32 random bits, by Doty-Humphrey's sfc32. */
  uint32(): number {
    const sum = (this.#a + this.#b + this.#counter++) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }

  /** A whole number from 0 to below `bound`. */
  below(bound: number): number {
    return Math.floor((this.uint32() / 2 ** 32) * bound);
  }

  /** A whole number of the range, both ends included. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }

  /** True in that share of the calls. */
  chance(share: number): boolean {
    return this.uint32() < share * 2 ** 32;
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)]!;
  }

  bytes(length: number): Uint8Array<ArrayBuffer> {
    return new Uint8Array(length).map(() => this.below(256));
  }

  shuffled<T>(items: readonly T[]): T[] {
    const list = [...items];
    for (let i = list.length - 1; i > 0; i--) {
      const other = this.below(i + 1);
      [list[i], list[other]] = [list[other]!, list[i]!];
    }
    return list;
  }

  /** Some of the items, each with the same chance. */
  some<T>(items: readonly T[], share = 0.5): T[] {
    return items.filter(() => this.chance(share));
  }
}
