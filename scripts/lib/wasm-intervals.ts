/**
 * Runs WebAssembly text with ranges in place of 64-bit numbers: what comes out holds for every input in the ranges.
 *
 * Addresses, counters and the numbers they are made of are exact. Of a 64-bit sum, difference, product or shift that could
 * leave 64 bits only the lowest bits may be used, by a mask or by a shift to the left and back: any other use ends the run
 * with a fault. A branch that the ranges leave open is a fault as well: a driver stands in for functions that branch on data.
 */
import { type Vector, vectorStep } from "./wasm-vectors.ts";

/** All whole numbers from `lo` to `hi`, with what is known of how they came about. */
export interface Range {
  readonly lo: bigint;
  readonly hi: bigint;
  /** `of` plus an exact number: half of a limb's base, before a rounding shift. */
  readonly plus?: { readonly of: Range; readonly by: bigint };
  /** `of` divided by 2^bits and rounded. */
  readonly rounded?: { readonly of: Range; readonly bits: bigint };
  /** The multiple of 2^bits that is nearest to `of`. */
  readonly nearest?: { readonly of: Range; readonly bits: bigint };
  /** `of` moved up by so many bits, some of which may have been lost. */
  readonly moved?: { readonly of: Range; readonly bits: bigint };
  /** Set when bits may have been lost: the lowest ones alone are right. */
  readonly lossy?: true;
}

/** A 32-bit number is exact, but for limbs of tables and of pairs. */
type Value = number | Range | Vector;

type Node =
  | { readonly op: string; readonly args: readonly string[] }
  | { readonly op: "block" | "loop"; readonly label: string; readonly body: readonly Node[] }
  | { readonly op: "if"; readonly body: readonly Node[]; readonly other: readonly Node[] };

interface Code {
  readonly name: string;
  readonly params: readonly string[];
  readonly locals: ReadonlyMap<string, "i32" | "i64" | "v128">;
  readonly results: number;
  readonly body: readonly Node[];
}

/** Takes the place of a function; what it returns is the function's result. */
export type StandIn = (args: readonly Value[], machine: Machine) => Value | undefined;

const LIMIT = 1n << 63n;

export function range(lo: bigint, hi: bigint): Range {
  return { lo, hi };
}

function exact(value: bigint): Range {
  return { lo: value, hi: value };
}

/** The smallest range with all of both. */
export function joined(a: Range, b: Range): Range {
  return a.lo <= b.lo && a.hi >= b.hi ? a : range(a.lo < b.lo ? a.lo : b.lo, a.hi > b.hi ? a.hi : b.hi);
}

/** The largest size of a number in a range. */
export function sizeOf({ lo, hi }: Range): bigint {
  return -lo > hi ? -lo : hi;
}

export class Machine {
  readonly #code: ReadonlyMap<string, Code>;
  readonly #globals = new Map<string, Value>();
  readonly #octets: DataView;
  readonly #wide = new Map<number, Range>();
  readonly #narrow = new Map<number, Range>();
  readonly #standIns: ReadonlyMap<string, StandIn>;
  readonly #stack: string[] = [];
  /** The largest size of any 64-bit number so far. */
  largest = 0n;

  /**
   * @param text WebAssembly in its text form, one instruction per line, names kept
   * @param standIns by the function's name, without what its type parameters are
   */
  constructor(text: string, standIns: Readonly<Record<string, StandIn>>) {
    this.#standIns = new Map(Object.entries(standIns));
    this.#octets = new DataView(new ArrayBuffer(1 << 20));
    const lines = text.split("\n");
    for (const line of lines) {
      const global = /^ \(global \$(\S+) (?:\(mut )?(i32|i64)\)? \((?:i32|i64)\.const (-?\d+)\)\)/.exec(line);
      if (global !== null)
        this.#globals.set(global[1]!, global[2] === "i64" ? exact(BigInt(global[3]!)) : Number(global[3]));
      const data = /^ \(data \$\S+ \(i32\.const (\d+)\) "(.*)"\)/.exec(line);
      if (data !== null) this.#fill(Number(data[1]), data[2]!);
    }
    this.#code = parse(lines);
  }

  #fill(address: number, text: string): void {
    let at = address;
    for (const [, hex, escaped, plain] of text.matchAll(/\\([0-9a-f]{2})|\\(.)|(.)/g)) {
      const letter = { t: "\t", n: "\n", r: "\r" }[escaped ?? ""] ?? escaped ?? plain ?? "";
      this.#octets.setUint8(at++, hex === undefined ? letter.charCodeAt(0) : Number.parseInt(hex, 16));
    }
  }

  /** An immutable address, or a variable. */
  global(name: string): number {
    const value = this.#globals.get(name);
    if (typeof value !== "number") throw new Error(`there is no global ${name}`);
    return value;
  }

  setGlobal(name: string, value: Value): void {
    if (!this.#globals.has(name)) throw new Error(`there is no global ${name}`);
    this.#globals.set(name, value);
  }

  load(address: number): Range {
    if (address % 8 !== 0) throw this.#fault(`a load at ${address}`);
    if (this.#narrow.has(address) || this.#narrow.has(address + 4)) throw this.#fault("two limbs as one number");
    return this.#wide.get(address) ?? exact(this.#octets.getBigInt64(address, true));
  }

  store(address: number, value: Range): void {
    if (address % 8 !== 0) throw this.#fault(`a store at ${address}`);
    this.#forget(address, 8);
    this.#wide.set(address, this.#sound(value));
  }

  /** Puts an exact number of 32 bits. */
  storeInt(address: number, value: number): void {
    this.#forget(address, 4);
    this.#octets.setInt32(address, value, true);
  }

  /** Calls a function by its name. */
  call(name: string, ...args: Value[]): Value | undefined {
    const standIn = this.#standIns.get(name.replace(/<.*/, ""));
    if (standIn !== undefined) return standIn(args, this);
    const code = this.#code.get(name);
    if (code === undefined) throw new Error(`there is no function ${name}`);
    const locals = new Map<string, Value>();
    for (const [local, type] of code.locals) locals.set(local, type === "i64" ? exact(0n) : 0);
    code.params.forEach((param, index) => void locals.set(param, args[index]!));
    this.#stack.push(name);
    const stack: Value[] = [];
    this.#run(code.body, locals, stack);
    this.#stack.pop();
    return code.results > 0 ? stack.pop() : undefined;
  }

  #fault(what: string): Error {
    return new Error(`${what}, in ${this.#stack.at(-1)} below ${this.#stack.slice(0, -1).join(", ")}`);
  }

  #sound(value: Range): Range {
    if (value.lossy) throw this.#fault("a number of more than 64 bits is used");
    return value;
  }

  /** A result: in full where it fits and nothing was lost before. */
  #result(lo: bigint, hi: bigint, lost: boolean, more: Partial<Range> = {}): Range {
    if (lost || lo < -LIMIT || hi >= LIMIT) return { ...more, lo: -LIMIT, hi: LIMIT - 1n, lossy: true };
    const size = -lo > hi ? -lo : hi;
    if (size > this.largest) this.largest = size;
    return { lo, hi, ...more };
  }

  #forget(address: number, length: number): void {
    for (let at = address & ~7; at < address + length; at += 8) this.#wide.delete(at);
    for (let at = address & ~3; at < address + length; at += 4) this.#narrow.delete(at);
  }

  /** Runs instructions; the label of a branch that leaves them, `return` for the function's end. */
  #run(nodes: readonly Node[], locals: Map<string, Value>, stack: Value[]): string | undefined {
    for (const node of nodes) {
      let left: string | undefined;
      if ("label" in node) {
        do left = this.#run(node.body, locals, stack);
        while (left !== undefined && left === node.label && node.op === "loop");
        if (left === node.label) left = undefined;
      } else if ("other" in node) {
        left = this.#run(this.#number(stack.pop()) !== 0 ? node.body : node.other, locals, stack);
      } else left = this.#step(node.op, node.args, locals, stack);
      if (left !== undefined) return left;
    }
    return undefined;
  }

  #number(value: Value | undefined): number {
    if (typeof value !== "number") throw this.#fault("an address, a count or a branch depends on data");
    return value;
  }

  #step(op: string, args: readonly string[], locals: Map<string, Value>, stack: Value[]): string | undefined {
    const [arg = ""] = args;
    const pop = (): Value => stack.pop()!;
    const number = () => this.#number(pop());
    const wide = () => pop() as Range;
    const offset = () => Number(/^offset=(\d+)/.exec(arg)?.[1] ?? 0);
    switch (op) {
      case "local.get":
        stack.push(locals.get(arg)!);
        return;
      case "local.set":
        locals.set(arg, pop());
        return;
      case "local.tee":
        locals.set(arg, stack.at(-1)!);
        return;
      case "global.get":
        stack.push(this.#globals.get(arg.slice(1))!);
        return;
      case "global.set":
        this.#globals.set(arg.slice(1), pop());
        return;
      case "i32.const":
        stack.push(Number(arg));
        return;
      case "i64.const":
        stack.push(exact(BigInt(arg)));
        return;
      case "drop":
        pop();
        return;
      case "select": {
        const [choice, other, one] = [number(), pop(), pop()];
        stack.push(choice !== 0 ? one : other);
        return;
      }
      case "br":
        return arg;
      case "br_if":
        return number() !== 0 ? arg : undefined;
      case "return":
        return "return";
      case "unreachable":
        throw this.#fault("a trap");
      case "call": {
        const name = arg.slice(1);
        const count = this.#code.get(name)!.params.length;
        const given = stack.splice(stack.length - count, count);
        const result = this.call(name, ...given);
        if (result !== undefined) stack.push(result);
        return;
      }
      case "i64.load":
        stack.push(this.load(number() + offset()));
        return;
      case "i64.store": {
        const value = wide();
        this.store(number() + offset(), value);
        return;
      }
      case "i64.load32_s":
        stack.push(this.#limb(number() + offset()));
        return;
      case "i32.load": {
        const { lo, hi } = this.#limb(number() + offset());
        stack.push(lo === hi ? Number(lo) : range(lo, hi));
        return;
      }
      case "i32.store": {
        const value = pop();
        const at = number() + offset();
        this.#storeLimb(at, typeof value === "number" ? exact(BigInt(value)) : (value as Range));
        return;
      }
      case "i64.extend_i32_s": {
        const value = pop();
        stack.push(typeof value === "number" ? exact(BigInt(value)) : value);
        return;
      }
      case "i32.wrap_i64": {
        const { lo, hi } = this.#sound(wide());
        if (lo < -(1n << 31n) || hi >= 1n << 31n) throw this.#fault("a limb of more than 32 bits");
        stack.push(lo === hi ? Number(lo) : range(lo, hi));
        return;
      }
      case "memory.copy": {
        const [length, from, to] = [number(), number(), number()];
        this.#copy(to, from, length);
        return;
      }
      case "memory.fill": {
        const [length, octet, to] = [number(), number(), number()];
        this.#forget(to, length);
        for (let i = 0; i < length; i++) this.#octets.setUint8(to + i, octet);
        return;
      }
      case "i32.eqz":
        stack.push(number() === 0 ? 1 : 0);
        return;
    }
    if (/^(?:v128|i64x2|i32x4|i8x16)\./.test(op)) {
      vectorStep(op, args, stack, this.#scalars);
      return;
    }
    const right = pop();
    const left = pop();
    if (op.startsWith("i32.")) stack.push(this.#narrowOp(op, this.#number(left), this.#number(right)));
    else stack.push(this.#wideOp(op, left as Range, right as Range));
    return;
  }

  /** A limb of 32 bits in memory. */
  #limb(at: number): Range {
    if (this.#wide.has(at & ~7)) throw this.#fault("half a number");
    return this.#narrow.get(at) ?? exact(BigInt(this.#octets.getInt32(at, true)));
  }

  #storeLimb(at: number, value: Range): void {
    this.#sound(value);
    this.#forget(at, 4);
    if (value.lo === value.hi) this.#octets.setInt32(at, Number(value.lo), true);
    else this.#narrow.set(at, value);
  }

  readonly #scalars = {
    limb: (at: number) => this.#limb(at),
    storeLimb: (at: number, value: Range) => this.#storeLimb(at, value),
    wideOp: (op: string, a: Range, b: Range) => this.#wideOp(op, a, b),
    fault: (what: string) => this.#fault(what),
  };

  #copy(to: number, from: number, length: number): void {
    const moved: [number, Range][] = [];
    for (let i = 0; i < length; i += 8) {
      const value = this.#wide.get(from + i);
      if (value !== undefined) moved.push([to + i, value]);
    }
    const octets = new Uint8Array(this.#octets.buffer, from, length).slice();
    this.#forget(to, length);
    new Uint8Array(this.#octets.buffer).set(octets, to);
    for (const [at, value] of moved) this.#wide.set(at, value);
  }

  #narrowOp(op: string, a: number, b: number): number {
    switch (op) {
      case "i32.add":
        return (a + b) | 0;
      case "i32.sub":
        return (a - b) | 0;
      case "i32.mul":
        return Math.imul(a, b);
      case "i32.div_s":
        return (a / b) | 0;
      case "i32.rem_s":
        return (a % b) | 0;
      case "i32.shl":
        return a << b;
      case "i32.shr_s":
        return a >> b;
      case "i32.shr_u":
        return a >>> b;
      case "i32.and":
        return a & b;
      case "i32.or":
        return a | b;
      case "i32.eq":
        return Number(a === b);
      case "i32.ne":
        return Number(a !== b);
      case "i32.lt_s":
        return Number(a < b);
      case "i32.le_s":
        return Number(a <= b);
      case "i32.gt_s":
        return Number(a > b);
      case "i32.ge_s":
        return Number(a >= b);
      case "i32.lt_u":
        return Number(a >>> 0 < b >>> 0);
      case "i32.ge_u":
        return Number(a >>> 0 >= b >>> 0);
    }
    throw this.#fault(`the instruction ${op}`);
  }

  #wideOp(op: string, a: Range, b: Range): Range {
    const lost = a.lossy === true || b.lossy === true;
    switch (op) {
      case "i64.add":
        return this.#result(a.lo + b.lo, a.hi + b.hi, lost, b.lo === b.hi ? { plus: { of: a, by: b.lo } } : {});
      case "i64.sub": {
        if (!lost && b.nearest?.of === a) {
          const half = 1n << (b.nearest.bits - 1n);
          return range(-half, half - 1n);
        }
        return this.#result(a.lo - b.hi, a.hi - b.lo, lost);
      }
      case "i64.mul": {
        const corners = [a.lo * b.lo, a.lo * b.hi, a.hi * b.lo, a.hi * b.hi];
        let [lo, hi] = [corners[0]!, corners[0]!];
        for (const corner of corners) {
          if (corner < lo) lo = corner;
          if (corner > hi) hi = corner;
        }
        return this.#result(lo, hi, lost);
      }
      case "i64.shl": {
        const bits = this.#exact(b);
        const [lo, hi] = [a.lo << bits, a.hi << bits];
        const more = {
          moved: { of: a, bits },
          ...(a.rounded?.bits === bits && { nearest: { of: a.rounded.of, bits } }),
        };
        // of what is moved so far the lowest bits are meant, which the move back keeps
        return bits > 31n ? { lo: -LIMIT, hi: LIMIT - 1n, lossy: true, ...more } : this.#result(lo, hi, lost, more);
      }
      case "i64.shr_s": {
        const bits = this.#exact(b);
        if (a.moved?.bits === bits) {
          const half = 1n << (63n - bits);
          const { of } = a.moved;
          return !of.lossy && of.lo >= -half && of.hi < half ? of : range(-half, half - 1n);
        }
        this.#sound(a);
        const half = a.plus !== undefined && a.plus.by === 1n << (bits - 1n);
        return { lo: a.lo >> bits, hi: a.hi >> bits, ...(half && { rounded: { of: a.plus!.of, bits } }) };
      }
      case "i64.shr_u":
        if (this.#sound(a).lo < 0n) throw this.#fault("an unsigned shift of what may be negative");
        return range(a.lo >> this.#exact(b), a.hi >> this.#exact(b));
      case "i64.and": {
        const [mask, other] = b.lo === b.hi ? [b.lo, a] : [a.lo, b];
        const low = (mask & (mask + 1n)) === 0n && (a.lo === a.hi || b.lo === b.hi);
        if (low) return !other.lossy && other.lo >= 0n && other.hi <= mask ? other : range(0n, mask);
        if (lost) this.#sound(a.lossy ? a : b);
        // a sign, all ones or none, keeps a number or clears it
        const [sign, kept] = b.lo >= -1n && b.hi <= 0n ? [b, a] : [a, b];
        if (sign.lo < -1n || sign.hi > 0n) throw this.#fault("an and of two ranges");
        return range(kept.lo < 0n ? kept.lo : 0n, kept.hi > 0n ? kept.hi : 0n);
      }
    }
    throw this.#fault(`the instruction ${op}`);
  }

  #exact({ lo, hi }: Range): bigint {
    if (lo !== hi) throw this.#fault("a shift by data");
    return lo;
  }
}

function parse(lines: readonly string[]): Map<string, Code> {
  const all = new Map<string, Code>();
  for (let at = 0; at < lines.length; at++) {
    const head = /^ \(func \$(?:"([^"]*)"|(\S+))(.*)$/.exec(lines[at]!);
    if (head === null) continue;
    const name = head[1] ?? head[2]!.replace(/\)$/, "");
    const params = [...head[3]!.matchAll(/\(param (\S+) (?:i32|i64|v128)\)/g)].map(([, param]) => param!);
    const locals = new Map<string, "i32" | "i64" | "v128">();
    const body: Node[] = [];
    // lists that are open: a block's, or one of the two of a condition
    const open: Node[][] = [body];
    for (at++; lines[at] !== " )"; at++) {
      const line = lines[at]!.trim().replaceAll('$"', "$").replaceAll('"', "");
      const local = /^\(local (\S+) (i32|i64|v128)\)/.exec(line);
      if (local !== null) {
        locals.set(local[1]!, local[2] as "i32");
        continue;
      }
      const [op, ...args] = line.split(/\s+/) as [string, ...string[]];
      if (op === "block" || op === "loop") {
        const inner: Node[] = [];
        open.at(-1)!.push({ op, label: args[0] ?? "", body: inner });
        open.push(inner);
      } else if (op === "if") {
        const [yes, no]: [Node[], Node[]] = [[], []];
        open.at(-1)!.push({ op, body: yes, other: no });
        open.push(yes);
      } else if (op === "else") {
        open.pop();
        const branch = open.at(-1)!.at(-1) as Extract<Node, { op: "if" }>;
        open.push(branch.other as Node[]);
      } else if (op === "end") open.pop();
      else open.at(-1)!.push({ op, args });
    }
    all.set(name, { name, params, locals, results: /\(result/.test(head[3]!) ? 1 : 0, body });
  }
  return all;
}
