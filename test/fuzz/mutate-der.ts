/** Mutations of DER that know its structure, so that a mutant gets past the first length it meets. */
import type { Random } from "./random.ts";

/** An element: its identifier octets, and either content or the elements in it. */
interface Node {
  identifier: Uint8Array;
  content: Uint8Array;
  children?: Node[];
  /** Octets before the elements inside, as a BIT STRING has one. */
  lead?: number;
  /** Written in place of the right length. */
  length?: Uint8Array;
}

const MAX_MUTANT = 200_000;

function parse(bytes: Uint8Array): Node[] | undefined {
  const nodes: Node[] = [];
  for (let at = 0; at < bytes.length; ) {
    const start = at;
    if ((bytes[at]! & 0x1f) === 0x1f) return undefined;
    let length = bytes[at + 1];
    at += 2;
    if (length === undefined) return undefined;
    if (length >= 0x80) {
      const count = length & 0x7f;
      if (count === 0 || count > 3 || at + count > bytes.length) return undefined;
      length = 0;
      for (let i = 0; i < count; i++) length = length * 256 + bytes[at++]!;
    }
    if (at + length > bytes.length) return undefined;
    const content = bytes.subarray(at, at + length);
    at += length;
    nodes.push(withChildren({ identifier: bytes.subarray(start, start + 1), content }));
  }
  return nodes;
}

/** Looks for elements inside, also in strings that wrap an encoding. */
function withChildren(node: Node): Node {
  const tag = node.identifier[0]!;
  const lead = tag === 0x03 ? 1 : 0;
  const wraps = (tag & 0x20) !== 0 || ((tag === 0x03 || tag === 0x04) && node.content[lead] === 0x30);
  const children = wraps && node.content.length > lead ? parse(node.content.subarray(lead)) : undefined;
  return children === undefined ? node : { ...node, children, lead };
}

function lengthOf(length: number): Uint8Array {
  if (length < 0x80) return Uint8Array.of(length);
  const octets: number[] = [];
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) octets.unshift(rest % 256);
  return Uint8Array.of(0x80 | octets.length, ...octets);
}

function write({ identifier, content, children, lead = 0, length }: Node): Uint8Array {
  const inside = children === undefined ? content : concat([content.subarray(0, lead), ...children.map(write)]);
  return concat([identifier, length ?? lengthOf(inside.length), inside]);
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

/** Every element of a tree with the list that holds it. */
function places(nodes: Node[]): { node: Node; list: Node[]; at: number }[] {
  return nodes.flatMap((node, at) => [{ node, list: nodes, at }, ...places(node.children ?? [])]);
}

const INTERESTING = [0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0c, 0x13, 0x16, 0x17, 0x18, 0x1f, 0x24, 0x30, 0x31];
const MORE = [0x7f, 0x80, 0x81, 0x82, 0x86, 0xa0, 0xa1, 0xa3, 0xff];

type Edit = (place: { node: Node; list: Node[]; at: number }, random: Random, donor: Node[]) => void;

/** A copy that shares nothing that later edits change: what was inside is content. */
function flat(node: Node): Node {
  const { identifier, content, children, lead } = node;
  return {
    identifier,
    content: children === undefined ? content : concat([content.subarray(0, lead), ...children.map(write)]),
  };
}

/** Makes a node a leaf of the tree. */
function flatten(node: Node): void {
  node.content = flat(node).content;
  delete node.children;
}

const EDITS: readonly Edit[] = [
  function remove({ list, at }) {
    list.splice(at, 1);
  },
  function duplicate({ node, list, at }, random) {
    list.splice(at, 0, ...Array<Node>(random.pick([1, 1, 1, 2, 50])).fill(flat(node)));
  },
  function swap({ list, at }, random) {
    const other = random.below(list.length);
    [list[at], list[other]] = [list[other]!, list[at]!];
  },
  function retag({ node }, random) {
    node.identifier = Uint8Array.of(random.pick([...INTERESTING, ...MORE]));
  },
  function highTag({ node }, random) {
    node.identifier = Uint8Array.of(0x1f | (node.identifier[0]! & 0xe0), ...random.bytes(random.between(1, 6)));
  },
  function wrongLength({ node }, random) {
    const right = lengthOf(write(node).length);
    const long = Uint8Array.of(0x80 | right.length, ...right);
    const huge = [Uint8Array.of(0x84, 0xff, 0xff, 0xff, 0xff), Uint8Array.of(0x88, 1, 0, 0, 0, 0, 0, 0, 0)];
    const off = lengthOf(Math.max(0, write(node).length + random.between(-4, 4)));
    node.length = random.pick([Uint8Array.of(0x80), Uint8Array.of(0x81, ...right), long, ...huge, off]);
  },
  function nest({ node, list, at }, random) {
    const inner: Node[] = [node];
    for (let i = random.pick([1, 2, 15, 17, 40, 3_000]); i > 0; i--) {
      const [only] = inner.splice(0);
      const content = write(only!);
      inner.push({ identifier: Uint8Array.of(random.pick([0x30, 0x30, 0x31, 0xa0])), content });
    }
    list[at] = inner[0]!;
  },
  function grow({ node }, random) {
    flatten(node);
    const filler = random.pick([() => random.bytes(1), () => node.content, () => Uint8Array.of(0x81)])();
    const count = Math.floor(random.pick([1, 40, 1_000, 60_000]) / Math.max(1, filler.length)) + 1;
    const grown = concat([node.content, ...Array<Uint8Array>(count).fill(filler)]);
    node.content = random.chance(0.5) ? grown : concat([...Array<Uint8Array>(count).fill(filler), Uint8Array.of(1)]);
  },
  function shrink({ node }, random) {
    flatten(node);
    node.content = node.content.subarray(0, random.below(node.content.length + 1));
  },
  function setOctet({ node }, random) {
    flatten(node);
    const content = new Uint8Array(node.content);
    content[random.below(content.length)] = random.pick([...INTERESTING, ...MORE]);
    node.content = content;
  },
  function flip({ node }, random) {
    flatten(node);
    const content = new Uint8Array(node.content);
    content[random.below(content.length)]! ^= 1 << random.below(8);
    node.content = content;
  },
  function text({ node }, random) {
    flatten(node);
    const said = random.pick([
      "\0",
      "é",
      "spiffe://",
      "spiffe://td/%2e",
      "*",
      "a@b@c",
      "..",
      "xn--",
      "\u202e",
      "300101000000Z",
    ]);
    node.content = random.chance(0.5) ? Buffer.from(said) : concat([node.content, Buffer.from(said)]);
  },
  function graft({ list, at }, random, donor) {
    const from = places(donor);
    if (from.length > 0) list.splice(at, random.below(2), flat(random.pick(from).node));
  },
];

/** Changes of the whole, whatever it holds. */
const RAW: readonly ((bytes: Uint8Array, random: Random) => Uint8Array)[] = [
  (bytes, random) => {
    const changed = new Uint8Array(bytes);
    for (let i = random.pick([1, 1, 2, 8]); i > 0; i--) changed[random.below(changed.length)]! ^= 1 << random.below(8);
    return changed;
  },
  (bytes, random) => {
    const changed = new Uint8Array(bytes);
    changed[random.below(changed.length)] = random.pick([...INTERESTING, ...MORE]);
    return changed;
  },
  (bytes, random) => bytes.subarray(0, random.below(bytes.length)),
  (bytes, random) => bytes.subarray(random.below(bytes.length)),
  (bytes, random) => concat([bytes, random.bytes(random.pick([1, 2, 100]))]),
  (bytes, random) => {
    const [from, to] = [random.below(bytes.length), random.below(bytes.length)];
    return concat([bytes.subarray(0, from), random.bytes(random.below(4)), bytes.subarray(to)]);
  },
  (bytes) => concat([bytes, bytes]),
];

/**
 * A mutant of an encoding.
 *
 * @param donor another encoding, parts of which may be put in
 */
export function mutateDer(bytes: Uint8Array, random: Random, donor: Uint8Array): Uint8Array {
  if (random.chance(0.25)) return random.pick(RAW)(bytes, random);
  const tree = parse(bytes);
  if (tree === undefined) return random.pick(RAW)(bytes, random);
  const donated = parse(donor) ?? [];
  for (let i = random.pick([1, 1, 1, 2, 3]); i > 0; i--) {
    const all = places(tree);
    if (all.length > 0) random.pick(EDITS)(random.pick(all), random, donated);
  }
  return concat(tree.map(write)).subarray(0, MAX_MUTANT);
}
