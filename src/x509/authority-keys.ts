/** Keys of authorities that were decoded lately: a few sign many certificates, and each certificate brings its issuer's anew. */
import type { Verdict } from "../base/index.ts";
import { binaryString } from "../crypto/octets.ts";
import { PublicKey } from "../crypto/public-key.ts";

const MAX_KEYS = 256;

/** By the octets they were decoded from, on which alone they depend; the newest stand last. */
const known = new Map<string, Verdict<PublicKey>>();

/** The key of these octets, if it was decoded lately. */
export function decodedAuthorityKey(spki: Uint8Array): Verdict<PublicKey> | undefined {
  return known.get(binaryString(spki));
}

/** `PublicKey.fromSpki`, remembered where it succeeds: a key never changes. */
export function authorityKey(spki: Uint8Array): Verdict<PublicKey> {
  const name = binaryString(spki);
  let key = known.get(name);
  if (key !== undefined) return key;
  key = Object.freeze(PublicKey.fromSpki(spki));
  if (!key.ok) return key;
  if (known.size >= MAX_KEYS) known.delete(known.keys().next().value!);
  known.set(name, key);
  return key;
}
