/** Mutations of JSON that know its structure and write what no serialiser would. */
import type { Random } from "./random.ts";

/** A value as it is written: text that stands as it is, elements, or members whose names are text that stands as it is. */
type Json = { raw: string } | { list: Json[] } | { members: [name: string, value: Json][] };

function read(value: unknown): Json {
  if (Array.isArray(value)) return { list: value.map(read) };
  if (typeof value !== "object" || value === null) return { raw: JSON.stringify(value) };
  return { members: Object.entries(value).map(([name, inner]) => [JSON.stringify(name), read(inner)]) };
}

function write(json: Json): string {
  if ("raw" in json) return json.raw;
  if ("list" in json) return `[${json.list.map(write).join(",")}]`;
  return `{${json.members.map(([name, value]) => `${name}:${write(value)}`).join(",")}}`;
}

/** Every value with the way to put another one in its place. */
function places(json: Json, put: (value: Json) => void): { json: Json; put(value: Json): void }[] {
  const here = [{ json, put }];
  if ("list" in json) {
    return [...here, ...json.list.flatMap((inner, i) => places(inner, (value) => void (json.list[i] = value)))];
  }
  if (!("members" in json)) return here;
  return [...here, ...json.members.flatMap((member) => places(member[1], (value) => void (member[1] = value)))];
}

const nested = (open: string, close: string, depth: number) => open.repeat(depth) + close.repeat(depth);

const VALUES: readonly (() => string)[] = [
  () => "null",
  () => "true",
  () => '""',
  () => "[]",
  () => "{}",
  () => "0",
  () => "-0",
  () => "1.0",
  () => "1e999",
  () => "-1e999",
  () => "9007199254740993",
  () => "18446744073709551616",
  () => "-1",
  () => "01",
  () => "9".repeat(2_000),
  () => `1${"0".repeat(400)}`,
  () => "NaN",
  () => "undefined",
  () => "'x'",
  () => '"\\ud800"',
  () => '"\\u0000"',
  () => '"\\x"',
  () => '"__proto__"',
  () => `"${"x".repeat(70_000)}"`,
  () => `"${"\\u0041".repeat(10_000)}"`,
  () => nested("[", "]", 31),
  () => nested("[", "]", 40),
  () => nested("[", "]", 50_000),
  () => `${'{"a":'.repeat(40)}1${"}".repeat(40)}`,
  () => `[${"0,".repeat(20_000)}0]`,
  () => '"spiffe://example.org/web"',
  () => '["spiffe://example.org/orders"]',
];

const NAMES: readonly string[] = [
  ...[
    "__proto__",
    "constructor",
    "toString",
    "keys",
    "use",
    "kid",
    "alg",
    "crit",
    "kty",
    "x5c",
    "crv",
    "d",
    "exp",
    "aud",
  ],
].map((name) => JSON.stringify(name));

const EDITS: readonly ((place: { json: Json; put(value: Json): void }, random: Random) => void)[] = [
  ({ put }, random) => put({ raw: random.pick(VALUES)() }),
  ({ json, put }) => put({ list: [json] }),
  ({ json, put }) => put({ list: Array<Json>(30).fill(json) }),
  function retype({ json, put }) {
    if ("raw" in json) put({ raw: json.raw.startsWith('"') ? json.raw.slice(1, -1) : `"${json.raw}"` });
    else if ("list" in json) put({ members: json.list.map((value, i) => [`"${i}"`, value]) });
    else put({ list: json.members.map(([, value]) => value) });
  },
  function edit({ json, put }, random) {
    if ("list" in json && json.list.length > 0) {
      const at = random.below(json.list.length);
      if (random.chance(0.5)) json.list.splice(at, 1);
      else json.list.splice(at, 0, json.list[at]!);
    } else if ("members" in json && json.members.length > 0) {
      const at = random.below(json.members.length);
      const [name, value] = json.members[at]!;
      const other = json.members[random.below(json.members.length)]!;
      random.pick([
        () => json.members.splice(at, 1),
        () => json.members.push([name, value]),
        () => json.members.push([escaped(name), other[1]]),
        () => json.members.splice(at, 1, [random.pick(NAMES), value]),
        () => json.members.push([random.pick(NAMES), { raw: random.pick(VALUES)() }]),
        () => json.members.splice(at, 1, [name, other[1]]),
        () => json.members.splice(at, 1, [name.toUpperCase(), value]),
      ])();
    } else if ("raw" in json) put({ raw: spoilText(json.raw, random) });
  },
];

/** The same name in another spelling. */
function escaped(name: string): string {
  return name.length < 3 ? name : `"\\u${name.charCodeAt(1).toString(16).padStart(4, "0")}${name.slice(2)}`;
}

function spoilText(raw: string, random: Random): string {
  const at = random.below(raw.length + 1);
  const insert = random.pick(["=", "+", "/", "-", "_", " ", "\\", '"', "\n", "A", "é", "\u2028", "%", "", ""]);
  return raw.slice(0, at) + insert + raw.slice(at + random.below(2));
}

const utf8 = new TextEncoder();

/** The largest mutant: how long a larger document takes is for the benches. */
const MAX_MUTANT = 250_000;

/** A mutant of a JSON document, as bytes. */
export function mutateJson(document: string, random: Random): Uint8Array {
  let root = read(JSON.parse(document));
  for (let i = random.pick([0, 1, 1, 1, 2, 4]); i > 0; i--) {
    const all = places(root, (value) => void (root = value));
    // a few of the outer values, too: documents with many keys would hide them
    random.pick(EDITS)(random.chance(0.3) ? all[random.below(Math.min(4, all.length))]! : random.pick(all), random);
  }
  const text = write(root).slice(0, MAX_MUTANT);
  const bytes = utf8.encode(text);
  if (random.chance(0.7)) return bytes;
  return random.pick([
    () => utf8.encode(spoilText(text, random)),
    () => bytes.subarray(0, random.below(bytes.length)),
    () => new Uint8Array(Buffer.concat([Uint8Array.of(0xef, 0xbb, 0xbf), bytes])),
    () => new Uint8Array(Buffer.concat([bytes, bytes])),
    () => new Uint8Array(Buffer.from(text, "utf16le")),
    () => {
      const changed = new Uint8Array(bytes);
      changed[random.below(changed.length)]! ^= 1 << random.below(8);
      return changed;
    },
  ])();
}
