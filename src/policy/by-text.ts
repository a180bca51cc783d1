/** Segment patterns by one text that each asks for: what a request does not hold there need not be looked at. */
import type { SegmentPattern } from "./pattern.ts";

/** Counts how many patterns ask for a text at a place. */
export class Rarity {
  readonly #counts = new Map<string, number>();

  constructor(patterns: readonly (SegmentPattern | undefined)[]) {
    for (const pattern of patterns) {
      for (const [at, text] of (pattern?.texts ?? []).entries()) {
        if (text !== undefined) this.#counts.set(`${at}/${text}`, this.#count(at, text) + 1);
      }
    }
  }

  #count(at: number, text: string): number {
    return this.#counts.get(`${at}/${text}`) ?? 0;
  }

  /** The place whose text the fewest others ask for; -1 where the pattern asks for none. */
  rarest(pattern: SegmentPattern | undefined): number {
    let place = -1;
    let fewest = Number.POSITIVE_INFINITY;
    for (const [at, text] of (pattern?.texts ?? []).entries()) {
      if (text === undefined || this.#count(at, text) >= fewest) continue;
      place = at;
      fewest = this.#count(at, text);
    }
    return place;
  }
}

/** Values by the text at one place of their pattern. */
export class ByText<T> {
  /** What no text is asked for. */
  readonly anywhere: T;
  /** Every place that some pattern is kept by. */
  readonly places: { readonly at: number; readonly texts: Map<string, T> }[] = [];
  readonly #make: () => T;

  /** @param make a new, empty value */
  constructor(make: () => T) {
    this.#make = make;
    this.anywhere = make();
  }

  /** The value for patterns with this text at this place, new or known; of place -1 the one for all. */
  under(pattern: SegmentPattern | undefined, at: number): T {
    const text = pattern?.texts[at];
    if (text === undefined) return this.anywhere;
    let place = this.places.find((one) => one.at === at);
    if (place === undefined) this.places.push((place = { at, texts: new Map() }));
    let found = place.texts.get(text);
    if (found === undefined) place.texts.set(text, (found = this.#make()));
    return found;
  }
}
