/** Runs seeded cases through every backend of this runtime and the module in each of its three ways. */
import { encodeBase64Url } from "../../encoding/base64.ts";
import type { Curve, SignatureAlgorithm } from "../algorithms.ts";
import { CURVES } from "../curves.ts";
import { verifyEcdsa } from "../ecdsa.ts";
import { nodeVerifier } from "../native/node.ts";
import { webcryptoVerifier } from "../native/webcrypto.ts";
import { fromBigInt, toBigInt, toHex } from "../octets.ts";
import { PublicKey } from "../public-key.ts";
import { Cases, type EcdsaCase, KINDS, type Kind } from "./cases.testing.ts";
import { type BatchMember, Engine, type Place } from "./engine.ts";

export interface DifferentialOptions {
  readonly seed: number;
  readonly count: number;
  /** The number of the first case, 0 unless given: long runs go in slices. */
  readonly first?: number;
  /** A compiled module to try instead of the package's own. */
  readonly module?: object;
  /** Leaves WebCrypto or `node:crypto` out, where the module alone is in question. */
  readonly without?: readonly ("webcrypto" | "native")[];
}

export interface DifferentialResult {
  readonly counts: Readonly<Record<string, number>>;
  readonly valid: number;
  /** One line per verdict that is not the case's. */
  readonly faults: readonly string[];
}

/** P-521 takes the longest, P-256 is used the most. */
const CURVE_TURNS: readonly Curve[] = ["P-256", "P-384", "P-521", "P-256", "P-384"];
/** What most cases are; kinds that need BigInt points are dear. */
const PLAIN: readonly Kind[] = [
  "valid",
  "valid",
  "valid-twin",
  "signature-bit",
  "data-bit",
  "other-key",
  "random-scalars",
];

/** Tries `count` cases; the first ones go through all kinds on all curves. */
export async function tryCases(options: DifferentialOptions): Promise<DifferentialResult> {
  const { seed, count, first = 0 } = options;
  const cases = new Cases(seed + first);
  const ways = new Ways(options.module);
  const counts: Record<string, number> = {};
  const faults: string[] = [];
  let valid = 0;
  for (let i = first; i < first + count; i++) {
    // every second case is an edge case until each kind has its share, one in twenty after that
    const edge = i % 2 === 0 && (i < 20_000 || i % 20 === 0);
    const curve = CURVE_TURNS[(edge ? Math.floor(i / 2 / KINDS.length) : i) % CURVE_TURNS.length]!;
    const kind = edge ? KINDS[Math.floor(i / 2) % KINDS.length]! : PLAIN[i % PLAIN.length]!;
    const one = cases.make(kind, curve);
    if (one.valid) valid++;
    counts[`${curve} ${kind}`] = (counts[`${curve} ${kind}`] ?? 0) + 1;
    const told = (way: string, { curve, kind }: EcdsaCase) => `case ${i} of seed ${seed}, ${curve} ${kind} by ${way}`;
    for (const [way, verdict] of await verdicts(one, ways, options.without ?? [])) {
      if (verdict !== one.valid) faults.push(`${told(way, one)}: ${numbersOf(one)}`);
    }
    for (const [of, verdict] of ways.batch(one, i === first + count - 1)) {
      if (verdict !== of.valid) faults.push(`${told("a batch that ends here", of)}: ${numbersOf(of)}`);
    }
    if (i % 21 === 3) faults.push(...ways.takesBadKeys(one));
    if (faults.length > 20) break;
  }
  return { counts, valid, faults };
}

function numbersOf({ point, digest, signature, valid }: EcdsaCase): string {
  return `key ${toHex(point)} hash ${toHex(digest)} signature ${toHex(signature)} is ${valid ? "valid" : "invalid"}`;
}

async function verdicts(
  one: EcdsaCase,
  ways: Ways,
  without: readonly string[],
): Promise<readonly (readonly [string, boolean])[]> {
  const { hash, signature, data, digest } = one;
  const found: [string, boolean][] = ways.try(one);
  const key = ways.keyOf(one);
  if (data === undefined) {
    found.push(["BigInt", verifyEcdsa(key, digest, signature)]);
    return found;
  }
  const alg: SignatureAlgorithm = { family: "ecdsa", hash, encoding: "p1363" };
  const native = nodeVerifier()!;
  if (!without.includes("native")) {
    found.push([native.name, native.verify(alg, native.importKey(key), signature, data)]);
  }
  if (!without.includes("webcrypto")) {
    const verdict = await webcryptoVerifier.verify(alg, webcryptoVerifier.importKey(key), signature, data);
    found.push([webcryptoVerifier.name, verdict]);
  }
  return found;
}

/** Keys of single cases that have a table at a time, per curve. */
const SPARES = 10;
/** Cases of a batch at most: more than the module takes at once. */
const MOST_TOGETHER = 40;

interface Waiting {
  readonly one: EcdsaCase;
  readonly place: Place;
}

/** The module without tables, with the generator's, with the key's, and many at once. */
class Ways {
  readonly #bare: Engine;
  readonly #full: Engine;
  readonly #places = new Map<string, Place>();
  readonly #keys = new Map<string, PublicKey>();
  readonly #spares: Readonly<Record<Curve, readonly Place[]>>;
  readonly #spare: Readonly<Record<Curve, Place>>;
  readonly #batches: Readonly<Record<Curve, Waiting[]>> = { "P-256": [], "P-384": [], "P-521": [] };
  readonly #sizes: Record<Curve, number> = { "P-256": 2, "P-384": 2, "P-521": 2 };
  #turn = 0;
  /** Where the last case has its table. */
  #place: Place | undefined;

  constructor(module?: object) {
    this.#bare = new Engine(module);
    this.#full = new Engine(module);
    for (const curve of ["P-256", "P-384", "P-521"] as const) this.#full.buildGeneratorTable(curve);
    const places = (curve: Curve) => Array.from({ length: SPARES }, () => this.#full.newPlace(curve));
    const [p256, p384, p521] = (["P-256", "P-384", "P-521"] as const).map((curve) => this.#bare.newPlace(curve));
    this.#spare = { "P-256": p256!, "P-384": p384!, "P-521": p521! };
    this.#spares = { "P-256": places("P-256"), "P-384": places("P-384"), "P-521": places("P-521") };
  }

  try(one: EcdsaCase): [string, boolean][] {
    const { curve, hash, point, signature, data, digest } = one;
    const by = (engine: Engine, place?: Place) =>
      data === undefined
        ? engine.verifyDigest(curve, digest, point, place, signature)
        : engine.verify(curve, hash, point, place, signature, data);
    const found: [string, boolean][] = [];
    // one of the two dear ways in turn
    if (this.#turn++ % 2 === 0) found.push(["module without tables", by(this.#bare)]);
    else found.push(["module with the generator's table", by(this.#full)]);
    this.#place = this.#placeOf(one);
    found.push(["module with both tables", by(this.#full, this.#place)]);
    return found;
  }

  /**
   * Puts the case that was tried last into a batch of its curve; the verdicts of all in it when it is full. Batches are of every
   * size up to {@link MOST_TOGETHER}; the stream of cases decides what stands beside what.
   */
  batch(one: EcdsaCase, isLast: boolean): (readonly [EcdsaCase, boolean])[] {
    const waiting = this.#batches[one.curve];
    waiting.push({ one, place: this.#place! });
    const singles = waiting.filter(({ one: { stays } }) => !stays).length;
    const full = waiting.length >= this.#sizes[one.curve] || singles === SPARES;
    if (full) this.#sizes[one.curve] = 1 + ((this.#turn * 7) % MOST_TOGETHER);
    const ended = isLast ? (Object.keys(this.#batches) as Curve[]) : full ? [one.curve] : [];
    return ended.flatMap((curve) => {
      const batch = this.#batches[curve].splice(0);
      const members = batch.map(({ one: { point, signature, hash, data, digest }, place }): BatchMember => {
        return { point, place, signature, signed: data === undefined ? { digest } : { hash, data } };
      });
      return this.#full.verifyBatch(curve, members).map((verdict, i) => [batch[i]!.one, verdict] as const);
    });
  }

  /** Keys that the module has to refuse: off the curve, and coordinates that are not below p. */
  takesBadKeys({ curve, point }: EcdsaCase): string[] {
    const { size, p } = CURVES[curve];
    const taken: string[] = [];
    const spoilt = Uint8Array.from(point);
    spoilt[spoilt.length - 1]! ^= 1;
    const spare = this.#spare[curve];
    if (this.#bare.buildTable(curve, spoilt, spare)) taken.push(`a key off ${curve}`);
    const x = toBigInt(point.subarray(0, size)) + p;
    if (x >> BigInt(8 * size) === 0n) {
      spoilt.set(point);
      spoilt.set(fromBigInt(x, size));
      if (this.#bare.buildTable(curve, spoilt, spare)) taken.push(`x + p of ${curve}`);
    }
    return taken;
  }

  keyOf({ curve, point }: EcdsaCase): PublicKey {
    const name = toHex(point);
    let key = this.#keys.get(name);
    if (key !== undefined) return key;
    const { size } = CURVES[curve];
    const [x, y] = [encodeBase64Url(point.subarray(0, size)), encodeBase64Url(point.subarray(size))];
    const verdict = PublicKey.fromJwk({ kty: "EC", crv: curve, x, y });
    if (!verdict.ok) throw new Error(verdict.message);
    key = verdict.value;
    if (this.#keys.size < 64) this.#keys.set(name, key);
    return key;
  }

  #placeOf({ curve, point, stays }: EcdsaCase): Place {
    if (!stays) {
      const taken = this.#batches[curve].filter(({ one }) => !one.stays).length;
      return this.#engineBuilds(curve, point, this.#spares[curve][taken]!);
    }
    const name = toHex(point);
    let place = this.#places.get(name);
    if (place === undefined) {
      place = this.#engineBuilds(curve, point, this.#full.newPlace(curve));
      this.#places.set(name, place);
    }
    return place;
  }

  #engineBuilds(curve: Curve, point: Uint8Array, place: Place): Place {
    if (!this.#full.buildTable(curve, point, place)) throw new Error(`no table of ${toHex(point)}`);
    return place;
  }
}
