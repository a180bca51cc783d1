/** What checks signatures, and how a verification asks for it. */
import { SpiffeError } from "../base/index.ts";
import { Ahead } from "./ahead.ts";
import type { SignatureAlgorithm } from "./algorithms.ts";
import { chooseSyncVerifier, chooseVerifier } from "./choose-backend.ts";
import { nodeVerifier } from "./native/node.ts";
import { imported } from "./prepared-keys.ts";
import type { PublicKey } from "./public-key.ts";

export { chooseSyncVerifier, chooseVerifier };

/** A backend that checks signatures; `verify` answers `false`, and never throws, for whatever it can not check. */
export interface SignatureVerifier<K = unknown> {
  readonly name: string;
  /** Whether both methods answer at once, without promises. */
  readonly sync: boolean;
  /** Prepares a key; drivers do it once per key object. */
  importKey(key: PublicKey): K | Promise<K>;
  verify(alg: SignatureAlgorithm, key: K, signature: Uint8Array, data: Uint8Array): boolean | Promise<boolean>;
  /** Told before a check whose key is a bundle's or a verified issuer's, for backends that prepare such keys (S-13). */
  noteTrusted?(key: K): void;
}

/** A backend that answers at once, as a TLS listener needs it (S-8). */
export interface SyncSignatureVerifier<K = unknown> extends SignatureVerifier<K> {
  readonly sync: true;
  importKey(key: PublicKey): K;
  verify(alg: SignatureAlgorithm, key: K, signature: Uint8Array, data: Uint8Array): boolean;
  /** The verdicts of `verify`, in the order of the checks, for backends that find many faster than one by one. */
  verifyBatch?(checks: readonly PreparedCheck<K>[]): boolean[];
  /** The verdicts of `verify`, where they take less time together than one by one; else `undefined`, and nothing was checked. */
  batchIfFaster?(checks: readonly PreparedCheck<K>[]): boolean[] | undefined;
}

/** A signature beside the key that its backend has prepared. */
export interface PreparedCheck<K = unknown> {
  readonly alg: SignatureAlgorithm;
  readonly key: K;
  readonly signature: Uint8Array;
  readonly data: Uint8Array;
}

/** One signature that a verification wants checked. */
export interface SignatureCheck {
  readonly alg: SignatureAlgorithm;
  readonly key: PublicKey;
  readonly signature: Uint8Array;
  readonly data: Uint8Array;
  /** Set when the key is a bundle's authority or that of an issuer whose own signature verified. */
  readonly trusted?: true;
  /**
   * What is wanted next if this signature is valid. A driver may check it at once with this one, where its key is one that the
   * backend knows; the verdict counts for nothing unless it is asked for.
   */
  readonly next?: SignatureCheck | undefined;
}

/** A verification written once for all backends: it yields checks, is told their results, and returns its verdict. */
export type Checks<T> = Generator<SignatureCheck, T, boolean>;

/**
 * The backend of `node:crypto`, which Node, Bun and Deno have, or `undefined` elsewhere.
 *
 * @example
 * ```ts
 * import { nativeVerifier } from "spiffe-edge/crypto";
 * console.assert(nativeVerifier()?.sync !== false);
 * ```
 */
export function nativeVerifier(): SyncSignatureVerifier | undefined {
  return nodeVerifier();
}

/** Refuses what lacks a method, which else would look like a signature that does not verify. */
function requireMethods(verifier: SignatureVerifier): void {
  if (typeof verifier?.importKey === "function" && typeof verifier.verify === "function") return;
  throw new SpiffeError("ERR_SPIFFE_BACKEND", "Expected a verifier with the methods importKey and verify", {
    hint: "An object spread out of a class instance has none of its methods.",
  });
}

/** Refuses what would answer with promises, each of which would look like a yes. */
export function requireSync(verifier: SyncSignatureVerifier): void {
  requireMethods(verifier);
  if (verifier.sync === true) return;
  const { name } = verifier as SignatureVerifier;
  throw new SpiffeError("ERR_SPIFFE_BACKEND", `Expected a synchronous verifier, got ${name}`);
}

/**
 * Runs a verification with a backend of either kind.
 *
 * @param checks the verification
 * @param verifier {@link chooseVerifier}'s unless given
 * @returns the verification's result; a backend that throws counts as a signature that does not verify
 * @example
 * ```ts
 * import { type Checks, PublicKey, runChecks, webcryptoVerifier } from "spiffe-edge/crypto";
 * const pair = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"]);
 * const key = PublicKey.fromSpki(new Uint8Array(await crypto.subtle.exportKey("spki", pair.publicKey)));
 * const data = new TextEncoder().encode("hello");
 * const made = await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, pair.privateKey, data);
 * function* verification(): Checks<boolean> {
 *   if (!key.ok) return false;
 *   const alg = { family: "ecdsa", hash: "SHA-256", encoding: "p1363" } as const;
 *   return yield { alg, key: key.value, signature: new Uint8Array(made), data };
 * }
 * console.assert(await runChecks(verification()));
 * console.assert(await runChecks(verification(), webcryptoVerifier));
 * ```
 */
export async function runChecks<T>(checks: Checks<T>, verifier: SignatureVerifier = chooseVerifier()): Promise<T> {
  requireMethods(verifier);
  let ahead: Ahead | undefined;
  let step = checks.next();
  while (!step.done) {
    const { alg, key, signature, data, trusted, next } = step.value;
    let valid = false;
    try {
      const pending = imported(verifier, key);
      const prepared = pending instanceof Promise ? await pending : pending;
      if (trusted === true) verifier.noteTrusted?.(prepared);
      if (next !== undefined) ahead ??= new Ahead(verifier);
      const known = ahead?.verdict({ alg, key, signature, data, next }, prepared);
      const answer = known ?? verifier.verify(alg, prepared, signature, data);
      valid = (typeof answer === "boolean" ? answer : await answer) === true;
    } catch {
      valid = false;
    }
    step = checks.next(valid);
  }
  return step.value;
}

/**
 * Runs a verification at once.
 *
 * @param checks the verification
 * @param verifier {@link chooseSyncVerifier}'s unless given; `sync` must be true
 * @throws SpiffeError `ERR_SPIFFE_BACKEND` for a backend that is not synchronous
 */
export function runChecksSync<T>(checks: Checks<T>, verifier: SyncSignatureVerifier = chooseSyncVerifier()): T {
  requireSync(verifier);
  let ahead: Ahead | undefined;
  let step = checks.next();
  while (!step.done) {
    const { alg, key, signature, data, trusted, next } = step.value;
    let valid = false;
    try {
      const prepared = imported(verifier, key) as never;
      if (trusted === true) verifier.noteTrusted?.(prepared);
      if (next !== undefined) ahead ??= new Ahead(verifier);
      const known = ahead?.verdict({ alg, key, signature, data, next }, prepared);
      valid = (known ?? verifier.verify(alg, prepared, signature, data)) === true;
    } catch {
      valid = false;
    }
    step = checks.next(valid);
  }
  return step.value;
}
