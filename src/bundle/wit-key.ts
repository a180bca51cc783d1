/** Keys for WIT-SVIDs (WIT-SVID §6): read and kept apart, and used for nothing. */
import { accept, refuse, type Verdict } from "../base/index.ts";
import type { PublicJwk, PublicKey } from "../crypto/index.ts";
import type { JsonObject } from "../encoding/strict-json.ts";
import { readTokenKey } from "../jwt/jwk-set.ts";

/** A key with which a trust domain signs WIT-SVIDs. Of another shape than a JWT key, so that none passes for one. */
export interface WitKey {
  readonly witKeyId: string;
  readonly publicKey: PublicKey;
  /** The one `alg` the key is for, where its JWK says so. */
  readonly witAlgorithm?: string;
}

/** A WIT key's JWK. */
export type WitJwk = PublicJwk & { use: "wit-svid"; kid: string; alg?: string };

/** Takes the key out of an element whose `use` is `wit-svid` (WIT-25). */
export function readWitKey(element: JsonObject): Verdict<WitKey> {
  const read = readTokenKey(element);
  if (!read.ok) return read;
  const { keyId, key, algorithm } = read.value;
  if (keyId === undefined) return refuse("bundle.malformed", 'Expected a "kid"');
  return accept({
    witKeyId: keyId,
    publicKey: key,
    ...(algorithm !== undefined && { witAlgorithm: algorithm }),
  });
}

/** Writes a WIT key as a JWK. */
export function witJwk({ witKeyId, publicKey, witAlgorithm }: WitKey): WitJwk {
  return {
    ...publicKey.toJwk(),
    use: "wit-svid",
    kid: witKeyId,
    ...(witAlgorithm !== undefined && { alg: witAlgorithm }),
  };
}
