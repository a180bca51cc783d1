/** The synchronous backend of the WebAssembly module: ECDSA with tables for keys that stay, and RSA up to 4,096 bits. */
import { type OptionNames, onlyKnown } from "../../base/check-options.ts";
import { SpiffeError } from "../../base/index.ts";
import type { Curve, Hash, SignatureAlgorithm } from "../algorithms.ts";
import { nativeDigest } from "../data-digest.ts";
import { toBigInt } from "../octets.ts";
import { nameOfKey, numbersOf, type PublicKey } from "../public-key.ts";
import { readInput } from "../signature.ts";
import type { PreparedCheck, SyncSignatureVerifier } from "../verifier.ts";
import { type BatchMember, Engine, type RsaKey } from "./engine.ts";
import { answersRight } from "./self-test.ts";
import { type Schedule, type TableKey, Tables } from "./tables.ts";

/** Uses of a trusted key after which a table pays. */
const TABLE_AFTER_USES = 8;
/** Keys that are known by their octets, so that uses add up over connections that each bring the key anew. */
const MAX_KEYS = 1_024;
/** Keys that one owner may pin. */
const MAX_PINNED = 64;

/** Options of {@link WasmVerifier}. */
export interface WasmVerifierOptions {
  /** A compiled `WebAssembly.Module` of the package's `ecdsa.wasm`, where the host compiles modules itself. */
  readonly module?: object | undefined;
  /** Runs a task after a time; a timer that does not keep the process alive unless given. */
  readonly schedule?: Schedule | undefined;
}

const KNOWN: OptionNames<WasmVerifierOptions> = { module: true, schedule: true };

/** What the module holds. */
export interface WasmMemory {
  /** Octets of the module's memory, 16 MiB at most. */
  readonly bytes: number;
  /** Octets of keys' tables. */
  readonly tableBytes: number;
  readonly tables: number;
  /** Keys that wait for a table. */
  readonly waiting: number;
}

/** A key as one verifier has prepared it: to every other one, and after {@link WasmVerifier.dispose}, it is none. */
export interface WasmKey {
  readonly key: PublicKey;
}

/** What a verifier knows of a key; the handle that callers hold has none of it. */
interface Entry extends TableKey {
  readonly handle: WasmKey;
  uses: number;
}

/** An ECDSA check of a batch whose input has been read. */
interface ReadCheck extends BatchMember {
  readonly index: number;
  readonly entry: Entry;
  readonly curve: Curve;
}

/** An RSA key that the module takes. */
interface RsaEntry {
  readonly key: PublicKey;
  readonly numbers: RsaKey;
}

/**
 * Checks ECDSA and RSA signatures by WebAssembly. Public data only: nothing here is constant in time, and no private key belongs
 * here. Other kinds of signatures do not verify, nor do those of RSA keys above 4,096 bits.
 *
 * @example
 * ```ts
 * import { PublicKey } from "spiffe-edge/crypto";
 * import { WasmVerifier } from "spiffe-edge/crypto/wasm";
 * using verifier = new WasmVerifier();
 * const pair = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"]);
 * const key = PublicKey.fromSpki(new Uint8Array(await crypto.subtle.exportKey("spki", pair.publicKey)));
 * const data = new TextEncoder().encode("hello");
 * const algorithm = { name: "ECDSA", hash: "SHA-256" };
 * const signature = new Uint8Array(await crypto.subtle.sign(algorithm, pair.privateKey, data));
 * const alg = { family: "ecdsa", hash: "SHA-256", encoding: "p1363" } as const;
 * console.assert(key.ok && verifier.verify(alg, verifier.importKey(key.value), signature, data));
 * console.assert(key.ok && !verifier.verify(alg, verifier.importKey(key.value), signature, data.subarray(1)));
 * ```
 */
export class WasmVerifier implements SyncSignatureVerifier<WasmKey> {
  readonly name: string = "wasm";
  readonly sync = true as const;
  #tables: Tables | undefined;
  readonly #keys = new Map<string, Entry>();
  readonly #entries = new WeakMap<WasmKey, Entry>();
  readonly #rsaEntries = new WeakMap<WasmKey, RsaEntry>();
  readonly #pinned = new Map<object, readonly Entry[]>();
  #engine: Engine | undefined;

  /** @throws SpiffeError `ERR_SPIFFE_BACKEND` where WebAssembly is missing or not allowed to compile, and for another module;
   *   `ERR_SPIFFE_USAGE` for an option it does not know */
  constructor(options: WasmVerifierOptions = {}) {
    onlyKnown("WasmVerifier", options, KNOWN);
    const engine = new Engine(options.module);
    if (options.module !== undefined && !answersRight(engine)) {
      throw new SpiffeError("ERR_SPIFFE_BACKEND", "Expected a module that checks signatures, got one that does not");
    }
    this.#engine = engine;
    this.#tables = new Tables(engine, options.schedule);
  }

  get memory(): WasmMemory {
    if (this.#engine === undefined || this.#tables === undefined)
      return { bytes: 0, tableBytes: 0, tables: 0, waiting: 0 };
    const { bytes: tableBytes, count: tables, waiting } = this.#tables;
    return { bytes: this.#engine.memoryBytes, tableBytes, tables, waiting };
  }

  /** Prepares a key: for elliptic curves one object per key, whatever certificate or bundle it came in. */
  importKey(key: PublicKey): WasmKey {
    const known = this.#entryOf(key)?.handle;
    if (known !== undefined) return known;
    const handle: WasmKey = Object.freeze({ key });
    const numbers = this.#rsaKeyOf(key);
    if (numbers !== undefined) this.#rsaEntries.set(handle, { key, numbers });
    return handle;
  }

  /** Whether the module takes a key: every elliptic-curve key, and RSA keys up to 4,096 bits. */
  takes(prepared: WasmKey): boolean {
    return this.#engine !== undefined && (this.#entries.has(prepared) || this.#rsaEntries.has(prepared));
  }

  verify(wanted: SignatureAlgorithm, prepared: WasmKey, made: Uint8Array, signed: Uint8Array): boolean {
    const rsa = this.#rsaEntries.get(prepared);
    if (rsa !== undefined) return this.#verifyRsa(wanted, rsa, made, signed);
    const entry = this.#entries.get(prepared);
    const input = entry && readInput(wanted, entry.handle.key, made, signed);
    if (entry === undefined || input?.alg.family !== "ecdsa" || this.#engine === undefined) return false;
    if (entry.place !== undefined) this.#tables?.touch(entry);
    return this.#verifyEcdsa(entry, input.signature, signedOf(input.alg.hash, input.data));
  }

  /**
   * Checks signatures together: the verdicts of {@link verify}, in their order. ECDSA signatures whose keys have tables share
   * inversions, which on P-256 saves a sixth of two and over a third of sixteen; others are checked one by one.
   */
  verifyBatch(checks: readonly PreparedCheck<WasmKey>[]): boolean[] {
    const verdicts: boolean[] = [];
    let read: ReadCheck[] = [];
    for (const { alg, key, signature, data } of checks) {
      const entry = this.#entries.get(key);
      const input = entry && readInput(alg, entry.handle.key, signature, data);
      if (input?.alg.family === "ecdsa") {
        const { curve, point, place } = entry!;
        read.push({
          index: verdicts.length,
          entry: entry!,
          curve,
          point,
          place,
          signature: input.signature,
          signed: signedOf(input.alg.hash, input.data),
        });
      }
      verdicts.push(entry === undefined && this.verify(alg, key, signature, data));
    }
    // nothing of the caller's is read from here on, so that none of its code runs while a batch is open
    while (read.length > 0) {
      const { curve } = read[0]!;
      const others = read.filter((check) => check.curve !== curve);
      const alike = others.length === 0 ? read : read.filter((check) => check.curve === curve);
      for (const [at, valid] of this.#verifyAlike(curve, alike).entries()) verdicts[alike[at]!.index] = valid;
      read = others;
    }
    return verdicts;
  }

  /** As {@link verifyBatch}, where all keys have tables on one curve; else `undefined`, and nothing was checked. */
  batchIfFaster(checks: readonly PreparedCheck<WasmKey>[]): boolean[] | undefined {
    let curve: Curve | undefined;
    for (const { key } of checks) {
      const entry = this.#entries.get(key);
      if (entry?.place === undefined || (curve ??= entry.curve) !== entry.curve) return undefined;
    }
    return this.verifyBatch(checks);
  }

  /** The verdicts of checks on one curve. */
  #verifyAlike(curve: Curve, checks: readonly ReadCheck[]): boolean[] {
    const engine = this.#engine;
    if (engine === undefined) return checks.map(() => false);
    for (const { entry } of checks) if (entry.place !== undefined) this.#tables?.touch(entry);
    try {
      // points are this verifier's own, and the rest was read for this batch
      if (checks.length > 1) return engine.verifyBatch(curve, checks, true);
    } catch {
      // who is at fault shows one by one
    }
    return checks.map(({ entry, signature, signed }) => this.#verifyEcdsa(entry, signature, signed));
  }

  #verifyEcdsa({ curve, point, place }: Entry, signature: Uint8Array, signed: BatchMember["signed"]): boolean {
    try {
      if ("digest" in signed) return this.#engine?.verifyDigest(curve, signed.digest, point, place, signature) === true;
      return this.#engine?.verify(curve, signed.hash, point, place, signature, signed.data) === true;
    } catch {
      // a module that trapped has found nothing valid
      return false;
    }
  }

  #verifyRsa(wanted: SignatureAlgorithm, { key, numbers }: RsaEntry, made: Uint8Array, signed: Uint8Array): boolean {
    const input = readInput(wanted, key, made, signed);
    if (input === undefined || this.#engine === undefined) return false;
    const { alg, signature, data } = input;
    if (alg.family !== "rsa-pkcs1" && alg.family !== "rsa-pss") return false;
    try {
      return this.#engine.verifyRsa(alg.family, alg.hash, numbers, signature, data);
    } catch {
      return false;
    }
  }

  #rsaKeyOf(key: PublicKey): RsaKey | undefined {
    const numbers = numbersOf(key);
    if (numbers.kind !== "rsa" || this.#engine === undefined) return undefined;
    const { modulus, exponent } = numbers;
    const lift = this.#engine.rsaLift(modulus);
    return lift && { modulus, exponent: Number(toBigInt(exponent)), lift };
  }

  /** Whether a key has its table now. */
  hasTable(prepared: WasmKey): boolean {
    return this.#entries.get(prepared)?.place !== undefined;
  }

  /** Whether an owner pins a key. */
  isPinned(prepared: WasmKey): boolean {
    return (this.#entries.get(prepared)?.pins ?? 0) > 0;
  }

  /** Says that a key is a bundle's or a verified issuer's: one that is used again and again gets a table (S-13). */
  noteTrusted(prepared: WasmKey): void {
    const entry = this.#entries.get(prepared);
    if (entry === undefined || entry.place !== undefined) return;
    if (++entry.uses >= TABLE_AFTER_USES) this.#tables?.want(entry);
  }

  /**
   * Pins the authorities of a bundle's owner, in place of those it pinned before: they get tables, one every 100 ms, and
   * keep them.
   *
   * @param owner by identity; an empty list ends its pins
   * @param keys the first 64 elliptic-curve keys count
   */
  preload(owner: object, keys: Iterable<PublicKey>): void {
    const chosen: Entry[] = [];
    for (const key of keys) {
      if (chosen.length >= MAX_PINNED) break;
      const entry = this.#entryOf(key);
      if (entry !== undefined) chosen.push(entry);
    }
    for (const key of chosen) key.pins++;
    for (const key of this.#pinned.get(owner) ?? []) key.pins--;
    if (chosen.length === 0) this.#pinned.delete(owner);
    else this.#pinned.set(owner, chosen);
    for (const key of chosen) this.#tables?.want(key);
  }

  /** Resolves when every key that waits has its table. */
  ready(): Promise<void> {
    return this.#tables?.ready() ?? Promise.resolve();
  }

  /** Drops the module and its memory; nothing verifies afterwards. Idempotent. */
  dispose(): void {
    this.#engine = undefined;
    this.#tables?.clear();
    this.#tables = undefined;
    for (const { handle } of this.#keys.values()) this.#entries.delete(handle);
    this.#keys.clear();
    this.#pinned.clear();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** What is known of an elliptic-curve key; nothing of other kinds and after disposal. */
  #entryOf(key: PublicKey): Entry | undefined {
    const numbers = numbersOf(key);
    if (numbers.kind !== "ec" || this.#engine === undefined) return undefined;
    const name = nameOfKey(key);
    let known = this.#keys.get(name);
    // the newest stand last, so that the first are those to forget
    if (known !== undefined) this.#keys.delete(name);
    else {
      const { curve, x, y } = numbers;
      const handle: WasmKey = Object.freeze({ key });
      known = { handle, curve, point: joined(x, y), place: undefined, pins: 0, lastUse: 0, uses: 0 };
      this.#entries.set(handle, known);
      if (this.#keys.size >= MAX_KEYS && !this.#forget()) return known;
    }
    this.#keys.set(name, known);
    return known;
  }

  /** Makes room for a key: the one used longest ago that has neither a pin nor a table. */
  #forget(): boolean {
    for (const [name, { pins, place }] of this.#keys) {
      if (pins > 0 || place !== undefined) continue;
      return this.#keys.delete(name);
    }
    return false;
  }
}

/** What an engine gets to check: the hash itself where the runtime makes it faster than the module. */
function signedOf(hash: Hash, data: Uint8Array): BatchMember["signed"] {
  return nativeDigest === undefined ? { hash, data } : { digest: nativeDigest(hash, data) };
}

function joined(x: Uint8Array, y: Uint8Array): Uint8Array {
  const point = new Uint8Array(x.length + y.length);
  point.set(x);
  point.set(y, x.length);
  return point;
}
