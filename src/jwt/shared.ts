/** What many tokens say alike, kept once: a few objects that stay at hand, in place of one per token all over the memory. */
import { SpiffeId } from "../id/index.ts";

/** IDs that are kept, of at most 2,048 bytes each. */
const MAX_SHARED = 1_024;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** The same text on its own: a part of a string keeps the whole of it, here a token, in memory. */
export function ownText(text: string): string {
  return decoder.decode(encoder.encode(text));
}

/** IDs by their text. Only those of verified tokens come here. */
const ids = new Map<string, SpiffeId>();

/** The ID of a text that a verified token had before: what a text says depends on the text alone. */
export function knownId(text: string): SpiffeId | undefined {
  return ids.get(text);
}

/** The one object for an ID, which nobody can change. */
export function sharedId(id: SpiffeId): SpiffeId {
  const known = ids.get(id.uri);
  if (known !== undefined) return known;
  const own = SpiffeId.parse(ownText(id.uri));
  Object.freeze(own);
  if (ids.size >= MAX_SHARED) ids.clear();
  ids.set(own.uri, own);
  return own;
}
