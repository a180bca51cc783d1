/** Which certificates of authorities are known to be signed by which key (S-14). */
import { equalOctets, octetsOf } from "../../crypto/octets.ts";
import { nameOfKey, type PublicKey } from "../../crypto/public-key.ts";
import type { SignatureVerifier } from "../../crypto/verifier.ts";
import { type Certificate, fieldsOf } from "../certificate.ts";

const MAX_ENTRIES = 256;
/** Keys that signed one certificate: more than one only where two keys of an authority made the same signature. */
const MAX_SIGNERS = 4;

interface Known {
  readonly certificate: Certificate;
  readonly octets: Uint8Array;
  /** Names of the keys under which its signature verifies: their octets. */
  readonly signers: Set<string>;
}

/**
 * Remembers that this exact certificate's signature verifies under this exact key, and nothing else: dates, constraints,
 * anchors and trust domains are judged on every use. Failures are not remembered.
 *
 * An entry is found by a number and decided by the octets themselves, of key and certificate, so nothing can collide; they are
 * the octets that were decoded, which nobody else holds. What was decoded of a certificate stays with its entry: it depends on
 * the octets alone, and a certificate never changes.
 */
export class IssuerMemo {
  /** The newest stand last. */
  readonly #known = new Map<number, Known>();

  get size(): number {
    return this.#known.size;
  }

  has(key: PublicKey, certificate: Certificate): boolean {
    return this.#find(fieldsOf(certificate).der)?.signers.has(nameOfKey(key)) === true;
  }

  add(key: PublicKey, certificate: Certificate): void {
    const octets = fieldsOf(certificate).der;
    let known = this.#find(octets);
    if (known === undefined) {
      known = { certificate, octets, signers: new Set() };
      if (this.#known.size >= MAX_ENTRIES) this.#known.delete(this.#known.keys().next().value!);
      this.#known.set(placeOf(octets), known);
    }
    if (known.signers.size < MAX_SIGNERS) known.signers.add(nameOfKey(key));
  }

  /** The certificate of these octets, decoded when it was added. */
  decoded(der: unknown): Certificate | undefined {
    const octets = octetsOf(der);
    return octets && this.#find(octets)?.certificate;
  }

  #find(octets: Uint8Array): Known | undefined {
    const place = placeOf(octets);
    const known = this.#known.get(place);
    if (known === undefined || !equalOctets(known.octets, octets)) return undefined;
    this.#known.delete(place);
    this.#known.set(place, known);
    return known;
  }
}

/** A number out of the last octets, which are a signature's: another one with the same number takes the entry's place. */
function placeOf(octets: Uint8Array): number {
  let place = octets.length;
  for (let i = Math.max(0, octets.length - 12); i < octets.length; i++)
    place = Math.imul(place ^ octets[i]!, 0x01000193);
  return place;
}

const memos = new WeakMap<SignatureVerifier, IssuerMemo>();

/** The memo of a backend: what one backend found is never used for another. */
export function issuerMemoOf(verifier: SignatureVerifier): IssuerMemo {
  let memo = memos.get(verifier);
  if (memo === undefined) memos.set(verifier, (memo = new IssuerMemo()));
  return memo;
}
