/** Hints: an operator's word for what an identity is meant for. They select, and prove nothing. */
import { LIMITS } from "../base/limits.ts";

/** A hint as it is kept: none when empty or longer than 1,024 bytes (WL-16). */
export function acceptedHint(hint: string): string | undefined {
  if (hint === "" || new TextEncoder().encode(hint).length > LIMITS.hint) return undefined;
  return hint;
}

/** Keeps the first of several elements with one hint (WL-15); elements without a hint all stay. */
export function firstOfEachHint<E extends { readonly hint: string }>(elements: readonly E[]): E[] {
  const seen = new Set<string>();
  return elements.filter(({ hint }) => hint === "" || (!seen.has(hint) && seen.add(hint)));
}
