/** The synchronous backend of the WebAssembly module: ECDSA on the three curves, with tables for keys that stay. */
import type { SignatureAlgorithm } from "../algorithms.ts";
import { binaryString } from "../octets.ts";
import type { PublicKey } from "../public-key.ts";
import { normalSignature } from "../signature.ts";
import type { SyncSignatureVerifier } from "../verifier.ts";
import { Engine } from "./engine.ts";
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

/** A key as this backend has prepared it. */
export interface WasmKey extends TableKey {
  readonly key: PublicKey;
  uses: number;
}

/**
 * Checks ECDSA signatures by WebAssembly. Public data only: nothing here is constant in time, and no private key belongs
 * here. Other kinds of signatures do not verify.
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
  readonly #tables: Tables;
  readonly #keys = new Map<string, WasmKey>();
  readonly #pinned = new Map<object, readonly WasmKey[]>();
  #engine: Engine | undefined;

  /** @throws SpiffeError `ERR_SPIFFE_BACKEND` where WebAssembly is missing or not allowed to compile */
  constructor(options: WasmVerifierOptions = {}) {
    this.#engine = new Engine(options.module);
    this.#tables = new Tables(this.#engine, options.schedule);
  }

  get memory(): WasmMemory {
    const { bytes: tableBytes, count: tables, waiting } = this.#tables;
    return { bytes: this.#engine?.memoryBytes ?? 0, tableBytes, tables, waiting };
  }

  /** Prepares a key: one object per key, whatever certificate or bundle it came in. */
  importKey(key: PublicKey): WasmKey {
    const name = binaryString(key.spki);
    let known = this.#keys.get(name);
    // the newest stand last, so that the first are those to forget
    if (known !== undefined) this.#keys.delete(name);
    else {
      known = { key, curve: key.curve ?? "P-256", point: pointOf(key), place: undefined, pins: 0, lastUse: 0, uses: 0 };
      if (this.#keys.size >= MAX_KEYS && !this.#forget()) return known;
    }
    this.#keys.set(name, known);
    return known;
  }

  verify(alg: SignatureAlgorithm, prepared: WasmKey, signature: Uint8Array, data: Uint8Array): boolean {
    const { key, curve, point, place } = prepared;
    if (alg.family !== "ecdsa" || this.#engine === undefined) return false;
    const normal = normalSignature(alg, key, signature);
    if (normal === undefined) return false;
    if (place !== undefined) this.#tables.touch(prepared);
    return this.#engine.verify(curve, alg.hash, point, place, normal, data);
  }

  /** Says that a key is a bundle's or a verified issuer's: one that is used again and again gets a table (S-13). */
  noteTrusted(prepared: WasmKey): void {
    if (prepared.place !== undefined || prepared.key.kind !== "ec") return;
    if (++prepared.uses >= TABLE_AFTER_USES) this.#tables.want(prepared);
  }

  /**
   * Pins the authorities of a bundle's owner, in place of those it pinned before: they get tables, one every 100 ms, and
   * keep them.
   *
   * @param owner by identity; an empty list ends its pins
   * @param keys the first 64 elliptic-curve keys count
   */
  preload(owner: object, keys: Iterable<PublicKey>): void {
    const chosen: WasmKey[] = [];
    for (const key of keys) {
      if (chosen.length >= MAX_PINNED) break;
      if (key.kind === "ec") chosen.push(this.importKey(key));
    }
    for (const key of chosen) key.pins++;
    for (const key of this.#pinned.get(owner) ?? []) key.pins--;
    if (chosen.length === 0) this.#pinned.delete(owner);
    else this.#pinned.set(owner, chosen);
    if (this.#engine !== undefined) for (const key of chosen) this.#tables.want(key);
  }

  /** Resolves when every key that waits has its table. */
  ready(): Promise<void> {
    return this.#tables.ready();
  }

  /** Drops the module and its memory; nothing verifies afterwards. Idempotent. */
  dispose(): void {
    this.#engine = undefined;
    this.#tables.clear();
    this.#keys.clear();
    this.#pinned.clear();
  }

  [Symbol.dispose](): void {
    this.dispose();
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

function pointOf({ numbers }: PublicKey): Uint8Array {
  if (numbers.kind !== "ec") return new Uint8Array(0);
  const { x, y } = numbers;
  const point = new Uint8Array(x.length + y.length);
  point.set(x);
  point.set(y, x.length);
  return point;
}
