/** Verifications that are asked for in one turn of the event loop, run together at its end. */
import { type Checks, runChecksSync, type SyncSignatureVerifier } from "./verifier.ts";
import { runChecksTogether } from "./verify-batch.ts";

/** Verifications that run together at most, so that the first answers of a crowd do not wait for its last. */
const MOST_TOGETHER = 64;
/** Verifications that run at once, where each came alone lately, before one waits again for others. */
const MOST_AT_ONCE = 15;

interface Waiting {
  readonly make: () => Checks<unknown>;
  readonly resolve: (result: unknown) => void;
  readonly reject: (reason: unknown) => void;
}

/** What waits for the end of the turn by one verifier. */
class Turn {
  readonly #verifier: SyncSignatureVerifier;
  readonly #waiting: Waiting[] = [];
  /** How many may go at once now, and how many could after the last that was alone. */
  #atOnce = 0;
  #allowed = 0;

  constructor(verifier: SyncSignatureVerifier) {
    this.#verifier = verifier;
  }

  run(make: () => Checks<unknown>): unknown {
    if (this.#atOnce > 0 && this.#waiting.length === 0) {
      this.#atOnce--;
      return runChecksSync(make(), this.#verifier);
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ make, resolve, reject });
      if (this.#waiting.length === 1) this.#arm();
    });
  }

  #arm(): void {
    setImmediate(() => this.#end());
  }

  #end(): void {
    const now = this.#waiting.splice(0, MOST_TOGETHER);
    if (this.#waiting.length > 0) this.#arm();
    // who always comes alone would wait for nobody
    this.#atOnce = now.length > 1 ? 0 : this.#allowed;
    this.#allowed = now.length > 1 ? 0 : Math.min(2 * this.#allowed + 1, MOST_AT_ONCE);
    const begun: Waiting[] = [];
    const all: Checks<unknown>[] = [];
    for (const one of now) {
      try {
        all.push(one.make());
        begun.push(one);
      } catch (reason) {
        // who throws throws for itself alone
        one.reject(reason);
      }
    }
    const results = runChecksTogether(all, this.#verifier);
    for (const [index, result] of results.entries()) {
      const { resolve, reject } = begun[index]!;
      if (result.status === "fulfilled") resolve(result.value);
      else reject(result.reason);
    }
  }
}

const turns = new WeakMap<SyncSignatureVerifier, Turn>();

/**
 * Runs a verification together with the others of this turn of the event loop, where the verifier finds that faster; at once
 * where it does not, and mostly where others do not come. It begins only when it runs: what it looks up, keys and time, is
 * that of the moment of its check.
 *
 * @param make begins the verification
 * @returns its result, which a promise brings when it waits for the others
 */
export function runInTurn<T>(make: () => Checks<T>, verifier: SyncSignatureVerifier): T | Promise<T> {
  if (typeof verifier.verifyBatch !== "function" || typeof setImmediate !== "function") {
    return runChecksSync(make(), verifier);
  }
  let turn = turns.get(verifier);
  if (turn === undefined) turns.set(verifier, (turn = new Turn(verifier)));
  return turn.run(make) as T | Promise<T>;
}
