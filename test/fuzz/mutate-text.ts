/** Mutations of text with separators: tokens, PEM, SPIFFE IDs. */
import type { Random } from "./random.ts";

const STRANGE = [
  ..."\0\t\n\r !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~\u007f",
  ...["\u0080", "é", "ſ", "\u212a", "ı", "İ", "．", "／", "\u200b", "\u202e", "\ud800", "\udfff", "😀", "\ufeff", "Ａ"],
];
const STRETCHES = [
  "..",
  "/../",
  "/./",
  "//",
  "%2e",
  "%2F",
  "==",
  "-----BEGIN ",
  "-----",
  "spiffe://",
  "SPIFFE://",
  "@",
  ":80",
];

const EDITS: readonly ((text: string, random: Random) => string)[] = [
  (text, random) => at(text, random, (rest) => random.pick(STRANGE) + rest),
  (text, random) => at(text, random, (rest) => random.pick(STRANGE) + rest.slice(1)),
  (text, random) => at(text, random, (rest) => random.pick(STRETCHES) + rest),
  (text, random) => at(text, random, (rest) => rest.slice(random.pick([1, 1, 2, 9]))),
  (text, random) =>
    at(
      text,
      random,
      (rest) => String.fromCharCode((rest.charCodeAt(0) || 0x41) ^ (1 << random.below(7))) + rest.slice(1),
    ),
  (text, random) => at(text, random, (rest) => rest.slice(0, 1).repeat(random.pick([1, 2, 300, 70_000])) + rest),
  (text, random) =>
    at(text, random, (rest) => rest.replace(/[a-zA-Z]/, (c) => (c < "a" ? c.toLowerCase() : c.toUpperCase()))),
  (text, random) => text.slice(0, random.below(text.length + 1)),
  (text, random) => text.slice(random.below(text.length + 1)),
  (text) => text + text,
  function swapParts(text, random) {
    const separator = random.pick([".", "/", "\n", "-----"]);
    const parts = text.split(separator);
    const [from, to] = [random.below(parts.length), random.below(parts.length)];
    const change = random.pick([
      () => ([parts[from], parts[to]] = [parts[to]!, parts[from]!]),
      () => parts.splice(from, 1),
      () => parts.splice(to, 0, parts[from]!),
      () => parts.splice(to, 0, ""),
    ]);
    change();
    return parts.join(separator);
  },
];

function at(text: string, random: Random, change: (rest: string) => string): string {
  const place = random.below(text.length + 1);
  return text.slice(0, place) + change(text.slice(place));
}

/** A mutant of a text; it may hold lone surrogates. */
export function mutateText(text: string, random: Random): string {
  let mutant = text;
  for (let i = random.pick([1, 1, 1, 2, 3]); i > 0; i--) mutant = random.pick(EDITS)(mutant, random).slice(0, 300_000);
  return mutant;
}
