/** The keys of a source's bundles, for the crypto backend to prepare (S-13). */
import type { PublicKey } from "../crypto/index.ts";
import type { JwtBundle } from "../jwt/index.ts";
import type { X509Bundle } from "../x509/index.ts";

/** Authorities that are looked at; a bundle may hold 10,000. */
const MAX_AUTHORITIES = 256;

/** The keys of the first authorities, in the order of the bundles. */
export function* authorityKeys(bundles: ReadonlyMap<string, X509Bundle | JwtBundle>): Generator<PublicKey> {
  let left = MAX_AUTHORITIES;
  for (const bundle of bundles.values()) {
    for (const authority of "authorities" in bundle ? bundle.authorities : bundle.keys) {
      if (left-- === 0) return;
      if (!("der" in authority)) yield authority.key;
      else {
        const key = authority.safePublicKey();
        if (key.ok) yield key.value;
      }
    }
  }
}
