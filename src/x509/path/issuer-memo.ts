/** Which certificates of authorities are known to be signed by which key (S-14). */
import { nameOfKey, type PublicKey } from "../../crypto/public-key.ts";
import type { SignatureVerifier } from "../../crypto/verifier.ts";
import { type Certificate, nameOfCertificate } from "../certificate.ts";

const MAX_ENTRIES = 256;

/**
 * Remembers that this exact certificate's signature verifies under this exact key, and nothing else: dates, constraints,
 * anchors and trust domains are judged on every use. Failures are not remembered.
 *
 * The name of an entry is the octets themselves, key and certificate, so nothing can collide; they are the octets that were
 * decoded, which nobody else holds.
 */
export class IssuerMemo {
  readonly #valid = new Set<string>();

  get size(): number {
    return this.#valid.size;
  }

  has(key: PublicKey, certificate: Certificate): boolean {
    const name = nameOf(key, certificate);
    if (!this.#valid.delete(name)) return false;
    // the newest stand last
    this.#valid.add(name);
    return true;
  }

  add(key: PublicKey, certificate: Certificate): void {
    if (this.#valid.size >= MAX_ENTRIES) this.#valid.delete(this.#valid.values().next().value!);
    this.#valid.add(nameOf(key, certificate));
  }
}

/** Both are DER, which says its own length: no other pair gives the same text. */
function nameOf(key: PublicKey, certificate: Certificate): string {
  return nameOfKey(key) + nameOfCertificate(certificate);
}

const memos = new WeakMap<SignatureVerifier, IssuerMemo>();

/** The memo of a backend: what one backend found is never used for another. */
export function issuerMemoOf(verifier: SignatureVerifier): IssuerMemo {
  let memo = memos.get(verifier);
  if (memo === undefined) memos.set(verifier, (memo = new IssuerMemo()));
  return memo;
}
