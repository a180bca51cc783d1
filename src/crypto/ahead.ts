/** Signatures that a verification will want next, checked together with the one that it wants now. */
import { importedBefore } from "./prepared-keys.ts";
import type { PreparedCheck, SignatureCheck, SignatureVerifier, SyncSignatureVerifier } from "./verifier.ts";

/** A verdict that was found, perhaps before it was asked for. */
interface Found extends SignatureCheck {
  valid: boolean;
}

/**
 * What one verification has found ahead of its questions. A verdict is that of its own signature, whatever the others are, and
 * answers for these very octets by this very key and algorithm alone; what is never asked for counts for nothing.
 */
export class Ahead {
  readonly #verifier: SignatureVerifier;
  readonly #found: Found[] = [];

  constructor(verifier: SignatureVerifier) {
    this.#verifier = verifier;
  }

  /**
   * The verdict on a check: found before, or found now together with those that follow it. `undefined` where it is to be
   * checked alone.
   *
   * @param check an object that nobody else holds
   * @param prepared its key
   */
  verdict(check: SignatureCheck, prepared: unknown): boolean | undefined {
    const known = this.#find(check);
    if (known !== undefined || check.next === undefined) return known?.valid;
    const { sync, batchIfFaster } = this.#verifier as SyncSignatureVerifier;
    return sync === true && typeof batchIfFaster === "function" ? this.#together(check, prepared) : undefined;
  }

  /**
   * The verdict on a check that was found together with those that follow it, up to the first that is found already or whose key
   * the backend has not prepared.
   */
  #together(check: SignatureCheck, key: unknown): boolean | undefined {
    const { alg, signature, data } = check;
    const found: Found[] = [{ ...check, valid: false }];
    const prepared: PreparedCheck[] = [{ alg, key, signature, data }];
    for (let { next } = check; next !== undefined; ) {
      const { alg, key, signature, data, next: following } = next;
      const one = { alg, key, signature, data, valid: false };
      const known = importedBefore(this.#verifier, key);
      if (known === undefined || this.#find(one) !== undefined) break;
      found.push(one);
      prepared.push({ alg, key: known, signature, data });
      next = following;
    }
    const verdicts = found.length > 1 ? this.#ask(prepared) : undefined;
    if (verdicts?.length !== found.length) return undefined;
    for (let at = 0; at < found.length; at++) found[at]!.valid = verdicts[at] === true;
    this.#found.push(...found);
    return found[0]!.valid;
  }

  /** What a backend finds together; one that throws is asked one by one. */
  #ask(prepared: readonly PreparedCheck[]): boolean[] | undefined {
    try {
      return (this.#verifier as SyncSignatureVerifier).batchIfFaster?.(prepared);
    } catch {
      return undefined;
    }
  }

  /** What was found of the same octets by the same key: the same objects. */
  #find({ alg, key, signature, data }: SignatureCheck): Found | undefined {
    for (const one of this.#found) {
      if (one.signature === signature && one.data === data && one.key === key && one.alg === alg) return one;
    }
    return undefined;
  }
}
