/** Keys as backends have prepared them: once per key object. */
import type { PublicKey } from "./public-key.ts";
import type { SignatureVerifier } from "./verifier.ts";

const preparedKeys = new WeakMap<SignatureVerifier, WeakMap<PublicKey, unknown>>();

/** The prepared key, from the table of keys that this backend has prepared before. */
export function imported<K>(verifier: SignatureVerifier<K>, key: PublicKey): K | Promise<K> {
  let keys = preparedKeys.get(verifier);
  if (keys === undefined) preparedKeys.set(verifier, (keys = new WeakMap()));
  let prepared = keys.get(key) as K | Promise<K> | undefined;
  if (prepared === undefined) {
    keys.set(key, (prepared = verifier.importKey(key)));
    // what failed once may work the next time
    if (prepared instanceof Promise) prepared.catch(() => keys.delete(key));
  }
  return prepared;
}

/** The prepared key, if this backend has prepared it before. */
export function importedBefore<K>(verifier: SignatureVerifier<K>, key: PublicKey): K | Promise<K> | undefined {
  return preparedKeys.get(verifier)?.get(key) as K | Promise<K> | undefined;
}
