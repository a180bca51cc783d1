/** The vector instructions of wasm/lanes.ts on ranges, lane by lane. */
import type { Range } from "./wasm-intervals.ts";

/** Two lanes of 64 bits or four of 32. */
export interface Vector {
  readonly bits: 64 | 32;
  readonly lanes: readonly Range[];
}

/** What vectors need of the machine that runs them. */
export interface Scalars {
  /** A limb of 32 bits in memory. */
  limb(address: number): Range;
  storeLimb(address: number, value: Range): void;
  /** An instruction on numbers of 64 bits. */
  wideOp(op: string, a: Range, b: Range): Range;
  fault(what: string): Error;
}

const INT = 1n << 31n;
const ZERO: Range = { lo: 0n, hi: 0n };
/** The lower halves of two lanes and two more. */
const LOWER_HALVES = "0 1 2 3 8 9 10 11 16 17 18 19 24 25 26 27";

export function isVector(value: unknown): value is Vector {
  return typeof value === "object" && value !== null && "lanes" in value;
}

/** Runs an instruction on what is on the stack; `address` is of those that reach memory. */
export function vectorStep(op: string, args: readonly string[], stack: unknown[], scalars: Scalars): void {
  const offset = Number(/offset=(\d+)/.exec(args.join(" "))?.[1] ?? 0);
  const vector = (bits: 64 | 32): readonly Range[] => {
    const value = stack.pop();
    if (!isVector(value) || value.bits !== bits) throw scalars.fault(`${op} of lanes that have not ${bits} bits`);
    return value.lanes;
  };
  const push = (bits: 64 | 32, lanes: readonly Range[]) => void stack.push({ bits, lanes } satisfies Vector);
  const number = (): number => {
    const value = stack.pop();
    if (typeof value !== "number") throw scalars.fault("an address or a shift depends on data");
    return value;
  };
  const limbs = (count: number): Range[] => {
    const at = number() + offset;
    return Array.from({ length: count }, (_, i) => scalars.limb(at + 4 * i));
  };
  const store = (count: number) => {
    const lanes = vector(32);
    const at = number() + offset;
    for (let i = 0; i < count; i++) scalars.storeLimb(at + 4 * i, lanes[i]!);
  };
  /** Products of lanes from one on, which have to be whole. */
  const products = (first: number) => {
    const [b, a] = [vector(32), vector(32)];
    const lane = (i: number) => {
      if (a[i]!.lossy || b[i]!.lossy) throw scalars.fault("a limb of more than 32 bits is used");
      return scalars.wideOp("i64.mul", a[i]!, b[i]!);
    };
    push(64, [lane(first), lane(first + 1)]);
  };
  switch (op) {
    case "v128.const": {
      const [type, ...parts] = args;
      if (type !== "i32x4") throw scalars.fault(`a constant of ${type}`);
      const [a, b, c, d] = parts.map((part) => BigInt(part)) as [bigint, bigint, bigint, bigint];
      push(64, [exact(BigInt.asIntN(64, (b << 32n) | a)), exact(BigInt.asIntN(64, (d << 32n) | c))]);
      return;
    }
    case "i64x2.splat": {
      const value = stack.pop() as Range;
      push(64, [value, value]);
      return;
    }
    case "i32x4.splat": {
      const value = exact(BigInt(number()));
      push(32, [value, value, value, value]);
      return;
    }
    case "v128.load":
      push(32, limbs(4));
      return;
    case "v128.load64_splat": {
      const two = limbs(2);
      push(32, [...two, ...two]);
      return;
    }
    case "v128.load64_zero":
      push(32, [...limbs(2), ZERO, ZERO]);
      return;
    case "v128.load32x2_s":
      push(64, limbs(2));
      return;
    case "v128.store":
      store(4);
      return;
    case "v128.store64_lane":
      if (args.at(-1) !== "0") throw scalars.fault("a store of the second half");
      store(2);
      return;
    case "i64x2.extmul_low_i32x4_s":
      products(0);
      return;
    case "i64x2.extmul_high_i32x4_s":
      products(2);
      return;
    case "i64x2.add":
    case "i64x2.sub": {
      const [b, a] = [vector(64), vector(64)];
      push(
        64,
        a.map((lane, i) => scalars.wideOp(op.replace("x2", ""), lane, b[i]!)),
      );
      return;
    }
    case "i64x2.shl":
    case "i64x2.shr_u": {
      const by = exact(BigInt(number()));
      push(
        64,
        vector(64).map((lane) => scalars.wideOp(op.replace("x2", ""), lane, by)),
      );
      return;
    }
    case "v128.and": {
      const bits = (stack.at(-1) as Vector).bits;
      const [b, a] = [vector(bits), vector(bits)];
      push(
        bits,
        a.map((lane, i) => scalars.wideOp("i64.and", lane, b[i]!)),
      );
      return;
    }
    case "i32x4.sub": {
      const [b, a] = [vector(32), vector(32)];
      push(
        32,
        a.map((lane, i) => half(scalars.wideOp("i64.sub", lane, b[i]!))),
      );
      return;
    }
    case "i8x16.shuffle": {
      if (args.join(" ") !== LOWER_HALVES) throw scalars.fault("a shuffle of another order");
      const [b, a] = [vector(64), vector(64)];
      push(32, [...a, ...b].map(half));
      return;
    }
  }
  throw scalars.fault(`the instruction ${op}`);
}

function exact(value: bigint): Range {
  return { lo: value, hi: value };
}

/** The lower 32 bits of a number: all of it, or bits of which a mask may keep the lowest. */
function half(value: Range): Range {
  const whole = !value.lossy && value.lo >= -INT && value.hi < INT;
  return whole ? value : { lo: -INT, hi: INT - 1n, lossy: true };
}
