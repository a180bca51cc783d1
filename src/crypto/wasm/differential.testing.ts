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
import { Engine, type Place } from "./engine.ts";

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
    for (const [way, verdict] of await verdicts(one, ways, options.without ?? [])) {
      if (verdict !== one.valid) faults.push(`case ${i} of seed ${seed}, ${curve} ${kind} by ${way}: ${told(one)}`);
    }
    if (i % 21 === 3) faults.push(...ways.takesBadKeys(one));
    if (faults.length > 20) break;
  }
  return { counts, valid, faults };
}

function told({ point, digest, signature, valid }: EcdsaCase): string {
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

/** The module without tables, with the generator's, and with the key's. */
class Ways {
  readonly #bare: Engine;
  readonly #full: Engine;
  readonly #places = new Map<string, Place>();
  readonly #keys = new Map<string, PublicKey>();
  readonly #spare: Readonly<Record<Curve, Place>>;
  #turn = 0;

  constructor(module?: object) {
    this.#bare = new Engine(module);
    this.#full = new Engine(module);
    for (const curve of ["P-256", "P-384", "P-521"] as const) this.#full.buildGeneratorTable(curve);
    this.#spare = {
      "P-256": this.#full.newPlace("P-256"),
      "P-384": this.#full.newPlace("P-384"),
      "P-521": this.#full.newPlace("P-521"),
    };
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
    const place = this.#placeOf(one);
    if (place !== undefined) found.push(["module with both tables", by(this.#full, place)]);
    return found;
  }

  /** Keys that the module has to refuse: off the curve, and coordinates that are not below p. */
  takesBadKeys({ curve, point }: EcdsaCase): string[] {
    const { size, p } = CURVES[curve];
    const taken: string[] = [];
    const spoilt = Uint8Array.from(point);
    spoilt[spoilt.length - 1]! ^= 1;
    if (this.#full.buildTable(curve, spoilt, this.#spare[curve])) taken.push(`a key off ${curve}`);
    const x = toBigInt(point.subarray(0, size)) + p;
    if (x >> BigInt(8 * size) === 0n) {
      spoilt.set(point);
      spoilt.set(fromBigInt(x, size));
      if (this.#full.buildTable(curve, spoilt, this.#spare[curve])) taken.push(`x + p of ${curve}`);
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

  #placeOf({ curve, point, stays }: EcdsaCase): Place | undefined {
    if (!stays) return this.#engineBuilds(curve, point, this.#spare[curve]);
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
