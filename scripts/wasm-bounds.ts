/**
 * Proves that no limb of the WebAssembly verifier's fields leaves its 64 bits, nor its 32 in a table: runs the compiled
 * functions of `wasm/` with ranges in place of numbers (lib/wasm-intervals.ts), until no more sums, doublings and rounds
 * make any range wider. Prints a line per curve. At the end it plants two faults, which it has to see.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { replaceOnce } from "./lib/control-row.ts";
import { bin, root, run } from "./lib/run.ts";
import { joined, Machine, type Range, range, type StandIn, sizeOf } from "./lib/wasm-intervals.ts";

interface Field {
  readonly name: string;
  /** The type parameter by which the curve is told. */
  readonly type: string;
  readonly limbs: number;
  readonly bits: number;
  /** Bits of p. */
  readonly size: number;
  /** Points that a signature has at most: as many rounds of affine sums as there are halvings of them. */
  readonly points: number;
  /** Whether the points of signatures are summed two by two, in lanes of vectors. */
  readonly twins?: true;
}

const FIELDS: readonly Field[] = [
  { name: "P-256", type: "u8", limbs: 9, bits: 29, size: 256, points: 70, twins: true },
  { name: "P-384", type: "u16", limbs: 13, bits: 30, size: 384, points: 142 },
  { name: "P-521", type: "u32", limbs: 18, bits: 29, size: 521, points: 192 },
];

/** Room for elements of the proof, above all that the module has. */
const SCRATCH = 800_000;
const TOGETHER = 96;
/** Rounds after which the module makes each x small again: ROUNDS_UNSETTLED of batch.ts. */
const ROUNDS_UNSETTLED = 3;

/** Octets of two points in lanes: TWIN of twins.ts. */
const TWIN = 144;
/** Sums of twins that are proved together: products of denominators come to rest after a few. */
const TWINS_TOGETHER = 12;

type Element = readonly Range[];
type Point = readonly [x: Element, y: Element];

/** What no verdict of the corpus shows: a sum without carries where one with carries belongs, and numbers that grow and grow. */
const FAULTS = [
  { of: "P-384", file: "point.ts", find: "combine<C>(A, 1, x, A);", replace: "addLazy<C>(A, x, A);" },
  { of: "P-384", file: "batch.ts", find: "settle<C>(point, point);", replace: "mul<C>(X, point, point);" },
  { of: "P-256", file: "twins.ts", find: "mulPair(twin, SPARE, twin);", replace: "mulPair(X, SPARE, twin);" },
  { of: "P-256", file: "lanes.ts", find: "(<i64>1) << 62) +", replace: "(<i64>1) << 58) +" },
] as const;

/** The text form of the module, names kept, with a fault if one is planted. */
async function compiled(fault?: (typeof FAULTS)[number]): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), "spiffe-edge-bounds-"));
  try {
    cpSync(join(root, "wasm"), join(folder, "wasm"), { recursive: true });
    if (fault !== undefined) {
      const { file, find, replace } = fault;
      const path = join(folder, "wasm", file);
      writeFileSync(path, replaceOnce(readFileSync(path, "utf8"), file, find, replace));
    }
    const asc = join(root, "node_modules/assemblyscript/bin/asc.js");
    const flags = [
      "--runtime",
      "stub",
      "-O0",
      "--noAssert",
      "--debug",
      "--use",
      "abort=",
      "--use",
      "CHECK=0",
      "--enable",
      "simd",
    ];
    const args = [asc, "wasm/index.ts", "-o", "out.wasm", "--textFile", "out.wat", ...flags];
    const built = await run(bin("node"), args, { cwd: folder });
    if (built.code !== 0) throw new Error(`AssemblyScript refuses the source:\n${built.output}`);
    return readFileSync(join(folder, "out.wat"), "utf8");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** What is proved of one curve. */
class Proof {
  readonly #field: Field;
  readonly #machine: Machine;
  readonly #width: number;
  /** What the next questions whether an element is zero are answered; no otherwise. */
  #answers: number[] = [];
  widestTop = 0n;
  largest = 0n;

  constructor(text: string, field: Field) {
    this.#field = field;
    this.#width = 8 * field.limbs;
    const none: StandIn = () => undefined;
    this.#machine = new Machine(text, {
      "wasm/field/isZero": ([at]) => this.#isZero(at as number),
      "wasm/field/canonical": ([to]) => this.#writePositive(to as number, field.limbs, field.bits),
      "wasm/words/unpack": ([to, count, bits]) => this.#writePositive(to as number, count as number, bits as number),
      // octets and words, which have no limbs
      "wasm/words/pack": none,
      "wasm/words/reverse": none,
      "wasm/inverse/invert": none,
      "wasm/scalar/addWords": none,
      "wasm/scalar/compare": () => -1,
    });
  }

  run(): void {
    const rounds = Math.ceil(Math.log2(this.#field.points));
    const key = this.#key();
    const generator = this.#constant("generator", 2);
    let affine = joinPoints(key, [generator.slice(0, this.#field.limbs), generator.slice(this.#field.limbs)]);
    let sum: Point & { readonly 2?: Element } = affine;
    let z: Element = this.#constant("one", 1);
    for (let turn = 0; ; turn++) {
      if (turn > 40) throw new Error("the ranges do not come to rest");
      const before = text([sum, z, affine]);
      // sums of any points so far, in every case of the addition law
      const at = this.#machine.global("wasm/point/SUM");
      for (const answers of [[], [1, 1], "double"] as const) {
        this.#writePoint(at, sum);
        this.#write(at + 2 * this.#width, z);
        this.#machine.setGlobal("wasm/point/sumIsInfinity", 0);
        this.#writePoint(SCRATCH, affine);
        if (answers === "double") this.#call("point/doubleSum");
        else {
          this.#answers = [...answers];
          this.#call("point/addToSum", SCRATCH);
        }
        sum = joinPoints(sum, this.#readPoint(at));
        z = join2(z, this.#read(at + 2 * this.#width));
      }
      affine = joinPoints(affine, this.#odd(key));
      // whatever sum, divided by its z, goes into a table, and table entries are summed in rounds
      affine = joinPoints(affine, this.#affineOf(sum, z));
      let entry = this.#entryOf(affine);
      for (let round = 1; round <= rounds; round++) {
        let out = this.#planned(entry, round === 1);
        if (this.#field.twins) out = joinPoints(out, this.#twins(entry));
        affine = joinPoints(affine, out);
        if (round === 1) entry = joinPoints(entry, this.#entryOf(out));
        entry = joinPoints(entry, out);
        if (round % ROUNDS_UNSETTLED === 0) entry = this.#settled(entry);
      }
      if (text([sum, z, affine]) === before) break;
    }
    const at = this.#machine.global("wasm/point/SUM");
    this.#writePoint(at, sum);
    this.#write(at + 2 * this.#width, z);
    this.#machine.setGlobal("wasm/point/sumIsInfinity", 0);
    this.#call("batch/sumHasX", SCRATCH);
    this.largest = this.#machine.largest;
    this.#words();
    for (const element of [...sum, z, ...affine]) {
      const top = sizeOf(element.at(-1)!);
      if (top > this.widestTop) this.widestTop = top;
    }
  }

  /**
   * Words of 30 bits modulo the order: a product, and one step of an inverse, whose matrix has entries of at most 2^30 and whose
   * numbers stay below twice the modulus (Bernstein and Yang, theorem 11.2 and its like for the coefficients).
   */
  #words(): void {
    const machine = this.#machine;
    const length = this.#field.limbs;
    const [r, a, b, n] = [SCRATCH, SCRATCH + 1024, SCRATCH + 2048, this.#address("orderWords")];
    for (const at of [a, b]) this.#writePositive(at, length, 30);
    const inverse = machine.call(`wasm/curves/orderInverse<${this.#field.type}>`)!;
    machine.call("wasm/scalar/mulOrder", r, a, b, n, inverse, length);
    const one = 1n << 30n;
    for (const name of ["U", "V", "Q", "R"]) machine.setGlobal(`wasm/inverse/matrix${name}`, range(-one, one));
    for (const name of ["F", "G", "D", "E"]) {
      const at = machine.global(`wasm/inverse/${name}`);
      for (let i = 0; i < length; i++)
        machine.store(at + 8 * i, i < length - 1 ? range(0n, one - 1n) : range(-2n * one, 2n * one));
    }
    machine.call("wasm/inverse/apply", length);
    machine.call("wasm/inverse/applyModulo", n, inverse, length);
  }

  #address(name: string): number {
    return this.#machine.call(`wasm/curves/${name}<${this.#field.type}>`) as number;
  }

  #call(name: string, ...args: number[]): void {
    this.#machine.call(`wasm/${name}<${this.#field.type}>`, ...args);
  }

  /** The coordinates of a key, as they are read, and the check of the curve's equation. */
  #key(): Point {
    this.#call("ecdsa/readKey", SCRATCH, SCRATCH + 4096);
    return this.#readPoint(SCRATCH);
  }

  /** The odd multiples of a key without a table, with both signs. */
  #odd(key: Point): Point {
    const [point, to] = [SCRATCH, SCRATCH + 4096];
    this.#writePoint(point, key);
    this.#call("ecdsa/oddMultiples", to, point);
    let all = this.#readPoint(to);
    for (let i = 1; i < 8; i++) all = joinPoints(all, this.#readPoint(to + 2 * i * this.#width));
    this.#writePoint(point, all);
    this.#call("affine/opposite", to, point);
    return joinPoints(all, this.#readPoint(to));
  }

  #affineOf(sum: Point, z: Element): Point {
    const [from, to] = [SCRATCH + 100_000, SCRATCH];
    for (let i = 0; i < TOGETHER; i++) {
      this.#writePoint(from + 3 * i * this.#width, sum);
      this.#write(from + (3 * i + 2) * this.#width, z);
    }
    this.#call("affine/toAffine", to, from, TOGETHER);
    let all = this.#readPoint(to);
    for (let i = 1; i < TOGETHER; i++) all = joinPoints(all, this.#readPoint(to + 2 * i * this.#width));
    return all;
  }

  /** A point as a table gives it back, with both signs. */
  #entryOf(point: Point): Point {
    const [entry, to] = [SCRATCH, SCRATCH + 4096];
    this.#writePoint(to, point);
    this.#call("table/packPoint", entry, to);
    const back = [1n, -1n].map((sign) => {
      this.#machine.call(`wasm/table/unpackPoint<${this.#field.type}>`, to, entry, range(sign, sign));
      return this.#readPoint(to);
    });
    return joinPoints(back[0]!, back[1]!);
  }

  /** The point that a third round leaves of a pair: what batch.ts makes of it. */
  #settled(point: Point): Point {
    const at = this.#machine.global("wasm/table/POINTS");
    this.#machine.storeInt(this.#machine.global("wasm/batch/COUNTS"), 2);
    this.#machine.storeInt(this.#machine.global("wasm/batch/STRIDES"), this.#field.twins ? TWIN : 2 * this.#width);
    if (this.#field.twins) this.#writeTwin(at, point);
    else this.#writePoint(at, point);
    this.#call("batch/halve", 0, ROUNDS_UNSETTLED);
    return this.#field.twins ? this.#readTwin(at) : this.#readPoint(at);
  }

  /** A round of sums of two such points each, the first with doublings among them. */
  #planned(point: Point, doublings: boolean): Point {
    const [left, right] = [SCRATCH, SCRATCH + 2 * this.#width];
    let all: Point | undefined;
    const at = (i: number) => left + 4 * i * this.#width;
    for (let i = 0; i < TOGETHER; i++) {
      this.#writePoint(at(i), point);
      this.#writePoint(at(i) - left + right, point);
      const second = doublings && i % 3 === 0 ? at(i) : at(i) - left + right;
      this.#machine.call("wasm/affine/plan", i, at(i), second, at(i));
    }
    this.#call("affine/addPlanned", TOGETHER);
    for (let i = 0; i < TOGETHER; i++) {
      const out = this.#readPoint(at(i));
      all = all === undefined ? out : joinPoints(all, out);
    }
    return all!;
  }

  /** A round of sums of two twins of such points each. */
  #twins(point: Point): Point {
    const at = (i: number) => SCRATCH + 2 * i * TWIN;
    for (let i = 0; i < TWINS_TOGETHER; i++) {
      this.#writeTwin(at(i), point);
      this.#writeTwin(at(i) + TWIN, point);
      this.#machine.call("wasm/affine/plan", i, at(i), at(i) + TWIN, at(i));
    }
    this.#machine.call("wasm/twins/addPlannedTwins", TWINS_TOGETHER);
    let all = this.#readTwin(at(0));
    for (let i = 1; i < TWINS_TOGETHER; i++) all = joinPoints(all, this.#readTwin(at(i)));
    return all;
  }

  /** The same point in both lanes. */
  #writeTwin(at: number, point: Point): void {
    const wide = SCRATCH + 200_000;
    this.#writePoint(wide, point);
    this.#machine.call("wasm/lanes/pair", at, wide, wide);
    this.#machine.call("wasm/lanes/pair", at + TWIN / 2, wide + this.#width, wide + this.#width);
  }

  /** What is in either lane. */
  #readTwin(at: number): Point {
    const wide = SCRATCH + 200_000;
    const lanes = [0, 1].map((lane) => {
      this.#machine.call("wasm/lanes/ofLane", wide, at, lane);
      this.#machine.call("wasm/lanes/ofLane", wide + this.#width, at + TWIN / 2, lane);
      return this.#readPoint(wide);
    });
    return joinPoints(lanes[0]!, lanes[1]!);
  }

  /** A constant of the curve; it has to be tight. */
  #constant(name: string, count: number): Element {
    const at = this.#address(name);
    return Array.from({ length: count * this.#field.limbs }, (_, i) => this.#machine.load(at + 8 * i));
  }

  /** An element asked whether it is zero has to be below 64 p, with tight limbs: its lowest limb then tells most. */
  #isZero(at: number): number {
    const { bits, limbs, size } = this.#field;
    const element = this.#read(at);
    const tight = (1n << BigInt(bits - 1)) + (size === 521 ? 128n : 0n);
    if (element.slice(0, -1).some((limb) => sizeOf(limb) > tight)) throw new Error("isZero is asked of loose limbs");
    if (sizeOf(element.at(-1)!) > 1n << BigInt(size - bits * (limbs - 1) + 5))
      throw new Error("isZero is asked of much");
    return this.#answers.shift() ?? 0;
  }

  /** Limbs or words from 0 of a number below p. */
  #writePositive(to: number, count: number, bits: number): undefined {
    for (let i = 0; i < count; i++) {
      const left = BigInt(Math.max(0, Math.min(bits, this.#field.size - bits * i)));
      this.#machine.store(to + 8 * i, range(0n, (1n << left) - 1n));
    }
  }

  #read(at: number): Element {
    return Array.from({ length: this.#field.limbs }, (_, i) => this.#machine.load(at + 8 * i));
  }

  #write(at: number, element: Element): void {
    // a new range each: two elements with the same bounds are not the same number
    element.forEach(({ lo, hi }, i) => void this.#machine.store(at + 8 * i, range(lo, hi)));
  }

  #readPoint(at: number): Point {
    return [this.#read(at), this.#read(at + this.#width)];
  }

  #writePoint(at: number, [x, y]: Point): void {
    this.#write(at, x);
    this.#write(at + this.#width, y);
  }
}

/** RSA: limbs from 0 of 27 bits, 152 of them at most; a product and a square of two numbers, reduced, with and without n less. */
function proveRsa(source: string): bigint {
  const [length, limb] = [152, (1n << 27n) - 1n];
  let reached = 0;
  const machine = new Machine(source, { "wasm/rsa/reaches": () => reached });
  machine.setGlobal("wasm/rsa/length", length);
  machine.setGlobal("wasm/rsa/negated", range(0n, limb));
  const [a, b, r] = [SCRATCH, SCRATCH + 8 * length, SCRATCH + 16 * length];
  const write = (at: number) => {
    for (let i = 0; i < length; i++) machine.store(at + 8 * i, range(0n, limb));
  };
  for (const at of [a, b, machine.global("wasm/rsa/N")]) write(at);
  for (reached of [0, 1]) {
    machine.call("wasm/rsa/product", a, b);
    machine.call("wasm/rsa/reduce", r);
    machine.call("wasm/rsa/square", a);
    machine.call("wasm/rsa/reduce", r);
    for (let i = 0; i < length; i++) {
      const { lo, hi } = machine.load(r + 8 * i);
      if (lo < 0n || hi > limb) throw new Error("RSA: a limb of more than 27 bits");
    }
  }
  return machine.largest;
}

function join2(a: Element, b: Element): Element {
  return a.map((limb, i) => joined(limb, b[i]!));
}

function joinPoints([x, y]: Point, [otherX, otherY]: Point): Point {
  return [join2(x, otherX), join2(y, otherY)];
}

function text(parts: readonly unknown[]): string {
  return JSON.stringify(parts, (key, value) => {
    if (typeof value === "bigint") return String(value);
    return key === "plus" || key === "rounded" || key === "nearest" || key === "moved" ? undefined : value;
  });
}

function log2(size: bigint): string {
  return Math.log2(Number(size)).toFixed(1);
}

function prove(source: string, field: Field): Proof {
  const proof = new Proof(source, field);
  try {
    proof.run();
  } catch (fault) {
    throw new Error(`${field.name}: ${fault instanceof Error ? fault.message : fault}`);
  }
  return proof;
}

async function main(): Promise<void> {
  const source = await compiled();
  for (const field of FIELDS) {
    const { largest, widestTop } = prove(source, field);
    console.log(`${field.name}: columns of at most 2^${log2(largest)}, top limbs of at most 2^${log2(widestTop)}`);
  }
  console.log(`RSA: columns of at most 2^${log2(proveRsa(source))}`);
  for (const fault of FAULTS) {
    const spoilt = await compiled(fault);
    let seen = "";
    try {
      prove(spoilt, FIELDS.find(({ name }) => name === fault.of)!);
    } catch (found) {
      seen = String(found);
    }
    if (!/more than 64 bits|do not come to rest|is asked of/.test(seen)) {
      throw new Error(`The planted fault in ${fault.file} is not seen (${seen}): the proof proves nothing.`);
    }
  }
}

try {
  await main();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
