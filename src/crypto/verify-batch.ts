/** Many signatures at once, each with its own verdict. */
import { imported } from "./prepared-keys.ts";
import {
  type Checks,
  chooseSyncVerifier,
  type PreparedCheck,
  requireSync,
  type SignatureCheck,
  type SyncSignatureVerifier,
} from "./verifier.ts";

/**
 * Checks signatures together: what a backend finds faster so is checked so, the rest one by one, with the same verdicts. By the
 * default backend ECDSA signatures share work when tables of their keys are there: on P-256 two take a sixth less time than
 * one after the other, sixteen over a third. No signature's verdict depends on another's.
 *
 * @param checks signatures by any keys and algorithms; those with `trusted` count as uses of their key
 * @param verifier {@link chooseSyncVerifier}'s unless given; `sync` must be true
 * @returns whether each signature is valid, in the order of the checks
 * @throws SpiffeError `ERR_SPIFFE_BACKEND` for a backend that is not synchronous
 * @example
 * ```ts
 * import { PublicKey, verifyBatch } from "spiffe-edge/crypto";
 * const pair = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"]);
 * const key = PublicKey.fromSpki(new Uint8Array(await crypto.subtle.exportKey("spki", pair.publicKey)));
 * if (!key.ok) throw new Error(key.message);
 * const data = new TextEncoder().encode("hello");
 * const made = await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, pair.privateKey, data);
 * const alg = { family: "ecdsa", hash: "SHA-256", encoding: "p1363" } as const;
 * const good = { alg, key: key.value, signature: new Uint8Array(made), data };
 * const [first, second] = verifyBatch([good, { ...good, data: data.subarray(1) }]);
 * console.assert(first === true && second === false);
 * ```
 */
export function verifyBatch(
  checks: readonly SignatureCheck[],
  verifier: SyncSignatureVerifier = chooseSyncVerifier(),
): boolean[] {
  requireSync(verifier);
  const verdicts = checks.map(() => false);
  const prepared: PreparedCheck[] = [];
  const places: number[] = [];
  for (const [index, { alg, key: wanted, signature, data, trusted }] of checks.entries()) {
    try {
      const key = imported(verifier, wanted) as never;
      if (trusted === true) verifier.noteTrusted?.(key);
      prepared.push({ alg, key, signature, data });
      places.push(index);
    } catch {
      // a key that the backend does not take verifies nothing
    }
  }
  for (const [at, valid] of answers(verifier, prepared).entries()) verdicts[places[at]!] = valid;
  return verdicts;
}

/** One answer per check; a backend that throws is asked one by one. */
function answers(verifier: SyncSignatureVerifier, checks: readonly PreparedCheck[]): boolean[] {
  try {
    const together = checks.length > 1 ? verifier.verifyBatch?.(checks) : undefined;
    if (together?.length === checks.length) return together.map((valid) => valid === true);
  } catch {
    // the one that it threw for shows below
  }
  return checks.map(({ alg, key, signature, data }) => {
    try {
      return verifier.verify(alg, key as never, signature, data) === true;
    } catch {
      return false;
    }
  });
}

/**
 * Runs verifications together: what they want checked at the same time is checked by {@link verifyBatch}. Each has its own result,
 * as if it had run alone.
 *
 * @param all verifications of which none has begun
 * @param verifier {@link chooseSyncVerifier}'s unless given; `sync` must be true
 * @returns for each its result, or what it threw
 * @throws SpiffeError `ERR_SPIFFE_BACKEND` for a backend that is not synchronous
 */
export function runChecksTogether<T>(
  all: readonly Checks<T>[],
  verifier: SyncSignatureVerifier = chooseSyncVerifier(),
): PromiseSettledResult<T>[] {
  requireSync(verifier);
  const results: PromiseSettledResult<T>[] = [];
  let open: Step<T>[] = [];
  const proceed = (index: number, checks: Checks<T>, verdict?: boolean): void => {
    try {
      const step = verdict === undefined ? checks.next() : checks.next(verdict);
      if (step.done) results[index] = { status: "fulfilled", value: step.value };
      else open.push({ index, checks, wanted: step.value });
    } catch (reason) {
      results[index] = { status: "rejected", reason };
    }
  };
  for (const [index, checks] of all.entries()) proceed(index, checks);
  while (open.length > 0) {
    const now = open;
    open = [];
    const verdicts = verifyBatch(
      now.map(({ wanted }) => wanted),
      verifier,
    );
    for (const [at, { index, checks }] of now.entries()) proceed(index, checks, verdicts[at] === true);
  }
  return results;
}

/** A verification that waits for the verdict on a signature. */
interface Step<T> {
  readonly index: number;
  readonly checks: Checks<T>;
  readonly wanted: SignatureCheck;
}
