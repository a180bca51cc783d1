/** What many tokens say alike, kept once: a few objects that stay at hand, in place of one per token all over the memory. */
import { SpiffeId } from "../id/index.ts";

/** Values of each kind that are kept. */
const MAX_SHARED = 1_024;
/** Characters of the longest text that is kept. */
const MAX_KEPT = 2_048;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** The same text on its own: a part of a string keeps the whole of it, here a token, in memory. */
export function ownText(text: string): string {
  return decoder.decode(encoder.encode(text));
}

/** A table of values by the text they are made of. Only what verified tokens say may come here. */
function table<T>(make: (text: string) => T): (text: string) => T {
  const known = new Map<string, T>();
  return (text) => {
    const found = known.get(text);
    if (found !== undefined) return found;
    const own = ownText(text);
    const made = make(own);
    if (text.length > MAX_KEPT) return made;
    if (known.size >= MAX_SHARED) known.clear();
    known.set(own, made);
    return made;
  };
}

const idOf = table((uri) => {
  const id = SpiffeId.parse(uri);
  Object.freeze(id);
  return id;
});
const audienceOf = table<readonly string[]>((name) => Object.freeze([name]));

/** The one object for an ID. */
export function sharedId({ uri }: SpiffeId): SpiffeId {
  return idOf(uri);
}

/** The one list for an audience of one value; others are given back. */
export function sharedAudience(audience: readonly string[]): readonly string[] {
  return audience.length === 1 ? audienceOf(audience[0]!) : audience;
}
